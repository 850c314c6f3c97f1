"""Elements that cannot work everywhere: refused when the plan is made."""

from __future__ import annotations

import pytest
from samples import plan

from diskimage_create import profiles, unsupported
from diskimage_create.elements import OURS, builtin
from diskimage_create.errors import InputError

# Python of each release: heat-cfntools' boto needs 3.11 or older.
PYTHON = {
    ("debian", "bullseye"): (3, 9),
    ("debian", "bookworm"): (3, 11),
    ("debian", "trixie"): (3, 13),
    ("debian", "sid"): (3, 13),
    ("ubuntu", "focal"): (3, 8),
    ("ubuntu", "jammy"): (3, 10),
    ("ubuntu", "noble"): (3, 12),
    ("rocky", "9"): (3, 9),
    ("rocky", "10"): (3, 12),
    ("centos", "9-stream"): (3, 9),
    ("centos", "10-stream"): (3, 12),
    ("fedora", "37"): (3, 11),
}


@pytest.mark.parametrize(("os_name", "release"), [key for key in PYTHON if key[0] != "fedora"])
def test_heats_tools_are_refused_where_python_is_too_new(os_name: str, release: str) -> None:
    said = {"os": os_name, "release": release, "element": ("heat-cfntools",), "size": "5"}
    if PYTHON[os_name, release] < (3, 12):
        assert "heat-cfntools" in plan(said).elements
        return
    with pytest.raises(InputError) as refused:
        plan(said)
    (problem,) = refused.value.problems
    assert problem.where == "element heat-cfntools"
    assert f"{os_name} {release}" in problem.message
    assert "boto" in problem.message
    assert "bookworm" in (problem.hint or "")


def test_an_image_without_the_element_is_not_refused() -> None:
    assert "heat-cfntools" not in {element.name for element in plan({"os": "debian", "release": "trixie"}).resolved}


def test_facts_are_whole() -> None:
    assert unsupported.facts()
    for entry in unsupported.facts():
        assert entry.keys() <= {"element", "when", "works_on", "why", "hint"}
        assert entry["why"].strip()
        assert entry["hint"].strip()
        for condition in entry["works_on"]:
            assert profiles.matches(condition, {}) is False, "a condition that always holds"


@pytest.mark.parametrize("entry", unsupported.facts(), ids=lambda entry: entry["element"])
def test_facts_are_about_elements_that_there_are(entry: dict[str, object]) -> None:
    name = str(entry["element"])
    theirs = ("os-collect-config", "os-apply-config", "os-refresh-config")  # tripleo-image-elements
    assert name in theirs or any((place / name).is_dir() for place in (OURS, builtin()))
