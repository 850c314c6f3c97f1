"""A matrix of images: which images it means, what they are called, and what is wrong with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import request

from contract import schema_errors
from diskimage_create import cli, config, matrix
from diskimage_create.errors import BuildError, InputError, Problem
from diskimage_create.farm import Job, Outcome, pool
from diskimage_create.model import Artifact, Source
from diskimage_create.prepare import prepare_all
from diskimage_create.releases import RELEASES
from diskimage_create.request import Request


def expand(
    words: str, options: Mapping[str, Any] | None = None, **more: Any
) -> tuple[list[Request], str | None, list[str]]:
    """The images, what is said of those that are left out, and what is wrong."""
    problems: list[Problem] = []
    found, note = matrix.expand(request(options, **more), words.split(), "--matrix", config.distribution, problems)
    return found, note, [str(problem) for problem in problems]


def names(words: str, options: Mapping[str, Any] | None = None, **more: Any) -> list[str]:
    """What the images are called."""
    found, _, problems = expand(words, options, **more)
    assert problems == []
    return [config.read(each).output.name for each in found]


def refusals(words: str, options: Mapping[str, Any] | None = None, **more: Any) -> list[str]:
    """All that a user reads of a matrix that is refused."""
    problems: list[Problem] = []
    found, _ = matrix.expand(request(options, **more), words.split(), "--matrix", config.distribution, problems)
    with pytest.raises(InputError) as raised:
        prepare_all(found, problems=problems)
    return [str(problem) for problem in raised.value.problems]


# --- which images

VALUES = {
    "os": ("debian", "debian-minimal", "ubuntu", "rocky"),
    "release": ("trixie", "bookworm", "noble", "jammy", "10-stream", "sid"),
    "arch": ("amd64", "arm64", "armhf"),
    "size": ("3", "5", "70"),
    "git_branch": ("master", "stable/2026.1"),
    "kernel": ("linux-image-amd64", "linux-image-generic"),
}
DISTRIBUTIONS = {"debian": "debian", "debian-minimal": "debian", "ubuntu": "ubuntu", "rocky": "rocky"}


@st.composite
def axes(draw: st.DrawFn) -> dict[str, list[str]]:
    chosen = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, unique=True))
    return {axis: draw(st.lists(st.sampled_from(VALUES[axis]), min_size=1, unique=True)) for axis in chosen}


def possible(system: str, release: str | None) -> bool:
    return release not in RELEASES or RELEASES[release][0] == DISTRIBUTIONS[system]


@given(axes())
def test_an_image_for_every_combination_in_the_order_of_the_axes(wanted: dict[str, list[str]]) -> None:
    found, note, problems = expand(" ".join(f"{axis}={','.join(values)}" for axis, values in wanted.items()))
    everything = [dict(zip(wanted, values, strict=True)) for values in product(*wanted.values())]
    kept = [each for each in everything if possible(each.get("os", "ubuntu"), each.get("release"))]
    assert len(everything) == prod(map(len, wanted.values()))
    assert [each.combination for each in found] == kept
    assert (note is None) == (len(kept) == len(everything)) or not kept
    assert (problems == []) == bool(kept)
    for each in found:
        assert {axis: each.options[axis] for axis in wanted} == dict(each.combination)
        assert {each.sources[axis] for axis in wanted} == {Source.FLAG}


@given(axes())
def test_every_image_has_a_name_of_its_own(wanted: dict[str, list[str]]) -> None:
    outputs = [f"x{each.suffix}" for each in matrix.requests(request({"output": "x"}), wanted)]
    assert len(set(outputs)) == len(outputs)
    assert outputs[0].count("-") >= sum(len(values) > 1 for values in wanted.values())


def test_what_the_command_line_says_holds_for_all() -> None:
    found, _, _ = expand("arch=amd64,arm64", {"size": "3", "element": ("vm",)})
    assert [(each.options["size"], each.options["element"]) for each in found] == [("3", ("vm",))] * 2


def test_an_axis_wins_over_the_environment() -> None:
    found, _, problems = expand("size=3,4", {"size": "9"}, sources={"size": Source.ENVIRONMENT})
    assert ([config.read(each).size_gib for each in found], problems) == ([3, 4], [])


# --- releases of other distributions


@pytest.mark.parametrize(
    ("words", "options", "environ", "note"),
    [
        ("os=debian,ubuntu release=trixie,noble", {}, {}, "debian noble, ubuntu trixie: no such releases"),
        ("arch=amd64,arm64 os=debian,ubuntu release=noble", {}, {}, "debian noble: no such release"),
        ("release=trixie,noble", {"os": "debian-minimal"}, {}, "debian-minimal noble: no such release"),
        ("release=trixie,noble", {}, {}, "ubuntu trixie: no such release"),
        ("release=trixie,noble profile=base", {}, {}, "debian noble: no such release"),
        ("os=debian,ubuntu", {"release": "noble"}, {}, "debian noble: no such release"),
        ("os=debian,ubuntu", {}, {"DIB_RELEASE": "noble"}, "debian noble: no such release"),
    ],
)
def test_a_release_of_another_distribution_is_left_out(
    words: str, options: dict[str, Any], environ: dict[str, str], note: str
) -> None:
    found, said, problems = expand(words, options, environ=environ)
    assert (said, problems) == (f"left out: {note}", [])
    assert found


@pytest.mark.parametrize("words", ["os=debian,ubuntu release=sid,wobbly", "os=rocky release=10,9", "os=debian,ubuntu"])
def test_a_release_that_nobody_knows_is_kept(words: str) -> None:
    found, note, problems = expand(words)
    assert (len(found), note, problems) == (2 if "rocky" in words or "sid" not in words else 4, None, [])


def test_a_matrix_of_nothing_is_refused() -> None:
    assert refusals("os=debian release=noble,jammy") == [
        "no image is left of the matrix: debian noble, debian jammy: no such releases (--matrix)"
    ]


def test_nothing_is_left_out_for_a_mistyped_word() -> None:
    assert refusals("oss=debian release=trixie") == ["unknown axis 'oss' (--matrix)"]
    assert refusals("os=debain release=trixie") == ["unknown os 'debain' (--matrix os=debain)"]


def test_a_profile_of_the_users_own_says_what_its_systems_are(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "title: mine\ndefault_os: deb\nelements: [{names: [vm, debian-minimal]}]\n"
        "operating_systems: {deb: {element: debian-minimal, distribution: debian, family: debian, release: trixie}}\n"
    )
    _, note, problems = expand("profile=mine.yaml release=trixie,noble", cwd=tmp_path)
    assert (note, problems) == ("left out: debian noble: no such release", [])


# --- names


@pytest.mark.parametrize(
    ("words", "options", "expected"),
    [
        ("os=debian,rocky arch=amd64", {}, ["amphora-x64-haproxy-debian", "amphora-x64-haproxy-rocky"]),
        ("arch=amd64", {}, ["amphora-x64-haproxy"]),
        ("arch=arm64,amd64 size=3,4", {"output": "x"}, ["x-arm64-3", "x-arm64-4", "x-amd64-3", "x-amd64-4"]),
        ("size=3,4", {"output": "x.qcow2"}, ["x-3", "x-4"]),
        ("size=3,4", {"output": "x.raw", "type": "tar,raw"}, ["x-3", "x-4"]),
        ("git-branch=stable/2026.1,master", {"output": "x"}, ["x-stable-2026.1", "x-master"]),
        ("profile=base,amphora", {}, ["base", "amphora-x64-haproxy"]),
        ("profile=base,amphora", {"output": "x"}, ["x-base", "x-amphora"]),
    ],
)
def test_names_end_in_what_tells_the_images_apart(words: str, options: dict[str, Any], expected: list[str]) -> None:
    assert names(words, options) == expected


def test_a_time_is_in_names_that_docker_can_have() -> None:
    found, _, _ = expand("snapshot=2026-11-01T00:00:00Z,2026-10-01", {"os": "debian", "type": "docker"})
    assert [config.read(each).docker_target for each in found] == [
        "image:amphora-x64-haproxy-2026-11-01T00-00-00Z",
        "image:amphora-x64-haproxy-2026-10-01",
    ]


def test_where_images_go(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for options in ({"output": "d/x"}, {"output": "x", "output_directory": "d"}):
        found, _, _ = expand("size=3,4", options, cwd=tmp_path)
        assert [config.read(each).output for each in found] == [tmp_path / "d/x-3", tmp_path / "d/x-4"]
    assert refusals("size=3,4", {"output": "d"}, cwd=tmp_path) == ["d is a directory (--output)"]
    assert refusals("size=3,4", {"output": "/"}) == ["/ is a directory (--output)"]
    assert refusals("size=3,4", {"output_directory": "e"}, cwd=tmp_path) == [
        f"directory {tmp_path}/e does not exist (--output-directory)"
    ]
    both = {"output": "d/x", "output_directory": "d"}
    assert "--output has a directory too (--output-directory)" in refusals("size=3,4", both, cwd=tmp_path)


def test_two_images_of_one_name_are_refused() -> None:
    assert refusals("git_branch=a/b,a-b") == ["2 images would be /tmp/amphora-x64-haproxy-a-b (--matrix)"]


# --- what is wrong


def test_all_that_is_wrong_with_a_matrix_at_once() -> None:
    words = "os=debain,debian relase=x size= arch=amd64,,amd64 stray arch=i386 type=raw git-branch=a git_branch=b"
    options = {"logfile": "l", "docker_target": "d", "os": "ubuntu", "backend": "nginx", "output": "/nowhere/x"}
    assert refusals(words, options) == [
        "unknown os 'debain' (--matrix os=debain)",
        "directory /nowhere does not exist (--output)",
        "unknown backend 'nginx' (--backend)",
        "unknown axis 'relase' (--matrix)",
        "the axis size has an empty value (--matrix)",
        "the axis arch has an empty value (--matrix)",
        "the axis arch has 'amd64' more than once (--matrix)",
        "'stray' is no axis (--matrix)",
        "the axis arch is there twice (--matrix)",
        "unknown axis 'type' (--matrix)",
        "the axis git_branch is there twice (--matrix)",
        "it cannot hold for several images (--logfile)",
        "it cannot hold for several images (--docker-target)",
        "it is an axis of the matrix as well (--os)",
    ]


@pytest.mark.parametrize(
    ("word", "hint"),
    [("relase=x", "did you mean release? "), ("git-brnch=x", "did you mean git-branch? "), ("type=raw", "-t gives ")],
)
def test_an_unknown_axis_has_a_nearest_one(word: str, hint: str) -> None:
    problems: list[Problem] = []
    assert matrix.read([word], "--matrix", problems) == {}
    (problem,) = problems
    assert (problem.hint or "").startswith(hint)


@given(st.lists(st.text("os=,debian-_ y", max_size=12) | st.text(max_size=8), max_size=4))
def test_any_text_is_understood_or_refused(words: list[str]) -> None:
    problems: list[Problem] = []
    found = matrix.read(words, "--matrix", problems)
    assert problems or ",".join(f"{axis}={','.join(values)}" for axis, values in found.items()) == ",".join(words)
    assert all(values and all(values) and len(set(values)) == len(values) for values in found.values())
    assert set(found) <= set(matrix.AXES)


EIGHT = "os=debian,rhel arch=amd64,arm64 kernel=a,b"


@pytest.mark.parametrize(
    ("words", "options", "expected"),
    [
        (EIGHT.replace("rhel", "ubuntu"), {"size": "0"}, ["size '0' is not a positive whole number (--size)"]),
        ("os=debian,ubuntu size=0,1", {}, ["size '0' is not a positive whole number (--matrix size=0)"]),
        ("size=0", {}, ["size '0' is not a positive whole number (--matrix size=0)"]),
        (
            EIGHT,
            {},
            [
                "--kernel cannot be chosen: rhel images take the distribution's kernel (--matrix os=rhel kernel)",
                "rhel images need DIB_LOCAL_IMAGE (--matrix os=rhel: DIB_LOCAL_IMAGE)",
            ],
        ),
        (
            "os=fedora,debian size=2,3",
            {},
            ["an image of fedora needs at least 3 GB, not 2 (--matrix os=fedora size=2)"],
        ),
        (
            "profile=base,amphora backend=haproxy",
            {"os": "debian"},
            ["the profile base has no use for this option (--matrix profile=base backend=haproxy)"],
        ),
        ("arch=amd64,arm64", {"element": ("none",)}, ["there is no element none (the element list)"]),
    ],
)
def test_a_problem_is_told_once_with_the_values_that_bring_it_about(
    words: str, options: dict[str, Any], expected: list[str]
) -> None:
    assert refusals(words, options) == expected


def test_a_problem_of_some_combinations_names_each() -> None:
    everything = [dict(zip(("os", "arch"), values, strict=True)) for values in product("ab", "xy")]
    found = [(each, Problem("bad", "there")) for each in (everything[0], everything[3])]
    assert [problem.where for problem in matrix.placed(found, everything)] == [
        "--matrix os=a arch=x: there",
        "--matrix os=b arch=y: there",
    ]


@given(st.sets(st.integers(0, 11), min_size=1))
def test_a_problem_names_the_combinations_that_have_it_and_no_others(having: set[int]) -> None:
    everything = [dict(zip(("os", "arch", "size"), values, strict=True)) for values in product("ab", "xy", "123")]
    told = matrix.placed([(everything[number], Problem("bad")) for number in sorted(having)], everything)
    named = set()
    for problem in told:
        said = dict(word.split("=") for word in (problem.where or "--matrix").split()[1:])
        named |= {number for number, each in enumerate(everything) if said.items() <= each.items()}
    assert named == having


# --- the command line


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where images go; nothing of the environment of whoever runs the tests means anything."""
    for name in os.environ:
        if name.startswith(("DIB_", "DISKIMAGE_CREATE_", "ELEMENTS_", "OCTAVIA_", "CLOUD_INIT", "AMP_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_plans_of_a_matrix_are_one_document(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["os=debian,ubuntu", "release=trixie,noble", "arch=amd64,arm64"]
    assert cli.main(["plan", "--matrix", *words, "-s", "3", "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "note: left out: debian noble, ubuntu trixie: no such releases\n"
    data = json.loads(shown.out)
    assert schema_errors(data, "plans") == []
    assert [(each["image"]["output"], each["image"]["arch"], each["image"]["size_gib"]) for each in data["images"]] == [
        (f"{directory}/amphora-x64-haproxy-{name}-{arch}.qcow2", arch, 3)
        for name in ("debian-trixie", "ubuntu-noble")
        for arch in ("amd64", "arm64")
    ]
    # One image is a matrix too.
    assert cli.main(["plan", "--format", "json", "--matrix", "arch=amd64"]) == 0
    assert len(json.loads(capsys.readouterr().out)["images"]) == 1


@pytest.mark.usefixtures("directory")
def test_a_matrix_from_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DISKIMAGE_CREATE_MATRIX", "os=debian,rocky size=3,4")
    assert cli.main(["plan"]) == 0
    assert capsys.readouterr().out.count("image        ") == 4
    monkeypatch.setenv("DISKIMAGE_CREATE_MATRIX", "oss=debian")
    assert cli.main(["plan"]) == 2
    assert "unknown axis 'oss' (DISKIMAGE_CREATE_MATRIX)" in capsys.readouterr().err


@pytest.mark.usefixtures("directory")
def test_words_are_axes_behind_a_matrix_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "size=3,4"]) == 2
    assert "unexpected argument 'size=3,4' (command line)" in capsys.readouterr().err
    assert cli.main(["plan", "--matrix", "size=3,4", "--matrix", "os=debian,rocky"]) == 0
    assert capsys.readouterr().out.count("image        ") == 4


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--matrix", "size=3", "--image", "x"], "it says nothing without --config (--image)"),
        (["--matrix", "size=3", "--skip"], "it says nothing without --config (--skip)"),
        (["--matrix", "size=3,4", "-l", "x.log"], "it cannot hold for several images (--logfile)"),
        (["--output-directory", "."], "it says nothing without --config or --matrix (--output-directory)"),
    ],
)
@pytest.mark.usefixtures("directory")
def test_options_that_say_nothing_there(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"error: {problem}\n")


def test_images_of_files_have_no_matrix(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "x.yaml").write_text("disk_images: [{imagename: x, profile: base}]")
    assert cli.main(["plan", "--config", "x.yaml", "--matrix", "size=3", "arch=arm64"]) == 2
    assert capsys.readouterr().err == (
        "error: configuration files have their own images (--matrix)\nhint: leave out either --matrix or --config\n"
    )


def test_the_others_are_built_when_one_fails(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(job: Job, *_: object) -> Outcome:
        spec = job.plan.spec
        if spec.size_gib == 3:
            return Outcome(job, error=BuildError("it is broken"))
        return Outcome(job, (Artifact("qcow2", spec.path_of("qcow2"), "0" * 64, 1),))

    monkeypatch.setattr(pool, "run", run)
    monkeypatch.setattr("diskimage_create.cli.build.stop_on_signals", lambda: None)
    monkeypatch.setattr("diskimage_create.requirements.refuse", lambda *_: None)
    # Without a command's name too: build is the default.
    assert cli.main(["--matrix", "size=3,4,5", "-o", "x", "-i", "debian", "-c", "cache"]) == 4
    shown = capsys.readouterr()
    assert sorted(shown.out.splitlines()) == [f"{directory}/x-4.qcow2", f"{directory}/x-5.qcow2"]
    assert [line for line in shown.err.splitlines() if line.startswith(("image", "error"))] == [
        "image x-3",
        "error: it is broken",
    ]
    assert "2 of 3 images" in shown.err
