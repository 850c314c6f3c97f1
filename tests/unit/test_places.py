"""Where elements are found, and that what is installed besides changes no image."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_elements import HOOK, write
from samples import plan

from diskimage_create import elements, places
from diskimage_create.errors import InputError
from diskimage_create.places import Place

SAHARA = "share/sahara-elements/elements"
TRIPLEO = "share/tripleo-image-elements"
AMPHORA = {"os": "debian", "no_sshd": True, "cpu_pinning": True, "root_password": "x"}


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python into which nothing is installed but what a test puts there."""
    made = tmp_path / "prefix"
    made.mkdir()
    monkeypatch.setattr(places, "shares", lambda: [made])
    return made


def test_packages_are_found_where_pip_and_distributions_put_them(tmp_path: Path) -> None:
    venv, system = tmp_path / "venv", tmp_path / "usr"
    for path in (venv / TRIPLEO, system / TRIPLEO, system / SAHARA):
        path.mkdir(parents=True)
    found = places.installed({}, [venv, system])
    assert found == [
        Place(venv / TRIPLEO, package="tripleo-image-elements"),
        Place(system / SAHARA, package="sahara-image-elements"),
    ]
    assert places.installed({"ELEMENTS_PATH": "/x"}, [venv, system]) == []


def test_the_packages_that_the_tests_need_are_where_the_table_says() -> None:
    """The extra ``elements`` installs them all."""
    found = {place.package: elements.find_all([place.path]) for place in places.installed({})}
    assert list(found) == list(places.PACKAGES)
    assert {"hadoop", "os-collect-config", "overcloud-base", "ironic-python-agent-ramdisk"} < {
        name for each in found.values() for name in each
    }


@pytest.mark.parametrize("operating_system", ["debian", "ubuntu", "rocky"])
def test_what_somebody_installs_besides_changes_no_amphora(prefix: Path, operating_system: str) -> None:
    """Not even an element of the same name, whose list of packages diskimage-builder would merge into the image's."""
    wanted = {**AMPHORA, "os": operating_system}
    before = plan(wanted)
    names = [element.name for element in before.resolved]
    assert len(names) > 25
    for package in (SAHARA, TRIPLEO):
        write(prefix / package, {f"{name}/package-installs.yaml": "unwanted:\n" for name in names})
        write(prefix / package, {f"{name}/install.d/01-unwanted": HOOK for name in names})
    after = plan(wanted)
    assert (after.environment, after.resolved) == (before.environment, before.resolved)
    assert (after.fingerprint, after.command) == (before.fingerprint, before.command)


def test_a_package_is_looked_at_for_what_only_it_has(prefix: Path) -> None:
    write(prefix / SAHARA, {"spark/element-deps": "scala\n", "vm/README.rst": "another vm"})
    write(prefix / TRIPLEO, {"scala/README.rst": "what spark needs", "other/README.rst": ""})
    made = plan({**AMPHORA, "element": ("spark",)})
    path = [Path(part) for part in made.environment["ELEMENTS_PATH"].value.split(":")]
    # In the packages' order, right before diskimage-builder's: written to go over its elements, so they do.
    assert path == [elements.OURS.resolve(), prefix / TRIPLEO, prefix / SAHARA, elements.builtin()]
    found = {element.name: element.path for element in made.resolved}
    assert found["spark"] == prefix / SAHARA / "spark"
    assert found["vm"] == prefix / SAHARA / "vm"
    assert "other" not in found
    without = plan({**AMPHORA, "element": ("sysprep",)})
    assert str(prefix) not in without.environment["ELEMENTS_PATH"].value


def test_who_says_where_elements_are_gets_no_others(prefix: Path, tmp_path: Path) -> None:
    write(prefix / SAHARA, {"spark/README.rst": ""})
    mine = write(tmp_path / "mine", {"own/README.rst": ""})
    with pytest.raises(InputError, match="there is no element spark"):
        plan({**AMPHORA, "element": ("spark",)}, {"ELEMENTS_PATH": str(mine)})
    made = plan({**AMPHORA, "element": ("spark",)}, {"DIB_LOCAL_ELEMENTS_PATH": str(mine)})
    assert "spark" in {element.name for element in made.resolved}


def test_what_is_nowhere_is_reported_as_before(prefix: Path) -> None:
    write(prefix / SAHARA, {"spark/element-deps": "gone\n"})
    with pytest.raises(InputError) as caught:
        plan({**AMPHORA, "element": ("spark", "sparc")})
    assert [str(problem) for problem in caught.value.problems] == [
        "there is no element sparc (the element list)",
        "there is no element gone (element spark)",
    ]
