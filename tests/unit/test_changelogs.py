"""The CVE identifiers between two versions of a package, from the changelogs of images."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create import diff
from diskimage_create.diff import report
from diskimage_create.diff.changelogs import _after, with_cves
from diskimage_create.diff.model import Change, Difference, Kind, from_json
from diskimage_create.diff.packages import is_older
from diskimage_create.validate.root import ImageRoot

ENTRY = "openssl ({version}) stable; urgency=medium\n\n  * {text}\n\n -- A <a@b.c>  Tue, 29 Sep 2026 22:10:28 +0200\n\n"
CHANGELOG = "".join(
    ENTRY.format(version=version, text=text)
    for version, text in (
        ("3.0-3", "CVE-2026-10003, and CVE-2025-9999 (again)"),
        ("3.0-2", "cve-2026-2222 and CVE-2026-10003"),
        ("3.0-1", "CVE-2026-1111"),
        ("2.9-1", "CVE-2020-0001"),
    )
)
UPGRADE = Change("libssl3:amd64", Kind.UPGRADED, "3.0-1+b1", "3.0-3")


def image(tree: Path, version: str, changelog: str | None = CHANGELOG, name: str = "changelog.Debian.gz") -> ImageRoot:
    """An image with one package, which is built from another source."""
    (tree / "var/lib/dpkg").mkdir(parents=True)
    (tree / "var/lib/dpkg/status").write_text(
        f"Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl ({version})\n"
        f"Version: {version}+b1\n"
    )
    directory = tree / "usr/share/doc/libssl3"
    directory.mkdir(parents=True)
    if changelog is not None:
        (directory / name).write_bytes(
            gzip.compress(changelog.encode()) if name.endswith(".gz") else changelog.encode()
        )
    return ImageRoot(tree)


def cves(a: ImageRoot, b: ImageRoot, change: Change = UPGRADE) -> tuple[tuple[str, ...], list[str]]:
    (found,), notes = with_cves([change], a, b)
    return found.cves, notes


def test_an_upgrade_names_what_is_fixed(tmp_path: Path) -> None:
    found = cves(image(tmp_path / "a", "3.0-1"), image(tmp_path / "b", "3.0-3"))
    assert found == (("CVE-2025-9999", "CVE-2026-2222", "CVE-2026-10003"), [])


def test_a_downgrade_names_what_is_not_fixed_any_more(tmp_path: Path) -> None:
    change = Change("libssl3:amd64", Kind.DOWNGRADED, "3.0-2", "3.0-1")
    found = cves(image(tmp_path / "a", "3.0-2"), image(tmp_path / "b", "3.0-1"), change)
    assert found == (("CVE-2026-2222", "CVE-2026-10003"), [])


@pytest.mark.parametrize("name", ["changelog.gz", "changelog.Debian", "changelog"])
def test_other_names_of_a_changelog(tmp_path: Path, name: str) -> None:
    a, b = image(tmp_path / "a", "3.0-2"), image(tmp_path / "b", "3.0-3", name=name)
    assert cves(a, b)[0] == ("CVE-2025-9999", "CVE-2026-10003")


def test_an_older_branch_ends_at_the_first_version_that_is_older(tmp_path: Path) -> None:
    assert cves(image(tmp_path / "a", "2.9-1+deb13u9"), image(tmp_path / "b", "3.0-1"))[0] == ("CVE-2026-1111",)


@pytest.mark.parametrize("changelog", [None, "", "Changes of upstream's, which look otherwise: CVE-2026-1\n"])
def test_without_changelogs_it_is_said_once(tmp_path: Path, changelog: str | None) -> None:
    a, b = image(tmp_path / "a", "3.0-1"), image(tmp_path / "b", "3.0-3", changelog)
    found, notes = with_cves([UPGRADE] * 7, a, b)
    assert found == (UPGRADE,) * 7
    assert notes == [
        "CVE identifiers: the images hold no changelog of 7 of the packages that changed"
        " (libssl3, libssl3, libssl3, libssl3, libssl3, ...)"
    ]


def test_a_damaged_changelog_is_none(tmp_path: Path) -> None:
    a, b = image(tmp_path / "a", "3.0-1"), image(tmp_path / "b", "3.0-3")
    path = tmp_path / "b/usr/share/doc/libssl3/changelog.Debian.gz"
    path.write_bytes(path.read_bytes()[:12] + b"\xff" * 20)
    assert cves(a, b)[0] == ()


def test_what_was_added_or_removed_names_nothing(tmp_path: Path) -> None:
    a, b = image(tmp_path / "a", "3.0-1"), image(tmp_path / "b", "3.0-3")
    for change in (Change("x:all", Kind.ADDED, None, "1"), Change("x:all", Kind.REMOVED, "1", None)):
        assert with_cves([change], a, b) == ((change,), [])


VERSIONS = st.lists(st.integers(1, 30), unique=True, min_size=1).map(lambda found: sorted(found, reverse=True))


@given(versions=VERSIONS, old=st.integers(0, 31), new=st.integers(0, 31))
def test_exactly_the_entries_between_the_versions(versions: list[int], old: int, new: int) -> None:
    lines = [
        line
        for version in versions
        for line in ENTRY.format(version=version, text=f"<{version}>").encode().splitlines()
    ]
    named = [line.strip(b"* <>") for line in _after(lines, str(old), str(new)) if b"*" in line]
    assert named == [str(version).encode() for version in versions if old < version <= new]
    assert is_older("1", "2")


def test_they_are_shown(tmp_path: Path) -> None:
    many = tuple(f"CVE-2026-{number}" for number in range(1000, 1025))
    changes = (
        Change("a:all", Kind.UPGRADED, "1", "2", cves=many[:2]),
        Change("b:all", Kind.UPGRADED, "1", "2", cves=many),
    )
    difference = Difference("a", "b", {"packages": changes})
    text = report.as_text(difference)
    assert "  upgraded  a:all: 1 -> 2 (CVE-2026-1000, CVE-2026-1001)\n" in text
    assert "CVE-2026-1019 and 5 more)\n" in text
    assert from_json(json.loads(json.dumps(difference.as_json()))) == difference


def test_records_have_no_changelogs(tmp_path: Path) -> None:
    record = {"schema": 1, "resolved_elements": [], "artifacts": [], "inputs": {}, "environment": {}, "tools": {}}
    for version in "12":
        packages = [{"package": "a", "version": version, "architecture": "all"}]
        (tmp_path / version).write_text(json.dumps(record | {"packages": packages}))
    (note,) = diff.compare(tmp_path / "1", tmp_path / "2").notes
    assert "compare the images" in note
    assert diff.compare(tmp_path / "1", tmp_path / "1").notes == ()
