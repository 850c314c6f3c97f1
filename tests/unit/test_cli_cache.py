"""``cache``, and what ``build`` and ``plan`` say of the store."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contract import schema_errors
from diskimage_create import cli, pipeline
from diskimage_create.model import IMAGE, BuildPlan
from diskimage_create.pipeline import BuildOptions
from diskimage_create.store import MANIFEST, Entry, Store


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the environment of whoever runs the tests means anything."""
    for name in os.environ:
        if name.startswith(("DIB_", "DISKIMAGE_CREATE_", "ELEMENTS_", "OCTAVIA_", "CLOUD_INIT")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.create()
    return made


def add(store: Store, number: int, step: str = "root", days: int = 0, size: int = 10**6) -> Entry:
    """An entry that was used some days ago."""

    def fill(directory: Path) -> None:
        (directory / "file").write_bytes(bytes(size))

    local = {"root": {"option:x": str(number)}}
    entry = store.add(step, "amphora debian trixie amd64", local, {}, datetime.now(UTC), fill)
    seconds = entry.used.timestamp() - days * 86400
    os.utime(entry.path / MANIFEST, (seconds, seconds))
    return entry


def short(entry: Entry) -> str:
    return entry.identity.removeprefix("sha256:")[:12]


def run(*arguments: str) -> int:
    return cli.main(["cache", arguments[0], "-c", "cache", *arguments[1:]])


def everything(directory: Path) -> dict[str, float]:
    """All files below a directory, and when they were changed."""
    return {str(path): path.lstat().st_mtime_ns for path in [directory, *directory.rglob("*")]}


# --- list


@pytest.mark.parametrize("arguments", [["list"], ["prune", "--keep-last", "0"], ["verify"], ["list", "--format=json"]])
def test_where_there_is_no_store_there_is_nothing_and_nothing_is_made(
    arguments: list[str], tmp_path: Path, capsys: Any
) -> None:
    assert run(*arguments) == 0
    out = capsys.readouterr().out
    assert (json.loads(out)["entries"] if "--format=json" in arguments else out) in ("", [])
    assert list(tmp_path.iterdir()) == []


def test_the_list_as_text(store: Store, capsys: Any) -> None:
    one, two = add(store, 1), add(store, 2, IMAGE, size=2 * 10**6)
    assert run("list") == 0
    out, err = capsys.readouterr()
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert lines.keys() == {short(one), short(two)}
    assert lines[short(two)].split()[3:] == ["2", "MB", "image", "amphora", "debian", "trixie", "amd64"]
    assert err == "2 entries, 3 MB\n"


def test_the_list_as_json_is_the_contract(store: Store, capsys: Any) -> None:
    one, _ = add(store, 1, days=3), add(store, 2, IMAGE)
    assert run("list", "--format", "json") == 0
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert schema_errors(data, "cache") == []
    assert err == ""
    (shown,) = (each for each in data["entries"] if each["step"] == "root")
    assert (shown["identity"], shown["bytes"], shown["path"]) == (one.identity, 10**6, str(one.path))
    assert shown["used"] < shown["created"]


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
def test_the_cache_directory_of_the_environment(
    command: str, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The same variable as for a build."""
    entry = add(store, 1)
    monkeypatch.setenv("DISKIMAGE_CREATE_CACHE_DIR", str(store.path.parent))
    more = ["--keep-last", "0"] if command == "prune" else []
    assert cli.main(["cache", command, *more]) == 0
    assert short(entry) in capsys.readouterr().out


def test_by_default_it_is_the_one_of_builds(tmp_path: Path, capsys: Any) -> None:
    store = Store(tmp_path / "home/.cache/image-create")
    store.create()
    entry = add(store, 1)
    assert cli.main(["cache", "list"]) == 0
    assert short(entry) in capsys.readouterr().out


# --- prune


def test_prune_removes_what_is_beyond_the_limits_and_says_so(store: Store, capsys: Any) -> None:
    old, middle, new = (add(store, days, days=days) for days in (9, 5, 1))
    assert run("prune", "--keep-last", "2", "--older-than", "4d") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["removed", short(old)], ["removed", short(middle)]]
    assert [entry.path for entry in store.entries()] == [new.path]


@pytest.mark.parametrize(
    ("size", "stay"), [("2M", 2), ("2MB", 2), ("1954K", 2), ("1953K", 1), ("2000000", 2), ("0", 0), ("1T", 3)]
)
def test_prune_to_a_size(size: str, stay: int, store: Store) -> None:
    entries = [add(store, days, days=days) for days in (1, 2, 3)]
    assert run("prune", "--max-size", size) == 0
    assert {entry.path for entry in store.entries()} == {entry.path for entry in entries[:stay]}


def test_prune_only_shows_what_it_would_remove(store: Store, capsys: Any) -> None:
    entry = add(store, 1)
    before = everything(store.path)
    assert run("prune", "--keep-last", "0", "--dry-run") == 0
    assert capsys.readouterr().out.split()[0] == short(entry)
    assert everything(store.path) == before


@pytest.fixture
def in_use(store: Store) -> Iterator[Entry]:
    """An entry that a build is using: flock(2) tells apart who has opened, not who has a number."""
    entry = add(store, 1)
    descriptor = os.open(entry.path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    yield entry
    os.close(descriptor)


def test_prune_leaves_what_is_in_use(in_use: Entry, store: Store, capsys: Any) -> None:
    other = add(store, 2)
    assert run("prune", "--keep-last", "0") == 0
    lines = sorted(line.split()[:-4] for line in capsys.readouterr().out.splitlines())
    assert lines[0][:3] == ["in", "use", short(in_use)]
    assert lines[1][:2] == ["removed", short(other)]
    assert [entry.path for entry in store.entries()] == [in_use.path]


def test_prune_removes_what_cannot_be_read_and_what_killed_builds_left(store: Store, capsys: Any) -> None:
    entry = add(store, 1)
    (entry.path / MANIFEST).write_text("rubbish")
    (store.path / "tmp-left").mkdir()
    os.utime(store.path / "tmp-left", (0, 0))
    assert run("prune", "--older-than", "900d", "--dry-run") == 0
    assert entry.path.is_dir()
    assert (store.path / "tmp-left").is_dir()
    assert run("prune", "--older-than", "900d") == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["removed", short(entry)]
    assert not entry.path.exists()
    assert not (store.path / "tmp-left").exists()


def test_prune_refuses_a_directory_that_is_not_marked(store: Store, capsys: Any) -> None:
    entry = add(store, 1)
    (store.path / "CACHEDIR.TAG").unlink()
    assert run("prune", "--keep-last", "0") == 3
    assert "not marked as a cache" in capsys.readouterr().err
    assert entry.path.is_dir()


def test_all_that_is_wrong_is_said_at_once(store: Store, capsys: Any) -> None:
    entry = add(store, 1)
    assert run("prune", "--keep-last", "-1", "--max-size", "20 GB", "--older-than", "never") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[::2] == [
        "error: '-1' is not a whole number (--keep-last)",
        "error: '20 GB' is no size (--max-size)",
        "error: 'never' is no length of time (--older-than)",
    ]
    assert all(line.startswith("hint: ") for line in err.splitlines()[1::2])
    assert entry.path.is_dir()


def test_nothing_to_remove_by_is_bad_usage(capsys: Any) -> None:
    assert run("prune") == 2
    assert "nothing says what to remove (cache prune)" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1", "1w", "-1d", "1.5h", "d", "", "\u0661d", "1d "])
def test_no_length_of_time(text: str, capsys: Any) -> None:
    assert run("prune", "--older-than", text) == 2
    assert f"{text!r} is no length of time" in capsys.readouterr().err


# --- verify


def test_verify_finds_nothing(store: Store, capsys: Any) -> None:
    entry = add(store, 1)
    before = everything(store.path)
    assert run("verify") == 0
    assert capsys.readouterr().out.split()[:2] == ["intact", short(entry)]
    assert everything(store.path) == before


@pytest.mark.parametrize("damage", ["content", "missing", "manifest"])
def test_verify_finds_damage_and_removes_it_when_asked(damage: str, store: Store, capsys: Any) -> None:
    good, bad = add(store, 1), add(store, 2)
    if damage == "content":
        (bad.path / "file").write_bytes(b"\1" * 10**6)
    elif damage == "missing":
        (bad.path / "file").unlink()
    else:
        (bad.path / MANIFEST).write_bytes(b"\xff")
    for arguments in (["verify"], ["verify", "--remove"]):
        assert run(*arguments) == 1
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert sorted(line[:2] for line in lines) == [["damaged", short(bad)], ["intact", short(good)]]
    assert [entry.path for entry in store.entries()] == [good.path]
    assert not bad.path.exists()
    assert run("verify") == 0


# --- plan --why


PLAN = ["plan", "-i", "debian", "-c", "cache", "-o", "amphora"]


def stored(store: Store, capsys: Any, *arguments: str) -> None:
    """What a build of these arguments would have stored."""
    plans: list[BuildPlan] = []

    def build(plan: BuildPlan, *_: object) -> list[object]:
        plans.append(plan)
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "build", build)
        patch.setattr("diskimage_create.cli.build.stop_on_signals", lambda: None)
        assert cli.main(["build", *PLAN[1:], *arguments]) == 0
    capsys.readouterr()
    label, local = "amphora debian trixie amd64", plans[0].inputs
    for step in ("root", "pre-install", IMAGE):
        store.add(step, label, local, {}, datetime.now(UTC), lambda made: (made / "x").touch())


def test_why_as_text(store: Store, capsys: Any) -> None:
    stored(store, capsys)
    assert cli.main([*PLAN, "--why", "-s", "7"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("why ")]
    assert lines[0] == "why          option size_gib: 5 -> 7; starting after pre-install.d"
    assert lines[1].startswith("why          compared with the image of ")
    assert lines[2] == "why            option size_gib: 5 -> 7"
    assert cli.main([*PLAN, "--why"]) == 0
    assert "why          nothing changed: the image built at " in capsys.readouterr().out


def test_why_as_json_is_the_contract(store: Store, capsys: Any) -> None:
    stored(store, capsys)
    for more, reused, texts in (([], IMAGE, []), (["-s", "7"], "pre-install", ["option size_gib: 5 -> 7"])):
        assert cli.main([*PLAN, "--why", "--format", "json", *more]) == 0
        data = json.loads(capsys.readouterr().out)
        assert schema_errors(data, "plan") == []
        assert data["why"]["reused"] == reused
        assert [change["text"] for change in data["why"]["changes"]] == texts
    assert cli.main([*PLAN, "--format", "json"]) == 0
    assert "why" not in json.loads(capsys.readouterr().out)


def test_why_names_the_hook_that_changed(store: Store, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    hook = tmp_path / "place/mine/finalise.d" / os.fsdecode(b"50-\xff")
    hook.parent.mkdir(parents=True)
    hook.write_text("one")
    monkeypatch.setenv("ELEMENTS_PATH", str(tmp_path / "place"))
    stored(store, capsys, "--element", "mine")
    hook.write_text("two")
    assert cli.main([*PLAN, "--why", "--format", "json", "--element", "mine"]) == 0
    (change,) = json.loads(capsys.readouterr().out)["why"]["changes"]
    assert change["name"] == "element:mine:finalise.d/" + hook.name


def test_secrets_are_nowhere(store: Store, capsys: Any) -> None:
    stored(store, capsys, "-r", "canary-1", "--env", "DIB_TOKEN=canary-1")
    for form in ("text", "json"):
        assert cli.main([*PLAN, "--why", "--format", form, "-r", "canary-2", "--env", "DIB_TOKEN=canary-2"]) == 0
        out, err = capsys.readouterr()
        assert "canary" not in out + err
        assert "option root_password changed" in out
        assert "environment DIB_TOKEN changed" in out
    assert "canary" not in "".join(path.read_text() for path in store.path.rglob(MANIFEST))


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("arguments", [[], ["--format", "json"], ["-s", "7", "-r", "x"]])
def test_a_plan_writes_nothing(there: bool, arguments: list[str], tmp_path: Path, capsys: Any) -> None:
    if there:
        made = Store(tmp_path / "cache")
        made.create()
        stored(made, capsys)
    before = everything(tmp_path)
    assert cli.main([*PLAN, "--why", *arguments]) == 0
    assert everything(tmp_path) == before


# --- build


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[BuildOptions]:
    """How builds were asked for; none is run."""
    found: list[BuildOptions] = []

    def build(_plan: object, _host: object, _display: object, options: BuildOptions, _say: object) -> list[object]:
        found.append(options)
        return []

    monkeypatch.setattr(pipeline, "build", build)
    monkeypatch.setattr("diskimage_create.cli.build.stop_on_signals", lambda: None)
    return found


BUILD = ["build", *PLAN[1:]]


def test_how_much_of_the_store_a_build_trusts(asked: list[BuildOptions], monkeypatch: Any) -> None:
    assert cli.main(BUILD) == 0
    assert cli.main([*BUILD, "--refresh", "--max-age", "90m"]) == 0
    assert cli.main([*BUILD, "--no-store"]) == 0
    monkeypatch.setenv("DISKIMAGE_CREATE_MAX_AGE", "7d")
    assert cli.main([*BUILD, "--offline", "--why"]) == 0
    assert [(each.refresh, each.keep, each.offline, each.why) for each in asked] == [
        (False, True, False, False),
        (True, True, False, False),
        (True, False, False, False),
        (False, True, True, True),
    ]
    assert [each.max_age.total_seconds() / 3600 for each in asked] == [24, 1.5, 24, 168]


@pytest.mark.parametrize("age", ["", "1", "24 h", "-1h", "1w", "1234567d"])
def test_all_that_is_wrong_with_a_build_is_said_at_once(
    age: str, asked: list[BuildOptions], tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("ELEMENTS_PATH", "/nowhere")
    assert cli.main([*BUILD, "-s", "0", "--max-age", age, "--offline", "--refresh"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[::2] == [
        "error: size '0' is not a positive whole number (--size)",
        "error: directory /nowhere does not exist (ELEMENTS_PATH)",
        f"error: {age!r} is no length of time (--max-age)",
        "error: --offline uses nothing but what is stored, and --refresh nothing of it (--refresh)",
    ]
    assert asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_length_of_time_of_the_environment_is_named_as_it_was_spelled(
    asked: list[BuildOptions], tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("DISKIMAGE_CREATE_MAX_AGE", "long")
    assert cli.main(BUILD) == 2
    assert "(DISKIMAGE_CREATE_MAX_AGE)" in capsys.readouterr().err
    assert (asked, list(tmp_path.iterdir())) == ([], [])
