"""The command line: exit codes, errors with hints, what goes to which stream, and how little it imports."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import click
import pytest

from contract import schema_errors
from diskimage_create import cli, pipeline
from diskimage_create import prepare as preparing
from diskimage_create.errors import (
    BuildError,
    CommandFailed,
    HostError,
    ImageRejected,
    InputError,
    Interrupted,
    Problem,
    RemoteError,
)
from diskimage_create.model import Artifact, BuildPlan


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the environment of whoever runs the tests means anything."""
    for name in os.environ:
        if name.startswith(("DIB_", "DISKIMAGE_CREATE_", "ELEMENTS_", "OCTAVIA_", "CLOUD_INIT", "AMP_", "NO_COLOR")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[BuildPlan]:
    """The plans of builds that were asked for; none is run."""
    plans: list[BuildPlan] = []

    def build(plan: BuildPlan, *_: Any) -> list[Artifact]:
        plans.append(plan)
        return [Artifact("qcow2", plan.spec.path_of("qcow2"), "0" * 64, 10**6)]

    monkeypatch.setattr(pipeline, "build", build)
    monkeypatch.setattr("diskimage_create.cli.build.stop_on_signals", lambda: None)
    return plans


def plan_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert cli.main(["plan", "--format", "json", *arguments]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def errors_in(text: str) -> list[tuple[str, str]]:
    """(error, hint) pairs; fails on any line that is neither."""
    pairs: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("error: "):
            pairs.append((line.removeprefix("error: "), ""))
        else:
            assert line.startswith("hint: "), line
            pairs[-1] = (pairs[-1][0], line.removeprefix("hint: "))
    return pairs


@pytest.mark.parametrize(
    ("arguments", "message", "where"),
    [
        (["plan", "-i", "debain"], "unknown os 'debain'", "--os"),
        (["-i", "debain"], "unknown os 'debain'", "--os"),
        (["build", "-s", "0"], "size '0' is not a positive whole number", "--size"),
        (["plan", "debian"], "unexpected argument 'debian'", "command line"),
        (["debian"], "unexpected argument 'debian'", "command line"),
        (["plan", "-i", "rhel"], "rhel images need DIB_LOCAL_IMAGE", "DIB_LOCAL_IMAGE"),
        (["plan", "--element", "no-such-element"], "there is no element no-such-element", "the element list"),
    ],
)
def test_bad_input(arguments: list[str], message: str, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    ((error, hint),) = errors_in(err)
    assert error == f"{message} ({where})"
    assert hint


BAD_USAGE = [["plan", "--no-such"], ["plan", "-s"], ["plan", "--format", "xml"], ["validate"], ["diff", "x"]]


@pytest.mark.parametrize("arguments", BAD_USAGE, ids=" ".join)
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    ((_, hint),) = errors_in(err)
    assert hint.startswith("see ")
    assert "--help" in hint


def test_all_problems_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "-a", "x", "-i", "y", "-t", "z", "-s", "0", "-o", "/nowhere/a", "stray"]) == 2
    found = [error.rpartition("(")[2].rstrip(")") for error, _ in errors_in(capsys.readouterr().err)]
    assert found == ["command line", "--os", "--arch", "--size", "--type", "--output"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError([Problem("what", "where", "do")]), 2),
        (HostError("what", "do"), 3),
        (BuildError("what"), 4),
        (CommandFailed(["tar"], 2, "what"), 4),
        (OSError(28, "what", "/file"), 4),
        (ImageRejected("what"), 5),
        (RemoteError("what"), 6),
        (Interrupted("what"), 130),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (RuntimeError("what"), 4),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "what"), 4),
    ],
)
def test_every_error_has_its_exit_code_and_no_traceback(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_requests: object, **_: object) -> None:
        raise error

    monkeypatch.setattr(preparing, "prepare_all", broken)
    assert cli.main(["plan"]) == status
    err = capsys.readouterr().err
    assert err.lstrip().startswith("error: ")  # after ^C on the terminal
    assert "Traceback" not in err
    assert "what" in err or status == 130
    with pytest.raises((type(error), click.Abort)):
        cli.main(["--debug", "plan"])


def test_a_signal_that_came_wrapped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As Python does while it makes a class: its hooks raise RuntimeError for whatever they got."""

    def broken(_requests: object, **_: object) -> None:
        raise RuntimeError("Error calling __set_name__") from Interrupted("stopped")

    monkeypatch.setattr(preparing, "prepare_all", broken)
    assert cli.main(["plan"]) == 130
    assert capsys.readouterr().err == "error: stopped\n"


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_everywhere_with_an_example(command: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command.split(), option]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert re.search(r"Examples?:\n +diskimage-create ", out)
    assert command or all(name in out for name in (*cli.COMMANDS, "Exit codes"))


@pytest.mark.parametrize("arguments", [["-v"], ["--version"], ["build", "-v"]])
def test_versions(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 0
    assert re.fullmatch(r"diskimage-create \d\S+\ndiskimage-builder \d\S+\n", capsys.readouterr().out)


OPTIONS = (
    "arch backend cache-dir release enforce-mac no-tmpfs git-branch help os kernel logfile cpu-pinning no-sshd output"
    " package-agent root-password size type version work-dir trace fips uncompressed"
).split()


def test_every_short_option_of_the_specification_has_its_long_name() -> None:
    build = cli.cli.get_command(click.Context(cli.cli), "build")
    assert build is not None
    context = click.Context(build, help_option_names=["-h", "--help"])
    known = {tuple(parameter.opts) for parameter in build.get_params(context)}
    letters = "abcdefghiklmnoprstvwxyu"
    assert {(f"-{letter}", f"--{name}") for letter, name in zip(letters, OPTIONS, strict=True)} <= known


def test_the_plan_as_json_is_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "-i", "debian", "-r", "canary", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert schema_errors(json.loads(out), "plan") == []
    assert err == ""
    assert "canary" not in out


def test_the_plan_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "-i", "debian", "-r", "canary"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^image +amphora: debian-minimal trixie ", out)
    assert "\x1b" not in out
    assert "canary" not in out


@pytest.mark.parametrize(
    ("variable", "value", "key", "expected"),
    [
        ("SIZE", "7", "size_gib", 7),
        ("OS", "rocky", "os", "rocky-container"),
        ("RELEASE", "9", "release", "9"),
        ("TYPE", "raw,tar", "types", ["raw", "tar"]),
        ("ARCH", "arm64", "arch", "arm64"),
    ],
)
def test_an_option_from_the_environment(
    variable: str, value: str, key: str, expected: object, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv(f"DISKIMAGE_CREATE_{variable}", value)
    data = plan_json(capsys)
    assert data["image"][key] == expected
    assert data["sources"][f"option:{variable.lower()}"] == "environment"


def test_the_environment_sets_flags_and_lists_too(monkeypatch: Any, capsys: Any) -> None:
    said = {"NO_SSHD": "1", "CPU_PINNING": "true", "FIPS": "0", "ELEMENT": "devuser local-config", "FORMAT": "json"}
    for name, value in {**said, "TRACE": "2", "ENV": "A=1 B=2", "VERSION": "1.2"}.items():
        monkeypatch.setenv(f"DISKIMAGE_CREATE_{name}", value)
    assert cli.main(["plan"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {"remove-sshd", "cpu-pinning", "devuser", "local-config"} <= set(data["elements"])
    assert "amphora-fips" not in data["elements"]
    assert data["command"].count("-x") == 2
    assert (data["environment"]["A"], data["environment"]["B"]) == ("1", "2")
    assert cli.main(["plan", "--format", "text"]) == 0
    assert capsys.readouterr().out.startswith("image")


def test_a_flag_wins_over_both_kinds_of_variables(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("DIB_RELEASE", "focal")
    assert plan_json(capsys)["image"]["release"] == "focal"
    monkeypatch.setenv("DISKIMAGE_CREATE_RELEASE", "jammy")
    assert plan_json(capsys)["image"]["release"] == "jammy"
    assert plan_json(capsys, "-d", "noble")["image"]["release"] == "noble"


def test_a_bad_value_from_the_environment_names_the_variable(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("DISKIMAGE_CREATE_SIZE", "many")
    assert cli.main(["plan"]) == 2
    assert "(DISKIMAGE_CREATE_SIZE)" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["build", "-i", "debian"], ["-i", "debian"], ["-i", "debian", "-t", "qcow2"]])
def test_build_is_the_default_command(arguments: list[str], built: list[BuildPlan], capsys: Any) -> None:
    assert cli.main(arguments) == 0
    assert built[0].spec.os == "debian-minimal"
    assert capsys.readouterr().out == f"{Path.cwd()}/amphora-x64-haproxy.qcow2\n"


def test_no_arguments_at_all_build_an_ubuntu_amphora(built: list[BuildPlan]) -> None:
    assert cli.main([]) == 0
    assert built[0].spec.os == "ubuntu-minimal"


def test_a_dash_takes_the_root_password_from_the_environment(built: list[BuildPlan], monkeypatch: Any) -> None:
    monkeypatch.setenv("DIB_PASSWORD", "canary")
    assert cli.main(["-i", "debian"]) == 0
    assert cli.main(["-i", "debian", "-r", "-"]) == 0
    assert [plan.spec.root_password for plan in built] == [None, "canary"]
    assert not any("DIB_PASSWORD" in plan.environment for plan in built)
