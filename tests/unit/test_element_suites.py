"""Which checks of elements are run, and that no image's content depends on them."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import plan

from diskimage_create.errors import InputError
from diskimage_create.model import Suite
from diskimage_create.validate import suites

TEST = "def test_a():\n    pass\n"


def brings(place: Path, name: str, files: dict[str, str]) -> Path:
    """An element with checks; returns its directory."""
    for file, text in files.items():
        path = place / name / "checks" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place / name


def test_elements_that_bring_tests(tmp_path: Path) -> None:
    one = brings(tmp_path, "one", {"test_one.py": TEST})
    below = brings(tmp_path, "below", {"more/test_more.py": TEST})
    none = brings(tmp_path, "none", {"helper.py": TEST})
    found = suites.of_elements([("one", one), ("below", below), ("none", none), ("gone", tmp_path / "gone")])
    assert found == (Suite("one", one / "checks", element=True), Suite("below", below / "checks", element=True))
    assert [suite.owner for suite in suites.applicable(found, ["one", "none", "vm"])] == ["one"]


def test_directories_of_the_user_are_always_run_once(tmp_path: Path) -> None:
    one = brings(tmp_path, "one", {"test_one.py": TEST})
    mine = suites.of_directories([one / "checks", one / "../one/checks"], "--checks")
    assert mine == (Suite("one", one / "checks", element=False),)
    both = [*mine, *suites.of_elements([("one", one)])]
    assert [suite.owner for suite in suites.applicable(both, ["one"])] == ["one"]
    assert suites.applicable(both, []) == mine


def test_all_that_is_wrong_with_directories_is_told(tmp_path: Path) -> None:
    one, two = (brings(tmp_path / place, "one", {"test_one.py": TEST}) for place in ("a", "b"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/here").symlink_to(".")
    brings(tmp_path, "large", {f"{number}.py": "" for number in range(suites.MOST_FILES)} | {"test_large.py": TEST})
    with pytest.raises(InputError) as caught:
        suites.of_directories([one, tmp_path / "none", tmp_path / "empty", two, tmp_path / "large"], "--checks")
    assert [problem.message.replace(str(tmp_path), "") for problem in caught.value.problems] == [
        "/none is no directory", "/empty has no tests", "/b/one and /a/one have one name",
        "/large has more than 1000 files",
    ]  # fmt: skip


def test_the_digest_is_that_of_names_and_contents(tmp_path: Path) -> None:
    one = brings(tmp_path, "one", {"test_one.py": TEST, "conftest.py": ""})
    two = brings(tmp_path, "two", {"test_two.py": TEST})
    found = suites.of_elements([("one", one), ("two", two)])
    digest = suites.digest(found)
    assert suites.digest(()) is None
    assert suites.digest(reversed(found)) == digest
    (one / "checks/__pycache__").mkdir()
    (one / "checks/__pycache__/x.pyc").write_text("x")
    (one / "README.rst").write_text("x")
    assert suites.digest(found) == digest
    (one / "checks/conftest.py").write_text("x = 1")
    changed = suites.digest(found)
    (one / "checks/conftest.py").rename(one / "checks/helper.py")
    assert len({digest, changed, suites.digest(found), suites.digest(found[:1])}) == 4


def test_no_identity_depends_on_checks(tmp_path: Path) -> None:
    mine = brings(tmp_path / "place", "mine", {"test_mine.py": TEST})
    hooks = mine / "install.d"
    hooks.mkdir()
    (hooks / "50-mine").write_text("#!/bin/sh\n")
    # Only directly in the element: below a hook's directory it is data.
    (hooks / "checks").mkdir()

    def planned() -> tuple[str, list[str]]:
        made = plan({"os": "debian", "element": ("mine",)}, {"ELEMENTS_PATH": str(tmp_path / "place")})
        return made.fingerprint, [element.digest for element in made.resolved]

    before = planned()
    (mine / "checks/test_mine.py").write_text("DIB_IMAGE_SIZE")
    (mine / "checks/test_more.py").write_text(TEST)
    assert planned() == before
    (hooks / "checks/data").write_text("x")
    assert planned()[0] != before[0]


def test_the_elements_of_ours_that_bring_checks_bring_files_of_different_names() -> None:
    resolved = plan({"os": "debian"}).resolved
    found = suites.of_elements((element.name, element.path) for element in resolved)
    names = [path.name for suite in found for path in suite.path.iterdir() if path.is_file()]
    assert {suite.owner for suite in found} == {"amphora-agent", "certs-ramfs", "haproxy-octavia"}
    assert len(names) == len(set(names))


def test_a_directory_of_everything_is_refused(tmp_path: Path) -> None:
    """All of it would be copied: somebody named a directory too high."""
    (tmp_path / "test_a.py").touch()
    for number in range(1000):
        (tmp_path / str(number)).touch()
    with pytest.raises(InputError, match="more than 1000 files"):
        suites.of_directories([tmp_path], "--checks")
    (tmp_path / "0").unlink()
    assert suites.of_directories([tmp_path], "--checks")
