"""``elements list``, ``show``, ``graph`` and ``lint`` from the command line, and their JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sample_elements import HOOK, write

from contract import schema_errors
from diskimage_create import cli, process
from diskimage_create.catalogue.lint.model import RULES


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the environment of whoever runs the tests means anything."""
    for name in os.environ:
        if name.startswith(("DIB_", "DISKIMAGE_CREATE_", "ELEMENTS_", "OCTAVIA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    files = {
        "my-app/README.rst": "My application.\n",
        "my-app/element-deps": "base\npackage-installs\n",
        "my-app/element-provides": "application\n",
        "my-app/package-installs.yaml": "vim:\n",
        "my-app/pkg-map": '{"family": {"debian": {"vim": "vim-tiny"}}}',
        "my-app/install.d/9-first": HOOK,
        "my-app/install.d/10-second": HOOK + "echo ${DIB_MY_APP:-x}\n",
        "vm/README.rst": "Not diskimage-builder's.\n",
    }
    return write(tmp_path / "mine", files)


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["elements", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def as_json(capsys: Any, name: str, *arguments: str, status: int = 0) -> Any:
    """What a command prints, which is as its schema says."""
    found, out, _ = run(capsys, *arguments, "--format", "json")
    assert found == status
    data = json.loads(out)
    assert schema_errors(data, f"elements-{name}") == []
    return data


# list


def test_the_list_shows_who_shadows_whom(capsys: Any, mine: Path) -> None:
    status, out, err = run(capsys, "list", "--path", str(mine))
    assert status == 0
    app, *_ = (line for line in out.splitlines() if line.startswith("my-app"))
    used, hidden = (line for line in out.splitlines() if line.startswith("vm "))
    assert app.split() == ["my-app", str(mine), "My", "application"]
    assert f"{mine}  [shadows diskimage-builder " in used
    assert used.endswith("] Not diskimage-builder's")
    assert hidden.split()[1] == "diskimage-builder"
    assert f"[shadowed by {mine}] " in hidden
    assert err == f"{len(out.splitlines())} elements\n"
    assert len({app.index(str(mine)), used.index(str(mine)), hidden.index("diskimage-builder")}) == 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("octav", {"haproxy-octavia", "keepalived-octavia", "octavia-lib"}),
        ("octavia-*", {"octavia-lib"}),
        ("nix", set()),
    ],
)
def test_a_part_of_the_name_or_a_pattern(capsys: Any, pattern: str, expected: set[str]) -> None:
    status, out, _ = run(capsys, "list", pattern)
    assert status == 0
    assert {line.split()[0] for line in out.splitlines()} == expected


def test_the_list_as_json_is_the_contract(capsys: Any, mine: Path) -> None:
    data = as_json(capsys, "list", "list", "--path", str(mine))
    assert len(data["elements"]) > 210
    (app,) = (each for each in data["elements"] if each["name"] == "my-app")
    assert app["description"] == "My application"
    assert app["origin"] == {"package": None, "version": None, "variable": "--path", "directory": str(mine)}
    used, hidden = (each for each in data["elements"] if each["name"] == "vm")
    assert (used["shadows"], hidden["shadowed_by"]) == ([hidden["path"]], used["path"])
    assert [each["name"] for each in data["elements"]] == sorted(each["name"] for each in data["elements"])


def test_directories_of_the_environment_are_looked_at(capsys: Any, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEMENTS_PATH", str(mine))
    data = as_json(capsys, "list", "list")
    variables = {each["name"]: each["origin"]["variable"] for each in data["elements"] if not each["shadowed_by"]}
    assert variables["my-app"] == variables["vm"] == "ELEMENTS_PATH"
    assert variables["base"] is None
    assert "hadoop" not in variables  # who says where elements are gets no packages


# show


def test_an_element_is_shown_with_all_that_is_known(capsys: Any, mine: Path) -> None:
    status, out, _ = run(capsys, "show", "my-app", "--path", str(mine), "--os", "debian-minimal")
    assert status == 0
    text = " ".join(out.split())
    for part in (
        "what My application",
        f"origin {mine}",
        "provides application",
        "depends on base package-installs",
        "hooks install.d/9-first (in the image) install.d/10-second (in the image)",
        "variables DIB_MY_APP=x (install.d/10-second)",
        "packages vim -> vim-tiny",
    ):
        assert part in text


@pytest.mark.parametrize(
    "name", ["my-app", "amphora-agent", "ironic-python-agent-ramdisk-base", "hadoop", "openvswitch"]
)
def test_what_is_shown_as_json_is_the_contract(capsys: Any, mine: Path, name: str) -> None:
    for more in ((), ("--os", "rocky", "--release", "9")):
        data = as_json(capsys, "show", "show", name, "--path", str(mine), *more)
        assert data["name"] == name
        assert all((package["mapped"] is None) == (more == ()) for package in data["packages"])


def test_unknown_names_and_systems_are_refused_with_a_guess(capsys: Any) -> None:
    status, out, err = run(capsys, "show", "amphora-agnt")
    assert (status, out) == (2, "")
    assert err == "error: there is no element amphora-agnt (NAME)\nhint: did you mean amphora-agent?\n"
    status, out, err = run(capsys, "show", "vm", "--os", "plan9")
    assert (status, out) == (2, "")
    assert "unknown os 'plan9' (--os)" in err


# graph


def test_a_tree_of_a_name(capsys: Any, mine: Path) -> None:
    status, out, err = run(capsys, "graph", "my-app", "--path", str(mine))
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == f"my-app  ({mine}; provides application)"
    assert any(line.startswith("└─ package-installs  (diskimage-builder ") for line in out.splitlines())


@pytest.mark.parametrize("system", ["debian", "fedora"])
def test_the_graph_of_a_profile_is_what_is_built(capsys: Any, system: str) -> None:
    data = as_json(capsys, "graph", "graph", "--profile", "amphora", "-i", system, "--arch", "amd64")
    assert cli.main(["plan", "-i", system, "--arch", "amd64", "--format", "json"]) == 0
    planned = json.loads(capsys.readouterr().out)["resolved_elements"]
    assert [(node["name"], node["path"]) for node in data["nodes"]] == [(e["name"], e["path"]) for e in planned]
    assert data["missing"] == data["conflicts"] == []
    assert {"base", "block-device-mbr"} <= set(data["roots"])


def test_elements_of_mine_in_the_graph_of_a_profile(capsys: Any, mine: Path) -> None:
    """In an image, a directory goes over the project's and diskimage-builder's as DIB_LOCAL_ELEMENTS_PATH does."""
    arguments = ["graph", "my-app", "--profile", "amphora", "-i", "debian", "--path", "mine"]
    data = as_json(capsys, "graph", *arguments)
    paths = {node["name"]: node["path"] for node in data["nodes"]}
    assert paths["my-app"] == str(mine / "my-app")
    assert paths["vm"] == str(mine / "vm")
    assert paths["package-installs"].endswith("diskimage_builder/elements/package-installs")


def test_a_graph_goes_into_a_file_whole_or_not_at_all(capsys: Any, tmp_path: Path) -> None:
    status, out, err = run(capsys, "graph", "vm", "--format", "dot", "-o", "vm.dot")
    assert (status, out, err) == (0, "", "wrote vm.dot\n")
    assert (tmp_path / "vm.dot").read_text().endswith("}\n")
    assert (tmp_path / "vm.dot").stat().st_mode & 0o777 == 0o666 & ~_umask()
    (tmp_path / "taken").mkdir()
    before = sorted(tmp_path.iterdir())
    for place in ("nowhere/vm.dot", "taken"):
        status, out, err = run(capsys, "graph", "vm", "-o", place)
        assert (status, out) == (2, "")
        assert f"error: {place} cannot be written" in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["-o", "vm.dot"], "digraph"),
        (["-o", "vm.json"], "{"),
        (["-o", "vm.txt"], "vm  ("),
        (["-o", "vm.json", "--format", "text"], "vm  ("),
    ],
    ids=" ".join,
)
def test_a_file_s_extension_says_what_it_holds(arguments: list[str], start: str, capsys: Any, tmp_path: Path) -> None:
    assert run(capsys, "graph", "vm", *arguments)[0] == 0
    assert (tmp_path / arguments[1]).read_text().startswith(start)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_without_graphviz_there_is_no_svg(capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "which", lambda _name: None)
    status, out, err = run(capsys, "graph", "vm", "-o", "vm.svg")
    assert (status, out, list(tmp_path.glob("*.svg"))) == (3, "", [])
    assert "package graphviz" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "nothing says which elements"),
        (["no-such"], "there is no element no-such"),
        (["--profile", "amphor"], "did you mean amphora?"),
        (["--profile", "amphora", "-i", "beos"], "unknown os 'beos'"),
        (["--profile", "amphora", "gone"], "there is no element gone"),
        (["vm", "--path", "nowhere"], "directory nowhere does not exist"),
        (["--profile", "amphora", "--path", "nowhere"], "nowhere does not exist"),
    ],
)
def test_what_cannot_be_drawn_is_refused(capsys: Any, arguments: list[str], expected: str) -> None:
    status, out, err = run(capsys, "graph", *arguments)
    assert (status, out) == (2, "")
    assert expected in err


# lint


def test_findings_are_grouped_by_element_and_the_exit_code_tells(capsys: Any, mine: Path) -> None:
    write(mine, {"my-app/element-deps": "base\nghost\n", "my-app/install.d/20-x": "#!/bin/bash\n"})
    status, out, err = run(capsys, "lint", "--path", str(mine), "--no-shellcheck")
    assert status == 1
    assert out.splitlines() == [
        f"my-app  ({mine})",
        "  error    EL103  element-deps:2  there is no element ghost",
        "  warning  EL204  install.d/20-x  goes on after a command has failed: say set -eu",
    ]
    assert err == "2 elements, 1 error, 1 warning, 0 hints\n"
    status, out, err = run(capsys, "lint", "vm", "--path", str(mine), "--no-shellcheck")
    assert (status, out, err) == (0, "", "1 element, 0 errors, 0 warnings, 0 hints\n")
    status, _, _ = run(capsys, "lint", "--path", str(mine), "--no-shellcheck", "--skip", "EL103,EL204")
    assert status == 0


def test_findings_as_json_are_the_contract(capsys: Any, mine: Path) -> None:
    write(mine, {"my-app/element-deps": "base\nghost\n"})
    (mine / "my-app/README.rst").unlink()
    data = as_json(capsys, "lint", "lint", "--path", str(mine), "--no-shellcheck", status=1)
    assert data["ok"] is False
    assert data["elements"] == ["my-app", "vm"]
    assert set(data["rules"]) == RULES.keys() - {"EL601"}
    assert [(each["rule"], each["path"], each["line"]) for each in data["findings"]] == [
        ("EL101", str(mine / "my-app"), None),
        ("EL103", str(mine / "my-app/element-deps"), 2),
    ]
    clean = as_json(capsys, "lint", "lint", "vm", "--no-shellcheck")
    assert (clean["ok"], clean["findings"]) == (True, [])


def test_hints_alone_are_no_reason_to_fail(capsys: Any) -> None:
    """The seed document's advice, for an image that is put together of names."""
    data = as_json(capsys, "lint", "lint", "debian", "vm", "os-collect-config", "--no-shellcheck")
    assert [(each["rule"], each["severity"]) for each in data["findings"]] == [("EL403", "hint")]
    assert data["ok"] is True


def test_an_image_of_a_profile_is_checked(capsys: Any, mine: Path) -> None:
    write(mine, {"my-app/post-install.d/20-haproxy-service": HOOK})
    arguments = ["lint", "my-app", "--profile", "amphora", "-i", "debian", "--path", str(mine), "--no-shellcheck"]
    data = as_json(capsys, "lint", *arguments, status=1)
    assert [(each["rule"], each["element"]) for each in data["findings"]] == [("EL404", "haproxy-octavia")]
    # Other people's elements are not checked, unless that is asked for.
    assert "package-installs" not in data["elements"]
    assert {"my-app", "base", "amphora-agent"} <= set(data["elements"])
    everything = as_json(capsys, "lint", *arguments, "--all", status=1)
    assert "package-installs" in everything["elements"]


def test_the_rules_are_listed(capsys: Any) -> None:
    status, out, err = run(capsys, "lint", "--list-rules", "--no-shellcheck")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == sorted(RULES.keys() - {"EL601"})
    data = as_json(capsys, "rules", "lint", "--list-rules", "--only", "EL101")
    assert [rule["id"] for rule in data["rules"]] == ["EL101"]


def test_unknown_rules_are_refused(capsys: Any) -> None:
    status, out, err = run(capsys, "lint", "--only", "EL999", "--skip", "x")
    assert (status, out) == (2, "")
    assert err.count("error: ") == 2
