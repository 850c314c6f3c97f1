"""Two images at once that begin alike: what they share is made by one of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from building import Built, leftovers, run_build

from contract import schema_errors
from diskimage_create.digests import sha256

#: The smallest image that goes through all phases; packages of the release alone are asked for once
SMALL = {"DIB_ELEMENTS": "vm debian-minimal"}
NAMES = ("small-2", "small-3")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Images that differ in their size, from an empty store."""
    directory = tmp_path_factory.mktemp("many") / "images"
    directory.mkdir()
    options = ("-i", "debian", "-d", "bookworm", "-o", "small", "--matrix", "size=2,3", "--jobs", "2")
    return run_build(directory, *options, env=SMALL)


def test_both_are_there(built: Built) -> None:
    assert built.returncode == 0, built.stderr[-4000:]
    assert sorted(built.stdout.splitlines()) == [f"{built.directory}/{name}.qcow2" for name in NAMES]
    assert "2 of 2 images" in built.stderr
    for name in NAMES:
        record = json.loads((built.directory / f"{name}.qcow2.json").read_text())
        assert schema_errors(record, "record") == []
        assert record["validation"]["ok"]
        assert record["artifacts"][0]["sha256"].endswith(sha256(built.directory / f"{name}.qcow2"))
    assert leftovers() == set()


def test_what_they_share_is_made_once(built: Built) -> None:
    assert re.search(r"small-\d: another build makes the stage after root\.d: waiting for it", built.stderr)
    logs = [(built.directory / f"{name}.log").read_text() for name in NAMES]
    bootstrapped = [log for log in logs if "dib-run-parts Running" in log and "08-debootstrap" in log]
    assert len(bootstrapped) == 1
    records = [json.loads((built.directory / f"{name}.qcow2.json").read_text()) for name in NAMES]
    assert sorted(record["resumed_from"] or "" for record in records) == ["", "install"]


def test_packages_are_kept_for_the_next_build(built: Built) -> None:
    packages = Path(built.directory.parent, "cache/apt/debian")
    assert len(list(packages.glob("*.deb"))) > 20
    assert [path.name for path in packages.parent.iterdir()] == ["debian"]
