"""Workspaces: gone afterwards, and swept by their journal when their process died."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from diskimage_create import mounts, process
from diskimage_create.errors import HostError, Interrupted
from diskimage_create.workspace import Workspace, _start_time, sweep_stale, workspace

pytestmark = pytest.mark.subprocess("rm removes workspaces")


@pytest.fixture(autouse=True)
def without_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files here are the user's."""
    monkeypatch.setattr(process, "is_root", lambda: True)


def left_behind(parent: Path, name: str, journal: object) -> Path:
    path = parent / f"diskimage-create-{name}"
    (path / "tmp/deep").mkdir(parents=True)
    (path / "journal.json").write_text(journal if isinstance(journal, str) else json.dumps(journal))
    return path


def dead(*partial: Path) -> dict[str, object]:
    # This number is ours, but the process that had it started at another time.
    return {"schema": 1, "pid": os.getpid(), "started": "1", "partial": [str(path) for path in partial]}


def test_a_workspace_is_gone_afterwards_with_its_partial_files(tmp_path: Path) -> None:
    parent = tmp_path / "not/there/yet"
    with workspace(parent) as work:
        assert all(path.is_dir() for path in (work.tmp, work.out, work.disk))
        assert work.path.parent == parent
        assert work.path.stat().st_mode & 0o077 == 0
        partial = work.partial_file(tmp_path / "image.qcow2")
        assert (partial.parent, partial.name[0]) == (tmp_path, ".")
        partial.write_text("half")
        (tmp_path / "image.qcow2").write_text("an older one")
        journal = json.loads((work.path / "journal.json").read_text())
        assert journal["partial"] == [str(partial)]
        assert (journal["pid"], journal["started"]) == (os.getpid(), _start_time(os.getpid()))
    assert list(parent.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["image.qcow2"]


def test_it_is_gone_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), workspace(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_first_error_is_the_one_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_path: Path) -> list[str]:
        raise HostError("cannot unmount")

    def build() -> None:
        with workspace(tmp_path):
            monkeypatch.setattr(mounts, "sweep", broken)
            raise ValueError("the build failed")

    with pytest.raises(ValueError, match="the build failed") as caught:
        build()
    assert "cannot unmount" in caught.value.__notes__[0]


def test_the_next_build_sweeps_what_a_dead_one_left(tmp_path: Path) -> None:
    partial = tmp_path / ".image.qcow2.123.partial"
    partial.write_text("half")
    stale = left_behind(tmp_path, "dead", dead(partial, tmp_path / ".gone.1.partial"))
    with workspace(tmp_path) as work:
        assert list(tmp_path.iterdir()) == [work.path]
    assert not stale.exists()


def test_a_process_that_is_no_more_is_dead(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    stale = left_behind(tmp_path, "x", {"schema": 1, "pid": child, "started": "5", "partial": []})
    assert sweep_stale(tmp_path) == [stale]


def test_a_live_one_is_left_alone(tmp_path: Path) -> None:
    with workspace(tmp_path) as work:
        partial = work.partial_file(tmp_path / "image")
        partial.write_text("half")
        with workspace(tmp_path):
            pass
        assert sweep_stale(tmp_path) == []
        assert work.tmp.is_dir()
        assert partial.exists()


def test_a_journal_can_only_name_partial_files(tmp_path: Path) -> None:
    precious = tmp_path / "precious.qcow2"
    precious.write_text("x")
    left_behind(tmp_path, "dead", dead(precious))
    assert len(sweep_stale(tmp_path)) == 1
    assert precious.exists()


@pytest.mark.parametrize(
    "journal", ["", "{", "[]", "null", "{}", '{"pid": "x", "started": null}', '{"pid": [], "partial": 1}']
)
def test_what_is_not_of_our_making_is_left_alone(tmp_path: Path, journal: str) -> None:
    path = left_behind(tmp_path, "foreign", journal)
    (tmp_path / "diskimage-create-empty").mkdir()
    (tmp_path / "diskimage-create-file").touch()
    (tmp_path / "diskimage-create-link").symlink_to("/nowhere")
    (tmp_path / "something-else").mkdir()
    assert sweep_stale(tmp_path) == []
    assert path.exists()


def test_a_link_to_a_workspace_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = left_behind(tmp_path / "elsewhere", "dead", dead())
    (tmp_path / "diskimage-create-link").symlink_to(target)
    sweep_stale(tmp_path)
    assert target.exists()


def test_somebody_else_s_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(tmp_path, "dead", dead())
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert sweep_stale(tmp_path) == []


def test_names_of_processes_do_not_confuse(tmp_path: Path) -> None:
    """The second field of /proc/PID/stat is a name, which may have blanks and brackets."""
    assert (_start_time(os.getpid()) or "").isdigit()
    assert _start_time(2**22 + 1) is None
    assert Workspace(tmp_path).out == tmp_path / "out"


def test_the_workspace_of_another_container_is_left_alone(tmp_path: Path) -> None:
    theirs = left_behind(tmp_path, "theirs", {**dead(), "namespace": "pid:[1]"})
    with workspace(tmp_path) as work:
        ours = json.loads((work.path / "journal.json").read_text())
    assert theirs.is_dir()
    assert ours["namespace"] == os.readlink("/proc/self/ns/pid")


def test_a_workspace_that_never_got_a_journal_goes_when_it_is_old(tmp_path: Path) -> None:
    for name, age in (("young", 0), ("old", 3600), ("full", 3600)):
        path = tmp_path / f"diskimage-create-{name}"
        path.mkdir()
        if name == "full":
            (path / "mine").touch()
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    sweep_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["diskimage-create-full", "diskimage-create-young"]


def test_a_signal_during_the_clean_up_does_not_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = process.run

    def interrupted(*_: object, **__: object) -> None:
        monkeypatch.setattr(process, "run", run)
        raise Interrupted("SIGINT")

    with pytest.raises(Interrupted), workspace(tmp_path):
        monkeypatch.setattr(process, "run", interrupted)
    assert list(tmp_path.iterdir()) == []
