"""A rebuild costs what changed, and gives what a build from the beginning gives."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from building import COMMAND, REPRODUCIBLE, Built, clean_environment, run_build, start_build, stop_build

from contract import schema_errors
from diskimage_create.diff import compare
from diskimage_create.elements import OURS
from diskimage_create.inputs import identities, merged
from diskimage_create.model import IMAGE, STEPS
from diskimage_create.store import Entry, Store

pytestmark = pytest.mark.usefixtures("nothing_left")

BOOKWORM = ("-i", "debian", "-d", "bookworm")
QCOW2 = (*BOOKWORM, "-t", "qcow2")
#: What the fixture bookworm was asked for
SAME = (*BOOKWORM, "-t", "qcow2,tar")
#: What must be done for every build: mounts, things lent, and the resuming itself. Written down from what they do.
AGAIN = {
    ("root", "00-resume-stage"),
    ("root", "11-pip-cache"),
    ("root", "20-lend-ca-bundle"),
    ("root", "50-build-with-http-cache"),
    ("root", "50-shared-apt-cache"),
    ("root", "51-own-apt-archives"),
    ("extra-data", "00-offer-stages"),
    ("extra-data", "20-lend-ca-bundle"),
    ("extra-data", "55-lend-uv"),
}
#: Links hooks into install.d: to be done again where those are still to be run
SORTS_INSTALL = ("extra-data", "99-enable-install-types")
#: Stage -> the phases that it stands in for
FINISHED = {
    "root": {"root"},
    "pre-install": {"root", "extra-data", "pre-install"},
    "install": {"root", "extra-data", "pre-install", "install"},
}
NEW_PACKAGES = "the mirror got new packages in the course of the tests"


@dataclass(frozen=True)
class Workplace:
    """Where a test builds, with elements of its own."""

    directory: Path
    elements: Path

    @property
    def env(self) -> dict[str, str]:
        return {**REPRODUCIBLE, "ELEMENTS_PATH": str(self.elements)}

    def change(self, hook: str, text: str = "# changed") -> None:
        """Add a line to a hook."""
        path = self.elements / hook
        path.write_text(f"{path.read_text()}{text}\n")

    def build(self, *arguments: str) -> Built:
        """Build from the store that all share."""
        return run_build(self.directory, *arguments, env=self.env)


@pytest.fixture
def here(builds: Path, request: pytest.FixtureRequest) -> Workplace:
    directory = builds / request.node.name.replace("[", "-").replace("]", "")
    directory.mkdir()
    shutil.copytree(OURS, directory / "elements", symlinks=True)
    return Workplace(directory, directory / "elements")


@pytest.fixture
def store(builds: Path) -> Store:
    return Store(builds / "cache")


def stored(store: Store, built: Built, step: str) -> Entry:
    """What a build has stored of a step."""
    image = store.find(IMAGE, built.record()["fingerprint"])
    assert image is not None
    entry = store.find(step, identities(merged(image.local, image.remote))[step])
    assert entry is not None
    return entry


def damage(file: Path) -> None:
    """Change a byte; other names of the file keep what they have."""
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.unlink()
    file.write_bytes(whole)


def explained(built: Built) -> list[str]:
    """What was said about reusing things."""
    return [line for line in built.stderr.splitlines() if not line.startswith(("note: ", "[")) and "sha256" not in line]


def assert_resumed(built: Built, stage: str, cold: Built) -> None:
    assert built.returncode == 0, built.stderr[-4000:]
    record = built.record()
    if record["remote_inputs"] not in (cold.record()["remote_inputs"], {}):
        pytest.skip(NEW_PACKAGES)
    assert schema_errors(record, "record") == []
    assert (record["built"], record["resumed_from"]) == (True, stage), built.stderr
    again = AGAIN if stage == "install" else {*AGAIN, SORTS_INSTALL}
    finished = [{hook for hook in hooks_run(each) if hook[0] in FINISHED[stage]} - again for each in (cold, built)]
    assert ("root", "08-debootstrap") in finished[0]
    assert finished[1] == set()


def hooks_run(built: Built) -> set[tuple[str, str]]:
    """Phase and name of every hook, as the log has them."""
    return set(re.findall(r"dib-run-parts Running \S*/([a-z-]+)\.d/(\S+)$", built.log, re.MULTILINE))


def assert_equal(cold: Built, resumed: Built) -> None:
    """Nothing at all differs: with the same SOURCE_DATE_EPOCH there is nothing to ignore."""
    found = compare(cold.path(), resumed.path())
    assert {name: changes for name, changes in found.groups.items() if changes} == {}
    assert found.groups.keys() == {"files", "packages", "services", "kernel_command_line", "boot_loader"}
    assert found.notes == ()


def assert_whole(store: Store) -> None:
    """Nothing half is in a store."""
    directories = {path for path in store.path.iterdir() if path.is_dir() and path.name != "locks"}
    assert {entry.path for entry in store.entries()} == directories


def test_from_an_empty_store_everything_is_built(bookworm: Built, store: Store) -> None:
    record = bookworm.record()
    assert (record["built"], record["resumed_from"]) == (True, None)
    assert explained(bookworm)[0].endswith("; starting from the beginning")
    entries = [stored(store, bookworm, step) for step in STEPS]
    # That they were saved is not seen in the image.
    with tarfile.open(bookworm.path("tar")) as tar:
        assert {name for name in tar.getnames() if name.startswith(("./run/mount", "./tmp/"))} == set()
    # The stages of an amphora: at most 700 MB.
    assert sum(entry.bytes for entry in entries[:-1]) <= 700e6


def test_a_change_after_install_starts_after_install(bookworm: Built, here: Workplace) -> None:
    here.change("haproxy-octavia/post-install.d/20-haproxy-logging")
    built = here.build(*QCOW2, "--why")
    assert_resumed(built, "install", bookworm)
    headline, compared, *reasons = explained(built)
    what = "element haproxy-octavia: post-install.d/20-haproxy-logging changed"
    assert headline == f"{what} (and 1 more); starting after install.d"
    assert compared.startswith("compared with the image of ")
    assert reasons == [f"  {what}", "  option types: qcow2,tar -> qcow2"]
    assert_equal(bookworm, built)


def test_a_change_in_pre_install_starts_after_root(bookworm: Built, here: Workplace) -> None:
    here.change("base/pre-install.d/03-package-lists")
    built = here.build(*QCOW2)
    assert_resumed(built, "root", bookworm)
    (line,) = explained(built)
    assert line.startswith("element base: pre-install.d/03-package-lists changed")
    assert line.endswith("; starting after root.d")
    assert_equal(bookworm, built)


@pytest.fixture
def small_store(builds: Path, bookworm: Built, store: Store) -> Iterator[Store]:
    """A cache whose store has room for its first two stages, and for nothing else."""
    small = Store(builds / "small-cache")
    small.path.mkdir(parents=True)
    for path in store.path.parent.iterdir():
        if path != store.path:
            (small.path.parent / path.name).symlink_to(path)
    entries = [stored(store, bookworm, step) for step in ("root", "pre-install")]
    size = sum(entry.bytes for entry in entries) + 100_000_000
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", small.path], check=True)
    try:
        small.create()
        shutil.copy(store.path / "key", small.path / "key")
        for entry in entries:
            shutil.copytree(entry.path, small.path / entry.path.name)
        yield small
    finally:
        subprocess.run(["umount", small.path], check=True)


def test_a_change_in_install_starts_after_pre_install_and_a_full_disk_costs_the_entries_alone(
    bookworm: Built, here: Workplace, small_store: Store
) -> None:
    here.change("amphora-agent/install.d/77-amphora-agent-setup")
    before = {entry.path for entry in small_store.entries()}
    built = here.build(*QCOW2, "--cache-dir", str(small_store.path.parent))
    assert_resumed(built, "pre-install", bookworm)
    said = explained(built)
    assert said[0].endswith("; starting after pre-install.d")
    warnings = [line.partition(": ")[2].partition(":")[0] for line in said if line.startswith("warning: ")]
    assert warnings == ["the stage after install.d is not kept", "the image is not kept in the store"]
    assert built.stderr.count("No space left on device") == 2
    assert {entry.path for entry in small_store.entries()} == before
    assert_whole(small_store)
    assert_equal(bookworm, built)


def test_unchanged_nothing_is_built(bookworm: Built, here: Workplace) -> None:
    output = here.directory / "elsewhere/lb"
    output.parent.mkdir()
    built = here.build(*SAME, "--output", str(output))
    assert built.returncode == 0, built.stderr
    (line,) = explained(built)
    assert line.startswith("nothing changed: the image built at ")
    assert built.stdout.splitlines() == [f"{output}.qcow2", f"{output}.tar"]
    assert Path(f"{output}.log").read_text() == bookworm.log
    for kind in ("qcow2", "tar"):
        image = Path(f"{output}.{kind}")
        record = json.loads(Path(f"{image}.json").read_text())
        assert schema_errors(record, "record") == []
        assert record["built"] is False
        assert record["reused_from"]["fingerprint"] == bookworm.record()["fingerprint"]
        assert record["artifacts"][0]["path"] == image.name
        digest, name = Path(f"{image}.sha256").read_text().split()
        with image.open("rb") as file:
            assert (name, hashlib.file_digest(file, "sha256").hexdigest()) == (image.name, digest)
        assert digest == bookworm.record(kind)["artifacts"][0]["sha256"]
    assert sorted(path.name for path in output.parent.iterdir() if path.name.startswith(".")) == []


def test_refresh_uses_nothing_that_is_stored(bookworm: Built, here: Workplace) -> None:
    built = stop_build(here.directory, "root 08-debootstrap", *SAME, "--refresh", env=here.env)
    assert built.returncode == 130, built.stderr
    assert explained(built)[0] == "nothing that is stored is used; starting from the beginning"


@pytest.mark.parametrize(
    ("text", "stage"), [("install.d/00-up-to-date\n", "pre-install"), ("", "root")], ids=["one-hook", "all-hooks"]
)
def test_hooks_that_must_not_be_skipped_are_run(bookworm: Built, here: Workplace, text: str, stage: str) -> None:
    (here.elements / "base/.nostage").write_text(text)
    built = stop_build(here.directory, "install 00-up-to-date", *SAME, env=here.env)
    assert built.returncode == 130, built.stderr
    assert explained(built)[0] == f"element base: .nostage added; starting after {stage}.d"
    never = {("pre-install", "03-package-lists"), ("install", "00-up-to-date")}
    assert {hook for hook in hooks_run(built) if hook in never} == {
        hook for hook in never if hook[0] not in FINISHED[stage]
    }


def test_a_damaged_stage_is_made_again(bookworm: Built, here: Workplace, store: Store) -> None:
    here.change("base/install.d/00-up-to-date")
    stage = stored(store, bookworm, "pre-install")
    damage(stage.path / "root.tar.zst")
    built = stop_build(here.directory, "install 00-up-to-date", *SAME, env=here.env)
    warning, headline = explained(built)[:2]
    title = "the stage after pre-install.d"
    assert warning == f"warning: {title} was damaged in the store: it is removed, and made again"
    assert headline.startswith("element base: install.d/00-up-to-date changed")
    assert headline.endswith("; starting after root.d")
    # It was made again by a build that then was stopped.
    again = store.find("pre-install", stage.identity)
    assert again is not None
    with store.using(again) as intact:
        assert intact


def test_a_killed_build_leaves_nothing_half(bookworm: Built, here: Workplace, store: Store) -> None:
    here.change("base/pre-install.d/03-package-lists", "# changed once more")
    known = {entry.path for entry in store.entries()}

    def storing() -> bool:
        return any(store.path.glob("tmp-*/*.zst"))

    killed = stop_build(
        here.directory, "pre-install 9999-save", *SAME, env=here.env, signum=signal.SIGKILL, ready=storing
    )
    assert killed.returncode == -signal.SIGKILL
    assert {entry.path for entry in store.entries()} == known
    # As if it had been a while ago: what is being made is left alone.
    for half in store.path.glob("tmp-*"):
        os.utime(half, (time.time() - 3600,) * 2)
    for step, stage in (("install 01-package-installs", "root"), ("install 00-up-to-date", "pre-install")):
        built = stop_build(here.directory, step, *SAME, env=here.env)
        assert built.returncode == 130, built.stderr
        assert explained(built)[0].endswith(f"; starting after {stage}.d")
    assert_whole(store)
    assert len({entry.path for entry in store.entries()} - known) == 1
    verify = [*COMMAND, "cache", "verify", "--cache-dir", str(store.path.parent)]
    done = subprocess.run(verify, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_failed_build_goes_on_and_a_damaged_image_is_made_again(
    bookworm: Built, here: Workplace, store: Store
) -> None:
    hook = here.elements / "no-resolvconf/finalise.d/99-no-resolvconf"
    good = hook.read_text()
    here.change("no-resolvconf/finalise.d/99-no-resolvconf", "echo no such flux capacitor; exit 7")
    failed = here.build(*SAME)
    assert failed.returncode == 4
    assert "in finalise.d/99-no-resolvconf" in failed.stderr
    hook.write_text(good)
    # Mended, it is the image that is stored; a byte of that is wrong.
    image = stored(store, bookworm, IMAGE)
    damage(image.path / "qcow2")
    built = here.build(*SAME)
    assert_resumed(built, "install", bookworm)
    warning, headline = explained(built)
    assert warning == "warning: the image was damaged in the store: it is removed, and made again"
    assert headline == "the stored image cannot be used; starting after install.d"
    with store.using(stored(store, built, IMAGE)) as intact:
        assert intact


def test_of_many_that_make_the_same_one_builds(bookworm: Built, here: Workplace) -> None:
    here.change("no-resolvconf/finalise.d/99-no-resolvconf")
    other = here.directory / "other"
    # Two of them to the same output
    running = [start_build(here.directory, *QCOW2, *more, env=here.env) for more in ((), (), ("-o", str(other)))]
    texts = [build.communicate(timeout=1200)[1] for build in running]
    assert [build.returncode for build in running] == [0, 0, 0], texts
    assert sorted("starting after install.d" in text for text in texts) == [False, False, True]
    for text in texts:
        if "starting after install.d" not in text:
            assert "another build makes this image: waiting for it" in text
            assert "nothing changed: the image built at " in text
    image, same = here.directory / "amphora-x64-haproxy.qcow2", Path(f"{other}.qcow2")
    digests = [path.with_name(f"{path.name}.sha256").read_text().split()[0] for path in (image, same)]
    assert digests[0] == digests[1]
    assert subprocess.run(["cmp", image, same], check=False).returncode == 0
    assert list((here.directory.parent / "cache/store/locks").iterdir()) == []


def test_offline_takes_what_is_stored(bookworm: Built, here: Workplace) -> None:
    network_gone = ["unshare", "--net"]
    reused = run_build(here.directory, *SAME, "--offline", env=here.env, within=network_gone)
    assert reused.returncode == 0, reused.stderr
    assert reused.record()["built"] is False
    here.change("haproxy-octavia/post-install.d/20-haproxy-logging", "# changed offline")
    built = run_build(here.directory, *QCOW2, "--offline", env=here.env, within=network_gone)
    assert_resumed(built, "install", bookworm)
    assert_equal(bookworm, built)


def test_offline_without_anything_stored_is_refused(here: Workplace) -> None:
    built = here.build(*BOOKWORM, "--offline", "--cache-dir", str(here.directory / "empty"))
    assert built.returncode == 3
    assert "error: nothing that is stored fits this image" in built.stderr
    assert "build it once without --offline" in built.stderr


#: Lets a user call sudo, and run an interpreter that lies in root's home; nobody outside of this mount namespace
AS_USER = """
set -eu
place=$1 interpreter=$2 uid=$3 gid=$4; shift 4
mount --bind "$place/sudoers.d" /etc/sudoers.d
case "$interpreter" in
    /root/*)
        mount --bind "$interpreter" "$place/interpreter"
        mount -t tmpfs -o mode=0755 tmpfs /root
        mkdir -p "$interpreter"
        mount --bind "$place/interpreter" "$interpreter"
        ;;
esac
exec setpriv --reuid "$uid" --regid "$gid" --clear-groups -- "$@"
"""


@dataclass(frozen=True)
class User:
    """Someone who is not root, but may call sudo."""

    home: Path
    within: list[str]


@pytest.fixture
def user() -> Iterator[User]:
    if shutil.which("sudo") is None:
        pytest.skip("sudo is not installed")
    nobody = pwd.getpwnam("nobody")
    # Where others may look: pytest's directories are root's alone.
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        rules, home = place / "sudoers.d", place / "home"
        (place / "interpreter").mkdir()
        rules.mkdir(mode=0o750)
        (rules / "test").write_text(f"{nobody.pw_name} ALL=(ALL) NOPASSWD: ALL\n")
        (rules / "test").chmod(0o440)
        home.mkdir()
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        who = [str(place), sys.base_prefix, str(nobody.pw_uid), str(nobody.pw_gid)]
        within = ["unshare", "--mount", "bash", "-c", AS_USER, "as-user", *who]
        within += ["env", f"HOME={home}", f"TMPDIR={home}", f"USER={nobody.pw_name}"]
        able = subprocess.run(
            [*within, "sh", "-c", 'sudo -n true && exec "$@"', "sh", *COMMAND, "--version"],
            env=clean_environment(),
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        if able.returncode != 0:
            pytest.skip(f"an ordinary user cannot call sudo, or this program, here: {able.stderr.strip()[-300:]}")
        yield User(home, within)


def test_a_user_who_is_not_root_has_a_store_too(bookworm: Built, user: User, store: Store) -> None:
    mine = Store(user.home / "cache")
    mine.create()
    shutil.copy(store.path / "key", mine.path / "key")
    for step in ("install", IMAGE):
        entry = stored(store, bookworm, step)
        shutil.copytree(entry.path, mine.path / entry.path.name)
    shutil.copytree(OURS, user.home / "elements", symlinks=True)
    here = Workplace(user.home, user.home / "elements")
    here.change("haproxy-octavia/post-install.d/20-haproxy-logging", "# changed by a user")
    subprocess.run(["chown", "-R", "nobody:", user.home], check=True)
    cache = ("--cache-dir", str(mine.path.parent))
    reused = run_build(user.home, *SAME, *cache, env=REPRODUCIBLE, within=user.within)
    assert reused.returncode == 0, reused.stderr
    assert reused.record()["built"] is False
    built = run_build(user.home, *QCOW2, *cache, env=here.env, within=user.within)
    assert_resumed(built, "install", bookworm)
    assert stored(mine, built, IMAGE).path.owner() == "nobody"
    assert_equal(bookworm, built)
