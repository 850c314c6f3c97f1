"""What the catalogue knows of elements: which are used, what they are, their hooks, variables and packages."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_elements import HOOK, read, write

from diskimage_create import catalogue, elements, places
from diskimage_create.catalogue import facts, packages
from diskimage_create.errors import InputError
from diskimage_create.places import Place


def everything() -> catalogue.Catalogue:
    return catalogue.read(catalogue.where({}))


def test_the_first_element_of_a_name_is_used_and_the_others_are_shadowed(tmp_path: Path) -> None:
    first = write(tmp_path / "first", {"same/README.rst": "", "one/README.rst": ""})
    second = write(tmp_path / "second", {"same/README.rst": "", "two/README.rst": ""})
    third = write(tmp_path / "third", {"same/README.rst": ""})
    found = read(first, second, third)
    assert [(entry.name, entry.path.parent) for entry in found.entries] == [
        ("one", first), ("same", first), ("same", second), ("same", third), ("two", second)
    ]  # fmt: skip
    assert {name: entry.path for name, entry in found.used.items()} == {
        "one": first / "one", "same": first / "same", "two": second / "two"
    }  # fmt: skip
    used, *hidden = (entry for entry in found.entries if entry.name == "same")
    assert [entry.shadowed_by for entry in hidden] == [used.path, used.path]
    assert found.shadows(used) == hidden
    assert found.shadows(hidden[0]) == []


def test_everything_that_is_installed_is_in_it() -> None:
    """Ours, diskimage-builder's, and those of all packages of the extra ``elements``."""
    found = everything()
    origins = {entry.place.package for entry in found.entries}
    assert origins == {places.OURS, places.DIB, *places.PACKAGES}
    assert len(found.used) >= 200
    assert found.used["base"].place.package == places.OURS
    assert [entry.place.package for entry in found.shadows(found.used["base"])] == [places.DIB]
    assert all(entry.path.is_dir() for entry in found.entries)


def test_origins_name_the_package_with_its_version_or_the_directory(tmp_path: Path) -> None:
    found = everything()
    assert found.used["vm"].origin == f"diskimage-builder {catalogue.package_version('diskimage-builder')}"
    (mine,) = read(write(tmp_path, {"mine/README.rst": ""})).entries
    assert mine.origin == str(tmp_path)
    unknown = catalogue.Entry(mine.element, Place(tmp_path, package="no-such-package"))
    assert unknown.origin == "no-such-package"
    assert (mine.own, found.used["base"].own, found.used["vm"].own) == (True, True, False)


def test_dependents_are_those_of_what_it_provides_too(tmp_path: Path) -> None:
    files = {
        "os/element-provides": "operating-system\n",
        "a/element-deps": "os\n",
        "b/element-deps": "operating-system\n",
        "c/element-deps": "a\n",
    }
    found = read(write(tmp_path, files))
    assert found.dependents("os") == ["a", "b"]
    assert found.providers("operating-system") == ["os"]
    assert found.dependents("c") == []


def test_an_unknown_name_gets_the_nearest_one_or_its_providers(tmp_path: Path) -> None:
    found = read(write(tmp_path, {"haproxy/element-provides": "balancer\n"}))
    with pytest.raises(InputError) as caught:
        found.get(["hapoxy", "balancer", "zzz"])
    hints = [problem.hint for problem in caught.value.problems]
    assert hints == [
        "did you mean haproxy?", "it is provided by haproxy", "'diskimage-create elements list' shows all"
    ]  # fmt: skip


def test_a_directory_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"/nowhere does not exist \(--path\)"):
        catalogue.where({}, ["/nowhere"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("====\nname\n====\n\nWhat it is. And more.\n", "What it is"),
        ("name\n----\nDirectly below, on\ntwo lines.\n\nMore.\n", "Directly below, on two lines"),
        ("# name\n\nMarkdown, e.g. this one (IE: that). More\n", "Markdown, e.g. this one (IE: that)"),
        ("##name\nNo blank line\n", "No blank line"),
        (".. note::\n\n   A note.\n\nThe ``text``\n", "The text"),
        ("The `tool <https://x.example>`_ and \\*\n", "The tool and *"),
        ("* a list\n", "a list"),
        ("name\n====\n", "name"),
        ("just-a-name\n", "just-a-name"),
        ("Version 3.11 of x\n", "Version 3.11 of x"),
        ("", ""),
    ],
)
def test_the_first_sentence_of_the_readme_says_what_it_is(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "README.md").write_text(text)
    assert facts.description(tmp_path) == expected


def test_no_readme_says_nothing(tmp_path: Path) -> None:
    assert facts.description(tmp_path) == ""


def test_nearly_all_elements_say_what_they_are() -> None:
    """The two that do not have a README with nothing but their name."""
    silent = [entry.name for entry in everything().entries if facts.description(entry.path) in ("", entry.name)]
    assert len(silent) <= 3


def test_hooks_are_in_the_order_in_which_they_run(tmp_path: Path) -> None:
    files = {
        "e/post-install.d/10-x": HOOK,
        "e/install.d/9-b": HOOK,
        "e/install.d/10-a": HOOK,
        "e/install.d/20-data!": HOOK,
        "e/install.d/20-name.sh": HOOK,
        "e/install.d/e-source-install/05-s": HOOK,
        "e/install.d/lib/06-t": HOOK,
        "e/root.d/50-r": HOOK,
        "e/environment.d/10-e.bash": "export X=1\n",
        "e/unknown.d/10-u": HOOK,
    }
    found = facts.hooks(write(tmp_path, files) / "e")
    assert [(hook.path, hook.installtype) for hook in found] == [
        ("environment.d/10-e.bash", None),
        ("root.d/50-r", None),
        ("install.d/e-source-install/05-s", "source"),
        ("install.d/9-b", None),
        ("install.d/10-a", None),
        ("post-install.d/10-x", None),
    ]


def test_the_checks_that_an_element_brings(tmp_path: Path) -> None:
    checks = tmp_path / "checks"
    checks.mkdir()
    text = 'def test_a(host):\n    """It is.\n\n    More."""\n\ndef helper():\n    """DIB_X"""\n\nclass TestB:\n'
    (checks / "test_x.py").write_text(text + "    def test_c(self):\n        pass\n")
    (checks / "test_broken.py").write_text("def test_d(:\n")
    (checks / "conftest.py").write_text("def test_e():\n    pass\n")
    assert facts.tests(tmp_path) == [
        facts.Test("test_a", "checks/test_x.py", "It is."),
        facts.Test("test_c", "checks/test_x.py", ""),
    ]
    assert facts.variables(tmp_path) == []
    assert facts.tests(tmp_path / "nowhere") == []


def test_variables_have_a_default_where_a_script_gives_them_one(tmp_path: Path) -> None:
    files = {
        "e/README.rst": "DIB_ONE, DIB_TWO_, DIB_DEBUG_TRACE, MY_PLACE, NOT_READ\n",
        "e/environment.d/10-e": "export DIB_ONE=${DIB_ONE:-one}\nexport DIB_TWO=${DIB_TWO:-$DIB_ONE}\n",
        "e/install.d/10-a": 'echo ${DIB_ONE:-}${DIB_THREE:-"a b"}${DIB_FOUR:-x}${DIB_FOUR:-y}$MY_PLACE$OTHER_X\n',
    }
    found = {each.name: each for each in facts.variables(write(tmp_path, files) / "e")}
    assert {name: each.default for name, each in found.items()} == {
        "DIB_FOUR": None, "DIB_ONE": "one", "DIB_THREE": "a b", "DIB_TWO": None, "MY_PLACE": None
    }  # fmt: skip
    assert found["DIB_ONE"].files == ("README.rst", "environment.d/10-e", "install.d/10-a")


# Packages


def test_packages_of_all_kinds_of_lists(tmp_path: Path) -> None:
    files = {
        "e/package-installs.yaml": "b:\n"
        "a:\n  - phase: pre-install.d\n    arch: amd64\n"
        "  - uninstall: true\n    when:\n      - X = 1\n      - Y != 2\n"
        "c:\n  build-only: true\n  installtype: source\n",
        "e/package-installs.json": '{"d": {"not-arch": "i386"}}',
        "e/install.d/package-installs-e": "# comment\nold\n\n",
        "e/install.d/e-package-install/package-installs-e": "oldest\n",
        "e/post-install.d/package-uninstalls-e": "gone\n",
    }
    found = packages.packages(write(tmp_path, files) / "e")
    assert [(each.phase, each.name, each.action, each.conditions) for each in found] == [
        ("install", "a", "uninstall", ("when X = 1 and Y != 2",)),
        ("install", "b", "install", ()),
        ("install", "c", "build-only", ("install type source",)),
        ("install", "d", "install", ("not-arch i386",)),
        ("install", "old", "install", ()),
        ("install", "oldest", "install", ()),
        ("post-install", "gone", "uninstall", ()),
        ("pre-install", "a", "install", ("arch amd64",)),
    ]


@pytest.mark.parametrize("text", ["[1, 2]", "{", "", "a: [}"])
def test_lists_that_cannot_be_read_are_left_to_lint(tmp_path: Path, text: str) -> None:
    (tmp_path / "package-installs.yaml").write_text(text)
    (tmp_path / "pkg-map").write_text(text)
    assert packages.packages(tmp_path, "debian") == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [("debian-minimal", "debian"), ("rocky-container", "rocky"), ("ubuntu", "ubuntu"), ("opensuse", "opensuse")],
)
def test_an_element_of_an_operating_system_tells_the_distribution(given: str, expected: str) -> None:
    assert packages.distribution(given) == expected


_TOOL = elements.builtin() / "pkg-map/bin/pkg-map"


def theirs(data: Mapping[str, Any], distro: str, release: str, names: list[str]) -> list[str]:
    """What diskimage-builder's own pkg-map prints; its loader leaves no byte code in diskimage-builder."""
    spec = spec_from_loader("pkg_map", SourceFileLoader("pkg_map", str(_TOOL)))
    assert spec is not None
    assert spec.loader is not None
    tool = module_from_spec(spec)
    exec(compile(_TOOL.read_text(), str(_TOOL), "exec"), tool.__dict__)
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(tool, "open", lambda _path: io.StringIO(json.dumps(data)), raising=False)
        patch.setattr(tool.os.path, "exists", lambda _path: True)
        argv = ["pkg-map", "--pkg-map", "x", "--missing-ok", "--distro", distro, "--release", release, *names]
        patch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as caught:
            tool.main()
        assert caught.value.code == 0
    return out.getvalue().split()


some_names = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "x", "y z", "w"]), max_size=3)
maps = st.fixed_dictionaries(
    {},
    optional={
        "default": some_names,
        "family": st.dictionaries(st.sampled_from(["debian", "redhat"]), some_names),
        "distro": st.dictionaries(st.sampled_from(["debian", "rocky"]), some_names),
        "release": st.dictionaries(
            st.sampled_from(["debian", "rocky"]), st.dictionaries(st.sampled_from(["8", "trixie"]), some_names)
        ),
    },
)


@given(data=maps, distro=st.sampled_from(["debian", "rocky"]), release=st.sampled_from(["8", "8-stream", "trixie"]))
@settings(max_examples=150)
def test_packages_are_mapped_as_pkg_map_does(data: dict[str, Any], distro: str, release: str) -> None:
    names = packages.mapping(data, distro, release)
    ours = [word for name in "abcd" for word in names.get(name, name).split()]
    assert ours == theirs(data, distro, release, list("abcd"))


def test_packages_of_an_element_under_the_names_of_a_distribution(tmp_path: Path) -> None:
    files = {
        "e/package-installs.yaml": "one:\ntwo:\nthree:\n",
        "e/pkg-map": '{"family": {"debian": {"one": "eins", "two": ""}}, "distro": {"debian": {"three": "3 drei"}}}',
    }
    directory = write(tmp_path, files) / "e"
    mapped = {each.name: each.mapped for each in packages.packages(directory, "debian")}
    assert mapped == {"one": ("eins",), "two": (), "three": ("3", "drei")}
    assert {each.mapped for each in packages.packages(directory)} == {None}
