"""Two cold builds with the same SOURCE_DATE_EPOCH hold the same, whatever else was different about them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import trees
from building import REPRODUCIBLE, Built, leftovers, run_build


def differences(a: Path, b: Path) -> list[str]:
    """Whatever differs between two images, without any exception."""
    return trees.images(a, b)


@pytest.fixture(scope="module")
def again(builds: Path, trixie: Built) -> Path:
    """The image of ``trixie``, built at another time and in another place, with caches of its own, and traced."""
    directory, work = builds / "again", builds / "work"
    directory.mkdir()
    work.mkdir()
    different = ["--output", "another-name", "--work-dir", str(work), "--cache-dir", str(builds / "other-cache")]
    umask = os.umask(0o077)
    try:
        built = run_build(
            directory,
            *("-i", "debian", "-s", "3", "-t", "raw", "--no-tmpfs", "--trace", *different),
            env={**REPRODUCIBLE, "LANG": "de_DE.UTF-8", "TZ": "Pacific/Auckland"},
        )
    finally:
        os.umask(umask)
    assert built.returncode == 0, built.stderr[-4000:]
    assert leftovers() == set()
    return directory / "another-name.raw"


def test_nothing_differs(trixie: Built, again: Path) -> None:
    mirrored = json.loads(Path(f"{again}.json").read_text())["packages"]
    if mirrored != trixie.record("raw")["packages"]:
        pytest.skip("the mirror got new packages between the two builds")
    assert differences(trixie.path("raw"), again) == []


def test_a_difference_would_be_seen(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for tree in (one, other):
        (tree / "directory").mkdir(parents=True)
        for name in ("same", "content", "mode", "owner", "xattr", "linked", "type"):
            (tree / name).write_text("text")
        (tree / "link").symlink_to("same")
    assert trees.trees(one, other) == []
    os.utime(other / "same", (0, 0))
    assert trees.trees(one, other) == []
    (other / "content").write_text("Text")
    (other / "mode").chmod(0o600)
    os.chown(other / "owner", 1, 1)
    os.setxattr(other / "xattr", "user.x", b"y")
    (other / "linked").unlink()
    (other / "linked").hardlink_to(other / "content")
    (other / "type").unlink()
    (other / "type").mkdir()
    (other / "link").unlink()
    (other / "link").symlink_to("mode")
    (other / "more").touch()
    (one / "directory").chmod(0o700)
    found = {line.partition(":")[0] for line in trees.trees(one, other)}
    names = ("content", "mode", "owner", "xattr", "linked", "type", "link", "more", "directory")
    assert found == {f"/{name}" for name in names}
