"""Which checks are run, and what the user says that an image should be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from contract import schema_errors
from diskimage_create.cli import main
from diskimage_create.cli.validate import validate as command
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import Expectation
from diskimage_create.validate import CHECKS
from diskimage_create.validate.expect import DISTRIBUTIONS
from diskimage_create.validate.said import amended, parse
from diskimage_create.validate.selection import EVERYTHING, explanation, require_matched, select

IDS = [check.id for check in CHECKS]
ELEMENTS = frozenset({"vm", "haproxy-octavia"})


def chosen(only: Sequence[str] = (), skip: Sequence[str] = ()) -> list[str]:
    selection = select(only, skip)
    return [id for id in IDS if selection.wants(id) and not selection.skips(id)]


def test_everything_by_default() -> None:
    assert chosen() == IDS
    assert all(EVERYTHING.wants(id) and not EVERYTHING.skips(id) for id in IDS)


def test_ids_lists_and_patterns() -> None:
    assert chosen(only=["kernel, initrd", "agent-*"]) == [
        "kernel", "initrd", "agent-entry-points", "agent-files", "agent-services",
    ]  # fmt: skip
    assert chosen(only=["agent-*"], skip=["agent-files"]) == ["agent-entry-points", "agent-services"]
    assert chosen(skip=["*"]) == []


@given(st.lists(st.sampled_from(IDS), unique=True), st.lists(st.sampled_from(IDS), unique=True))
def test_only_and_skip_are_sets(only: list[str], skip: list[str]) -> None:
    assert chosen(only, skip) == [id for id in IDS if (not only or id in only) and id not in skip]


def test_unknown_ids_are_told_at_once_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        select(["haprox", "zz-*"], ["os-relaese"])
    assert [(str(problem), problem.hint) for problem in caught.value.problems] == [
        ("there is no check haprox (--only)", "did you mean haproxy?"),
        ("there is no check zz-* (--only)", "'diskimage-create validate --list' shows all"),
        ("there is no check os-relaese (--skip)", "did you mean os-release?"),
    ]


def test_what_found_nothing_to_check_is_no_good_image() -> None:
    require_matched(select(["kernel", "mine/*"], []), ["kernel", "mine/test_a"])
    with pytest.raises(InputError, match="this image has no check mine/"):
        require_matched(select(["kernel", "mine/*"], []), ["kernel"])


def test_what_is_said_goes_over_what_is_known() -> None:
    known = Expectation(
        arch="amd64", distribution="ubuntu", family="debian", release="noble", sshd=True, packages=("haproxy",),
        elements=frozenset({"vm"}), datasources=("Ec2",), size_gib=2,
    )  # fmt: skip
    said = parse(
        ["os=centos-minimal,release=9-stream,arch=arm64,size_gib=5", "package=haproxy,package=g++", "element=vm",
         "element=haproxy-octavia, datasource=ConfigDrive, datasource=None, sshd=False, root_password=yes"],
        ELEMENTS,
    )  # fmt: skip
    assert amended(known, json.loads(json.dumps(said))) == Expectation(
        arch="arm64", distribution="centos", family="redhat", release="9-stream", size_gib=5, elements=ELEMENTS,
        packages=("haproxy", "g++"), datasources=("ConfigDrive", "None"), sshd=False, root_password=True,
    )  # fmt: skip


def test_nothing_said_changes_nothing() -> None:
    assert amended(Expectation(arch="amd64"), parse([], ELEMENTS)) == Expectation(arch="amd64")


@given(st.sampled_from(sorted(DISTRIBUTIONS)), st.integers(1, 999_999), st.booleans())
def test_every_distribution_and_size(name: str, size: int, sshd: bool) -> None:
    said = amended(Expectation(), parse([f"os={name},size_gib={size}", f"sshd={sshd}"], ()))
    assert ((said.distribution, said.family), said.size_gib, said.sshd) == (DISTRIBUTIONS[name], size, sshd)


@given(st.text(max_size=40))
def test_any_text_is_understood_or_is_bad_input(text: str) -> None:
    problems: tuple[Problem, ...] = ()
    said = {}
    try:
        said = parse([text], ELEMENTS)
    except InputError as error:
        problems = error.problems
    assert bool(said) != bool(problems)
    assert all(problem.where == "--expect" and problem.hint for problem in problems)
    assert said.keys() <= {field.name for field in dataclasses.fields(Expectation)}


def test_all_that_makes_no_sense_is_told() -> None:
    words = (
        "os=debain,relase=12,arch=amd46,size_gib=0,sshd=maybe,element=haproxy,package=-x,release,os=ubuntu,os=debian,"
    )
    with pytest.raises(InputError) as caught:
        parse([words], ELEMENTS)
    assert [(problem.message, problem.hint) for problem in caught.value.problems[:-1]] == [
        ("'os=debain' makes no sense", "did you mean debian?"),
        ("'relase=12' says nothing that can be expected", "did you mean release?"),
        ("'arch=amd46' makes no sense", "did you mean amd64?"),
        ("'size_gib=0' makes no sense", "a whole number of GiB"),
        ("'sshd=maybe' makes no sense", "true or false"),
        ("'element=haproxy' makes no sense", "did you mean haproxy-octavia?"),
        ("'package=-x' makes no sense", "the name of a package"),
        ("'release' makes no sense", "release=VALUE"),
        ("os is said twice", "leave one of the two out"),
    ]


def test_the_list_needs_no_image() -> None:
    listed = CliRunner().invoke(command, ["--list"], standalone_mode=False)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == IDS
    data = json.loads(CliRunner().invoke(command, ["--list", "--format", "json"], standalone_mode=False).stdout)
    assert schema_errors(data, "checks") == []
    assert [check["id"] for check in data["checks"]] == IDS
    haproxy = next(check for check in data["checks"] if check["id"] == "haproxy")
    assert (haproxy["severity"], haproxy["elements"], haproxy["deep"]) == ("error", ["haproxy-octavia"], False)


def test_every_check_explains_itself() -> None:
    assert [check.id for check in CHECKS if len(explanation(check)) < 60] == []


def test_all_problems_of_the_command_line_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--only", "kernl", "--expect", "archh=amd64"]) == 2
    errors = capsys.readouterr().err
    assert [line for line in errors.splitlines() if line.startswith("error:")] == [
        "error: there is no check kernl (--only)",
        "error: 'archh=amd64' says nothing that can be expected (--expect)",
        "error: no image is named (validate)",
    ]
