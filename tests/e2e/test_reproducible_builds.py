"""Two cold builds with the same SOURCE_DATE_EPOCH hold the same, whatever else was different about them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from building import REPRODUCIBLE, Built, leftovers, run_build

from diskimage_create import diff
from diskimage_create.diff.report import as_text


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
    difference = diff.compare(trixie.path("raw"), again, ignore=False)
    assert difference.empty, as_text(difference)
    assert difference.notes == ()
