"""The store: entries are whole or not there, whoever is killed, and however many work in it at once."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskimage_create import store as stores
from diskimage_create.errors import HostError
from diskimage_create.inputs import identities
from diskimage_create.model import IMAGE, STEPS, Inputs
from diskimage_create.store import KEY_BYTES, MANIFEST, Entry, Store, link, read_key

LOCAL: Inputs = {step: {f"option:{step}": "x"} for step in STEPS}
REMOTE: Inputs = {"root": {"apt bookworm": "sha256:0"}}
ASKED = datetime(2026, 11, 20, 23, 59, 59, 999999, tzinfo=UTC)
PATIENCE = 20.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.create()
    return made


def fill(directory: Path) -> None:
    (directory / "root.tar.zst").write_bytes(b"root" * 100)
    (directory / "hooks.tar.zst").write_bytes(b"hooks")


def add(store: Store, step: str = "root", local: Inputs = LOCAL, filling: Callable[[Path], None] = fill) -> Entry:
    return store.add(step, "amphora debian", local, REMOTE, ASKED, filling)


def below(store: Store) -> set[str]:
    """Everything in the store but what it always has."""
    return {path.name for path in store.path.iterdir()} - {"locks", "key", "CACHEDIR.TAG"}


def is_intact(store: Store, entry: Entry) -> bool:
    with store.using(entry) as intact:
        return intact


# --- the directory


def test_a_new_store_is_its_owners_alone_and_no_backups(store: Store) -> None:
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((store.path / "key").stat().st_mode) == 0o600
    # The first 43 bytes are the signature that backup programs look for: https://bford.info/cachedir/
    assert (store.path / "CACHEDIR.TAG").read_bytes()[:43] == b"Signature: 8a477f597d28d172789f06886806bc55"
    assert below(store) == set()


def test_made_again_it_is_the_same(store: Store) -> None:
    key, entry = read_key(store.path.parent), add(store)
    assert key is not None
    assert len(key) == KEY_BYTES
    store.create()
    assert read_key(store.path.parent) == key
    assert store.entries() == [entry]


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 33])
def test_a_key_that_is_none_is_made_anew(store: Store, damage: bytes) -> None:
    (store.path / "key").write_bytes(damage)
    assert read_key(store.path.parent) is None
    store.create()
    assert read_key(store.path.parent) not in (None, damage)


def test_an_empty_directory_becomes_a_store_and_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o755)
    Store(tmp_path).create()
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_what_a_killed_one_had_begun_is_completed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/CACHEDIR.TAG.new").write_text("Sig")
    Store(tmp_path).create()
    assert read_key(tmp_path) is not None


def test_a_directory_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "store"
    (theirs / "tmp-precious").mkdir(parents=True)
    os.utime(theirs / "tmp-precious", (0, 0))
    store = Store(tmp_path)
    with pytest.raises(HostError, match="is not a store"):
        store.create()
    for action in (store.sweep, lambda: add(store), lambda: store.remove_damaged(theirs / "tmp-precious")):
        with pytest.raises(HostError, match="not marked as a cache"):
            action()
    assert [path.name for path in theirs.iterdir()] == ["tmp-precious"]


def test_without_a_store_there_is_nothing_and_nothing_is_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert (store.entries(), store.unreadable(), store.find("root", "sha256:" + "0" * 64)) == ([], [], None)
    assert read_key(tmp_path / "none") is None
    assert list(tmp_path.iterdir()) == []


# --- entries


@pytest.mark.parametrize("step", STEPS)
def test_an_entry_is_found_by_its_identity(store: Store, step: str) -> None:
    entry = add(store, step)
    identity = identities({**LOCAL, "root": {**LOCAL["root"], **REMOTE["root"]}})[step]
    assert entry.identity == identity
    assert store.find(step, identity) == entry
    assert store.entries() == [entry]
    assert all(store.find(other, identity) is None for other in STEPS if other != step)
    assert entry.bytes == 405
    assert set(entry.files) == {"root.tar.zst", "hooks.tar.zst"}
    assert entry.asked == ASKED.replace(microsecond=0)
    # Later steps are none of its business.
    assert list(entry.local) == list(STEPS[: STEPS.index(step) + 1])


def test_holes_of_files_take_no_room(store: Store) -> None:
    def fill(made: Path) -> None:
        with (made / "root.tar.zst").open("wb") as file:
            file.write(b"begin")
            file.truncate(10**9)

    assert 0 < add(store, filling=fill).bytes < 10**6


def test_the_newest_is_first_and_an_older_one_of_the_same_identity_goes(store: Store) -> None:
    first = add(store)
    manifest = json.loads((first.path / MANIFEST).read_text())
    del manifest["checksum"]
    manifest["created"] = "2001-01-01T00:00:00+00:00"
    (first.path / MANIFEST).write_text(json.dumps({**manifest, "checksum": stores._checksum(manifest)}))
    other = add(store, local={"root": {"option:root": "y"}})
    assert [entry.path for entry in store.entries()] == [other.path, first.path]
    again = add(store, filling=lambda made: (made / "root.tar.zst").write_bytes(b"newer"))
    assert again.path == first.path
    assert again.bytes == 5
    assert {entry.path for entry in store.entries()} == {other.path, again.path}
    assert below(store) == {other.path.name, again.path.name}


def test_using_is_noted_and_looking_is_not(store: Store) -> None:
    entry = add(store)
    os.utime(entry.path / MANIFEST, (10**9, 10**9))
    assert entry.used.timestamp() == 10**9
    store.entries()
    assert store.verify(entry) == []
    assert entry.used.timestamp() == 10**9
    assert is_intact(store, entry)
    assert entry.used.timestamp() > 10**9


def test_removed(store: Store) -> None:
    entry = add(store)
    assert store.remove(entry)
    assert below(store) == set()
    assert not store.remove(entry)
    assert not is_intact(store, entry)
    assert store.verify(entry) == []  # it is gone, not damaged


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_damaged_is_never_taken_for_intact(data: st.DataObject, store: Store) -> None:
    entry = store.find("root", identities({**LOCAL, "root": {**LOCAL["root"], **REMOTE["root"]}})["root"]) or add(store)
    path = data.draw(st.sampled_from(sorted(entry.path.iterdir())))
    good = path.read_bytes()
    kind = data.draw(st.sampled_from(["flipped", "truncated", "longer", "missing", "a directory", "rubbish"]))
    if kind == "flipped":
        place = data.draw(st.integers(0, len(good) - 1))
        bad = bytearray(good)
        bad[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(bad)
    elif kind == "truncated":
        path.write_bytes(good[: data.draw(st.integers(0, len(good) - 1))])
    elif kind == "longer":
        path.write_bytes(good + b"!")
    elif kind == "rubbish":
        path.write_bytes(data.draw(st.binary(max_size=100) | st.sampled_from([b"null", b"[]", b"{}", b"[" * 10**5])))
    else:
        path.unlink()
        if kind == "a directory":
            path.mkdir()
    try:
        now = store.find("root", entry.identity)
        # White space in a manifest means nothing; whatever means something is covered.
        same = path.name == MANIFEST and now == entry
        assert is_intact(store, entry) == same
        assert bool(store.verify(entry)) != same
        assert same or (entry.path in store.unreadable()) == (now is None)
        if not same:
            assert store.remove_damaged(entry.path)
            assert below(store) == set()
    finally:
        if entry.path.is_dir():
            store.remove(entry)


def test_an_entry_of_another_version_is_none_and_can_be_removed(store: Store) -> None:
    entry = add(store)
    manifest = json.loads((entry.path / MANIFEST).read_text())
    del manifest["checksum"]
    manifest["schema"] = 99
    (entry.path / MANIFEST).write_text(json.dumps({**manifest, "checksum": stores._checksum(manifest)}))
    assert store.entries() == []
    assert store.unreadable() == [entry.path]
    add(store)
    assert store.unreadable() == []


def test_an_intact_one_is_not_removed_as_damaged(store: Store) -> None:
    """Another build may have made it again since."""
    entry = add(store)
    (entry.path / "root.tar.zst").write_bytes(b"damaged")
    assert not is_intact(store, entry)
    add(store)
    assert not store.remove_damaged(entry.path)
    assert is_intact(store, entry)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), RuntimeError("x")], ids=repr
)
def test_what_could_not_be_made_leaves_nothing(store: Store, error: BaseException) -> None:
    kept = add(store, "pre-install")

    def half(directory: Path) -> None:
        fill(directory)
        raise error

    with pytest.raises(type(error)):
        add(store, filling=half)
    assert below(store) == {kept.path.name}


def test_no_room_for_the_manifest_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(self: Path, *_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    old = add(store)
    monkeypatch.setattr(Path, "write_text", no_room)
    with pytest.raises(OSError, match="No space"):
        add(store)
    assert is_intact(store, old)
    assert below(store) == {old.path.name}


def test_what_cannot_be_read_back_is_not_stored(store: Store) -> None:
    with pytest.raises(OSError, match="directory"):
        add(store, filling=lambda made: (made / "nested").mkdir())
    assert below(store) == set()


# --- with others at the same time; each in a process of its own, as flock(2) knows them

_processes = multiprocessing.get_context("fork")


@dataclass
class Others:
    """Processes that work in a store; none outlives its test."""

    running: list[Any] = field(default_factory=list)

    def start(self, work: Callable[..., None], *arguments: object) -> Any:
        process = _processes.Process(target=work, args=arguments, daemon=True)
        process.start()
        self.running.append(process)
        return process

    def join(self) -> list[int | None]:
        for process in self.running:
            process.join(PATIENCE)
        return [process.exitcode for process in self.running]


@pytest.fixture
def others() -> Iterator[Others]:
    made = Others()
    yield made
    for process in made.running:
        process.kill()
        process.join()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def _create(cache: Path, barrier: Any) -> None:
    barrier.wait(PATIENCE)
    Store(cache).create()


def test_many_make_the_store_at_once(tmp_path: Path, others: Others) -> None:
    for number in range(5):
        cache, barrier = tmp_path / str(number), _processes.Barrier(6)
        for _ in range(6):
            others.start(_create, cache, barrier)
        assert set(others.join()) == {0}
        assert read_key(cache) is not None


def _add(store: Store, content: bytes, barrier: Any) -> None:
    def filling(directory: Path) -> None:
        (directory / "x").write_bytes(content)
        barrier.wait(PATIENCE)

    for _ in range(5):
        add(store, filling=filling)


def test_two_add_the_same_at_once(store: Store, others: Others) -> None:
    barrier = _processes.Barrier(2)
    for content in (b"1" * 10, b"2" * 20):
        others.start(_add, store, content, barrier)
    assert others.join() == [0, 0]
    (entry,) = store.entries()
    assert is_intact(store, entry)
    assert below(store) == {entry.path.name}


def _hold(store: Store, entry: Entry, held: Any, let_go: Any) -> None:
    with store.using(entry) as intact:
        assert intact
        held.set()
        assert let_go.wait(PATIENCE)
        assert (entry.path / "hooks.tar.zst").read_bytes() == b"hooks"


@pytest.fixture
def held(store: Store, others: Others) -> tuple[Entry, Any]:
    """An entry that another process uses, until an event is set."""
    entry, is_held, let_go = add(store), _processes.Event(), _processes.Event()
    others.start(_hold, store, entry, is_held, let_go)
    assert is_held.wait(PATIENCE)
    return entry, let_go


def test_one_in_use_is_not_removed(store: Store, others: Others, held: tuple[Entry, Any]) -> None:
    entry, let_go = held
    assert not store.remove(entry)
    assert is_intact(store, entry)  # any number may use it
    let_go.set()
    assert others.join() == [0]
    assert store.remove(entry)


def test_one_in_use_is_kept_instead_of_another_of_the_same_and_nobody_waits(
    store: Store, others: Others, held: tuple[Entry, Any]
) -> None:
    entry, let_go = held

    def newer(directory: Path) -> None:
        (directory / "newer").touch()

    assert add(store, filling=newer) == entry
    assert below(store) == {entry.path.name}
    assert is_intact(store, entry)
    let_go.set()
    assert others.join() == [0]
    now = add(store, filling=newer)
    assert set(now.files) == {"newer"}
    assert store.entries() == [now]
    # Who had found the older one gets the newer one, or none at all: not half of each.
    assert is_intact(store, entry)


def test_a_damaged_one_in_use_is_not_removed_and_nobody_waits(store: Store) -> None:
    entry = add(store)
    (entry.path / "root.tar.zst").write_bytes(b"damaged")
    with store.using(entry) as intact:
        assert not intact
        assert not store.remove_damaged(entry.path)
        assert entry.path.is_dir()
    assert store.remove_damaged(entry.path)
    assert below(store) == set()


def test_a_killed_user_holds_nothing(store: Store, others: Others, held: tuple[Entry, Any]) -> None:
    os.kill(others.running[0].pid, signal.SIGKILL)
    assert others.join() == [-signal.SIGKILL]
    assert store.remove(held[0])


def _build(store: Store, log: Path, times: int) -> None:
    for _ in range(times):
        with store.building("sha256:x", lambda: None), log.open("a") as file:
            file.write("in ")
            file.flush()
            os.sched_yield()
            file.write("out\n")


def test_one_at_a_time_builds_and_everybody_gets_in(store: Store, others: Others, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(6):
        others.start(_build, store, log, 15)
    assert others.join() == [0] * 6
    assert log.read_text() == "in out\n" * 90
    assert list((store.path / "locks").iterdir()) == []


def test_who_waits_says_so_once(store: Store) -> None:
    said: list[str] = []
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with store.building("sha256:x", lambda: said.append("first")):
            entered.set()
            assert leave.wait(PATIENCE)

    def second() -> None:
        with store.building("sha256:x", lambda: said.append("second")):
            pass

    threads = [threading.Thread(target=work) for work in (first, second)]
    threads[0].start()
    assert entered.wait(PATIENCE)
    with store.building("sha256:y", lambda: said.append("other")):
        pass
    threads[1].start()
    until(lambda: bool(said))
    leave.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert said == ["second"]
    assert list((store.path / "locks").iterdir()) == []


def test_a_failed_build_lets_the_next_one_in(store: Store) -> None:
    with pytest.raises(RuntimeError), store.building("sha256:x", lambda: None):
        raise RuntimeError
    with store.building("sha256:x", lambda: pytest.fail("nobody builds")):
        pass
    assert list((store.path / "locks").iterdir()) == []


def _build_for_ever(store: Store, entered: Any) -> None:
    with store.building("sha256:x", lambda: None):
        entered.set()
        time.sleep(10 * PATIENCE)


def test_a_killed_build_lets_the_next_one_in(store: Store, others: Others) -> None:
    entered = _processes.Event()
    process = others.start(_build_for_ever, store, entered)
    assert entered.wait(PATIENCE)
    with pytest.raises(ZeroDivisionError), store.building("sha256:x", lambda: 1 // 0):
        raise AssertionError("two at once")
    process.kill()
    process.join(PATIENCE)
    with store.building("sha256:x", lambda: pytest.fail("nobody builds")):
        pass
    assert list((store.path / "locks").iterdir()) == []


def test_locks_that_are_gone_do_not_make_it_spin(store: Store) -> None:
    (store.path / "locks").rmdir()
    with pytest.raises(FileNotFoundError), store.building("sha256:x", lambda: None):
        raise AssertionError("never reached")


def _add_for_ever(store: Store, begun: Any) -> None:
    def filling(directory: Path) -> None:
        fill(directory)
        os.utime(directory, (0, 0))  # as if it took long
        begun.set()
        time.sleep(10 * PATIENCE)

    add(store, filling=filling)


def test_what_killed_ones_left_half_made_is_swept_and_what_others_make_is_not(store: Store, others: Others) -> None:
    begun = [_processes.Event(), _processes.Event()]
    dead, _alive = (others.start(_add_for_ever, store, event) for event in begun)
    assert all(event.wait(PATIENCE) for event in begun)
    assert len(below(store)) == 2
    store.sweep()
    assert len(below(store)) == 2
    dead.kill()
    dead.join(PATIENCE)
    just_made = store.path / "tmp-just-made"  # and not locked yet
    just_made.mkdir()
    store.sweep()
    assert len(below(store)) == 2
    assert just_made.is_dir()
    os.utime(just_made, (0, 0))
    entry = add(store, "install")  # sweeps by itself
    assert entry.path.name in below(store)
    assert len(below(store)) == 2


def test_what_was_being_removed_by_a_killed_one_is_swept(store: Store) -> None:
    entry = add(store)
    entry.path.rename(store.path / "tmp-going")
    os.utime(store.path / "tmp-going", (0, 0))
    store.sweep()
    assert below(store) == set()


# --- another name for the same content


def another_file_system(directory: Path) -> Path:
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == directory.stat().st_dev:
        pytest.skip("/dev/shm is not writable, or no file system of its own")
    return shm / f"test-store-{os.getpid()}"


def test_on_one_file_system_nothing_is_copied(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10**6)
    link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"x" * 10**6
    is_hard_link = (tmp_path / "b").samefile(tmp_path / "a")
    if not is_hard_link:  # a reflink: what is written to one of the two is not in the other
        (tmp_path / "b").write_bytes(b"y")
        assert (tmp_path / "a").read_bytes() == b"x" * 10**6


@pytest.mark.parametrize("shared", [True, False])
def test_one_that_is_not_shared_can_be_changed_alone(shared: bool, tmp_path: Path) -> None:
    """Who opens an image to write into it must not write into the store."""
    with (tmp_path / "a").open("wb") as file:
        file.write(b"begin")
        file.truncate(64 * 2**20)
    link(tmp_path / "a", tmp_path / "b", shared=shared)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert (tmp_path / "b").stat().st_blocks * 512 < 2**20
    if shared:
        return
    assert not (tmp_path / "b").samefile(tmp_path / "a")
    with (tmp_path / "b").open("r+b") as file:
        file.write(b"other")
    assert (tmp_path / "a").read_bytes()[:5] == b"begin"
    with pytest.raises(FileExistsError):
        link(tmp_path / "a", tmp_path / "b", shared=False)


def test_across_file_systems_it_is_a_copy_and_holes_stay(tmp_path: Path) -> None:
    other = another_file_system(tmp_path)
    with (tmp_path / "a").open("wb") as file:
        file.write(b"begin")
        file.truncate(64 * 2**20)
        file.seek(32 * 2**20)
        file.write(b"middle")
    try:
        link(tmp_path / "a", other)
        assert other.read_bytes() == (tmp_path / "a").read_bytes()
        assert other.stat().st_blocks * 512 < 2**20
    finally:
        other.unlink(missing_ok=True)


@pytest.mark.parametrize("shared", [True, False])
def test_a_copy_that_fails_leaves_nothing(shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = another_file_system(tmp_path)
    (tmp_path / "a").write_bytes(b"x")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)
    with pytest.raises(OSError, match="No space"):
        link(tmp_path / "a", other, shared=shared)
    assert not other.exists()


def test_a_name_that_is_taken_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "b"


def test_where_hard_links_are_refused_it_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10**5)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")  # fs.protected_hardlinks

    monkeypatch.setattr(os, "link", refused)
    link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"x" * 10**5


def test_the_image_needs_no_other_step(store: Store) -> None:
    entry = add(store, IMAGE)
    assert entry.title == "the image"
    assert add(store, "pre-install").title == "the stage after pre-install.d"
