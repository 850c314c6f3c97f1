"""Packages that builds share, each with a directory of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diskimage_create.packagecache import VARIABLE, own_archives

pytestmark = pytest.mark.subprocess("cp links packages, which may be root's")


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_what_a_build_downloads_is_there_for_the_next_one(tmp_path: Path) -> None:
    shared = tmp_path / "apt/debian"
    with own_archives(tmp_path, "debian") as variables:
        own = Path(variables[VARIABLE])
        assert own.parent == shared.parent
        (own / "a_1_all.deb").write_text("a")
        (own / "lock").touch()
        (own / "partial").mkdir()
    assert names(shared) == {"a_1_all.deb"}
    assert not own.exists()
    with own_archives(tmp_path, "debian") as variables:
        assert (Path(variables[VARIABLE]) / "a_1_all.deb").samefile(shared / "a_1_all.deb")


def test_two_builds_at_once(tmp_path: Path) -> None:
    with own_archives(tmp_path, "debian") as one, own_archives(tmp_path, "debian") as other:
        for directory in (one[VARIABLE], other[VARIABLE]):
            Path(directory, "a_1_all.deb").write_text("a")
    assert names(tmp_path / "apt/debian") == {"a_1_all.deb"}
    assert names(tmp_path / "apt") == {"debian"}


def test_what_a_failed_build_has_downloaded_stays(tmp_path: Path) -> None:
    def fail() -> None:
        with own_archives(tmp_path, "debian") as variables:
            Path(variables[VARIABLE], "a_1_all.deb").write_text("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(tmp_path / "apt/debian") == {"a_1_all.deb"}


def test_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    old = tmp_path / "apt/.build-old"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    young = tmp_path / "apt/.build-young"
    young.mkdir()
    with own_archives(tmp_path, "debian") as variables:
        os.utime(variables[VARIABLE], (0, 0))
        with own_archives(tmp_path, "debian"):
            assert Path(variables[VARIABLE]).exists()
        assert not old.exists()
        assert young.exists()
