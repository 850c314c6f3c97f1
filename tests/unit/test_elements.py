"""Closures and digests of elements, and the elements that come with this project."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from functools import cache
from pathlib import Path

import pytest
import yaml
from diskimage_builder import element_dependencies
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import plan

from diskimage_create import elements
from diskimage_create.errors import InputError

SEARCH_PATH = [elements.OURS, elements.builtin()]
OS_NAMES = ["ubuntu", "ubuntu-minimal", "debian", "fedora", "centos", "rocky", "rhel"]


@cache
def available() -> dict[str, elements.Element]:
    return elements.find_all(SEARCH_PATH)


@cache
def dib_elements() -> dict[str, element_dependencies.Element]:
    found: dict[str, element_dependencies.Element] = element_dependencies._find_all_elements(
        ":".join(map(str, SEARCH_PATH))
    )
    return found


def ours(wanted: list[str]) -> set[tuple[str, str]] | None:
    try:
        return {(element.name, str(element.path)) for element in elements.closure(wanted, available())}
    except InputError:
        return None


def theirs(wanted: list[str]) -> set[tuple[str, str]] | None:
    try:
        expanded = element_dependencies._expand_element_dependencies(wanted, dib_elements())
    except (
        element_dependencies.MissingElementException,
        element_dependencies.AlreadyProvidedException,
        element_dependencies.MissingOSException,
    ):
        return None
    return {(element.name, element.path) for element in expanded}


names = st.sampled_from(sorted(available()))
real = st.lists(names, unique=True, max_size=12)
good = st.tuples(st.sampled_from(["debian-minimal", "ubuntu-minimal", "fedora", "rocky-container", "rhel"]), real).map(
    lambda pair: list(dict.fromkeys([pair[0], "block-device-mbr", *pair[1]]))
)


@given(wanted=real | good | st.lists(names | st.just("no-such"), unique=True, max_size=6))
@settings(max_examples=400)
def test_the_closure_is_that_of_diskimage_builder(wanted: list[str]) -> None:
    """The same elements from the same places, and refused when it refuses."""
    assert ours(wanted) == theirs(wanted)


@pytest.mark.parametrize("os", OS_NAMES)
def test_the_closure_of_an_amphora_is_that_of_diskimage_builder(os: str) -> None:
    said = {"os": os, "no_sshd": True, "cpu_pinning": True, "root_password": "x"}
    made = plan(said, {"DIB_LOCAL_IMAGE": "/x"})
    wanted = [*made.elements, *elements.implied(made.elements, "amd64")]
    found = element_dependencies.get_elements(wanted, paths=made.environment["ELEMENTS_PATH"].value)
    assert {(element.name, str(element.path)) for element in made.resolved} == set(found)


def test_a_link_to_an_element_has_the_name_of_its_directory(tmp_path: Path) -> None:
    (tmp_path / "elsewhere/real").mkdir(parents=True)
    (tmp_path / "path").mkdir()
    (tmp_path / "path/alias").symlink_to(tmp_path / "elsewhere/real")
    assert list(elements.find_all([tmp_path / "path"])) == list(
        element_dependencies._find_all_elements(str(tmp_path / "path"))
    )


def test_every_missing_element_is_reported_with_a_guess() -> None:
    with pytest.raises(InputError) as caught:
        elements.closure(["debian-minimal", "haproxy-octavi", "zzz"], available())
    first, second = caught.value.problems
    assert (first.message, first.hint) == ("there is no element haproxy-octavi", "did you mean haproxy-octavia?")
    assert "ELEMENTS_PATH" in (second.hint or "")


def test_a_missing_dependency_names_who_asked(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/element-deps").write_text("  \nghost \n")
    with pytest.raises(InputError, match=r"no element ghost \(element mine\)"):
        elements.closure(["mine"], elements.find_all([tmp_path]))


@pytest.mark.parametrize(
    ("wanted", "arch", "expected"),
    [
        (["base", "vm"], "amd64", ["block-device-mbr"]),
        (["vm"], "arm64", ["base", "block-device-efi"]),
        (["base", "vm", "block-device-gpt"], "amd64", []),
        (["base"], "aarch64", []),
    ],
)
def test_what_disk_image_create_adds_by_itself(wanted: list[str], arch: str, expected: list[str]) -> None:
    assert elements.implied(wanted, arch) == expected


@pytest.fixture
def element(tmp_path: Path) -> Path:
    directory = tmp_path / "an-element"
    (directory / "install.d").mkdir(parents=True)
    (directory / "install.d/10-a").write_text("#!/bin/bash\n")
    (directory / "README.rst").write_text("text")
    (directory / "link").symlink_to("README.rst")
    (directory / os.fsdecode(b"\xff")).write_text("a name that is no UTF-8")
    return directory


CHANGES = {
    "content": lambda d: (d / "README.rst").write_text("Text"),
    "executable": lambda d: (d / "install.d/10-a").chmod(0o755),
    "mode": lambda d: (d / "README.rst").chmod(0o600),
    "mode of a directory": lambda d: (d / "install.d").chmod(0o700),
    "an empty directory": lambda d: (d / "empty").mkdir(),
    "name": lambda d: (d / "install.d/10-a").rename(d / "install.d/11-a"),
    "directory": lambda d: (d / "install.d").rename(d / "post-install.d"),
    "link target": lambda d: ((d / "link").unlink(), (d / "link").symlink_to("install.d/10-a")),
    "link to a copy": lambda d: ((d / "link").unlink(), shutil.copy(d / "README.rst", d / "link")),
    "another file": lambda d: (d / "element-deps").touch(),
    "one file less": lambda d: (d / "README.rst").unlink(),
}
NO_CHANGES = {
    "time": lambda d: os.utime(d / "README.rst", (1, 1)),
    "byte code": lambda d: ((d / "__pycache__").mkdir(), (d / "__pycache__/x.pyc").write_text("x")),
}


@pytest.mark.parametrize("change", [*CHANGES, *NO_CHANGES])
def test_the_digest_changes_with_what_is_built_and_with_nothing_else(element: Path, change: str) -> None:
    before = elements.digest(elements.files(element))
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", before)
    {**CHANGES, **NO_CHANGES}[change](element)
    assert (elements.digest(elements.files(element)) != before) == (change in CHANGES)


def test_the_digest_is_the_same_wherever_the_element_lies(element: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(element, tmp_path / "elsewhere", symlinks=True)
    assert elements.digest(elements.files(copy)) == elements.digest(elements.files(element))


# Our own elements

OURS = sorted(path for path in elements.OURS.iterdir() if path.is_dir())
FILES = sorted(path for path in elements.OURS.rglob("*") if path.is_file())
HOOKS = [path for path in FILES if re.fullmatch(r"[a-z-]+\.d", path.parent.name) and path.parent.parent in OURS]


def test_there_is_something_to_look_at() -> None:
    assert len(OURS) >= 20
    assert len(HOOKS) >= 30


@pytest.mark.parametrize("directory", OURS, ids=lambda path: path.name)
def test_every_element_says_what_it_is(directory: Path) -> None:
    text = (directory / "README.rst").read_text()
    heading, *rest = (line for line in text.splitlines() if line.strip("="))
    assert heading == directory.name
    assert " ".join(rest).strip()
    for name in ("element-deps", "element-provides"):
        for dependency in elements._names_in(directory / name):
            assert re.fullmatch(r"[a-z0-9-]+", dependency), name


@pytest.mark.parametrize("path", HOOKS, ids=lambda path: str(path.relative_to(elements.OURS)))
def test_hooks_are_what_dib_run_parts_runs(path: Path) -> None:
    """``lib/dib-run-parts``: executable, with a name of letters, digits, - and _; sourced files may have dots."""
    phases = {"root", "extra-data", "pre-install", "install", "post-install", "post-root", "block-device"}
    phase = path.parent.name.removesuffix(".d")
    assert re.match(r"([0-9]{2}|9999)-", path.name)
    if phase == "environment":
        assert re.fullmatch(r"[0-9A-Za-z_.-]+", path.name)
        assert not path.read_text().startswith("#!")
    else:
        assert phase in phases | {"pre-finalise", "finalise", "cleanup"}
        assert re.fullmatch(r"[0-9A-Za-z_-]+", path.name)
        assert path.stat().st_mode & 0o111
        assert re.match(r"#!/(usr/)?bin/(env )?(ba|da)?sh\n|#!/.*python3?\n", path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(elements.OURS)))
def test_scripts_are_executable_and_data_is_not(path: Path) -> None:
    has_shebang = path.read_bytes()[:2] == b"#!"
    assert bool(path.stat().st_mode & stat.S_IXUSR) == has_shebang
    if path.suffix in (".yaml", ".json") or path.name in ("pkg-map", "svc-map"):
        # pkg-map is JSON, svc-map YAML: see diskimage-builder's elements of these names
        data = json.loads(path.read_text()) if path.name == "pkg-map" else yaml.safe_load(path.read_text())
        assert isinstance(data, dict)
    if path.name == "pkg-map":
        assert set(data) <= {"distro", "release", "family", "default"}


@pytest.mark.parametrize("os", OS_NAMES)
def test_no_hook_of_an_amphora_has_the_name_of_another(os: str) -> None:
    """diskimage-builder copies all hooks into one directory, and refuses two of one name (generate_hooks)."""
    said = {"os": os, "no_sshd": True, "cpu_pinning": True, "root_password": "x", "fips": os in ("fedora", "rocky")}
    seen: dict[str, str] = {}
    for made in (plan(said, {"DIB_LOCAL_IMAGE": "/x"}), plan({**said, "enforce_mac": True}, {"DIB_LOCAL_IMAGE": "/x"})):
        seen.clear()
        for found in made.resolved:
            for directory in (p for p in found.path.iterdir() if p.is_dir() and p.name not in ("tests", "__pycache__")):
                for hook in (p for p in directory.iterdir() if p.is_file() or p.is_symlink()):
                    key = f"{directory.name}/{hook.name}"
                    assert key not in seen, f"{key} is in {seen[key]} and {found.name}"
                    seen[key] = found.name
