"""Configuration files: merging, the command line that they mean, what is wrong with them."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import samples
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import schema_errors
from diskimage_create import imageconfig, yamlfile
from diskimage_create import plan as plans
from diskimage_create.cli import cli, main
from diskimage_create.errors import BuildError, ImageRejected, InputError, Problem
from diskimage_create.farm import Job, Outcome, pool
from diskimage_create.imageconfig import ConfiguredImage, arguments
from diskimage_create.imageconfig.as_request import request
from diskimage_create.model import Artifact
from diskimage_create.prepare import prepare

FIRST = """\
disk_images:
  - imagename: overcloud
    distro: some_awesome_distro
    type: qcow2
    elements: [image_element]
    environment: {test_env: 1}
"""
SECOND = """\
disk_images:
  - imagename: overcloud
    elements: [another_image_element]
    packages: [a_package]
    environment: {test_env2: 0}
"""


def read(directory: Path, *texts: str, wanted: Sequence[str] = ()) -> list[ConfiguredImage]:
    paths = []
    for number, text in enumerate(texts, 1):
        paths.append(directory / f"{number}.yaml")
        paths[-1].write_text(text, encoding="utf-8")
    found: list[Problem] = []
    images = imageconfig.read(paths, wanted, found)
    if found:
        raise InputError(found)
    return images


def problems(directory: Path, *texts: str, wanted: Sequence[str] = ()) -> list[str]:
    with pytest.raises(InputError) as raised:
        read(directory, *texts, wanted=wanted)
    return [str(problem).replace(f"{directory}/", "") for problem in raised.value.problems]


def test_the_specification_s_example(tmp_path: Path) -> None:
    (image,) = read(tmp_path, FIRST, SECOND)
    assert shlex.join(image.command("amd64", ".")) == (
        "disk-image-create -a amd64 -o ./overcloud -t qcow2 -p a_package"
        " some_awesome_distro image_element another_image_element"
    )
    assert image.environment == {"test_env": "1", "test_env2": "0"}


KEYS = sorted(json.loads(yamlfile.schema_text("config"))["$defs"]["image"]["properties"])

# --- the rules of merging, against a plain model of them

WORDS = st.text("abcxyz-09", min_size=1, max_size=4).filter(lambda word: not word.startswith("-"))
VARIABLES = st.text("ABC_", min_size=1, max_size=3)
VALUES = WORDS | st.integers() | st.booleans()
ENTRIES = st.fixed_dictionaries(
    {"imagename": st.sampled_from(["a", "b", "c"]), "distro": WORDS},
    optional={
        "arch": st.sampled_from(["amd64", "x86_64", "arm64"]),
        "type": st.sampled_from(["qcow2", "raw", "qcow2,raw"]),
        "elements": st.lists(WORDS, max_size=3),
        "packages": st.lists(WORDS, max_size=3),
        "options": st.lists(
            st.sampled_from(["--min-tmpfs=7", "--mkfs-options '-s size=4096'", "-x", "-x -u", "--image-size 3"]),
            max_size=3,
        ),
        "environment": st.dictionaries(VARIABLES, VALUES, max_size=3),
        "skip_base": st.booleans(),
        "docker_target": WORDS,
        "imageext": WORDS,
        "builder": st.just("dib"),
    },
)
FILES = st.lists(st.lists(ENTRIES, min_size=1, max_size=4), min_size=1, max_size=3)


def model(files: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The rules, one key at a time."""
    entries = [entry for file in files for entry in file]
    images: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(entry["imagename"] for entry in entries):
        mine = [entry for entry in entries if entry["imagename"] == name]
        image: dict[str, Any] = {}
        for key in {key for entry in mine for key in entry}:
            values = [entry[key] for entry in mine if key in entry]
            if key in ("elements", "options", "packages"):
                image[key] = [item for value in values for item in value]
            elif key == "environment":
                image[key] = {variable: value[variable] for value in values for variable in value}
            else:
                image[key] = values[0]
        images[name] = image
    return images


def expected_command(image: Mapping[str, Any]) -> str:
    """As TripleO's tools write it."""
    arch = image.get("arch", "the-host-s")
    text = f"disk-image-create -a {'amd64' if arch == 'x86_64' else arch} -o out/{image['imagename']}"
    text += f" -t {image.get('type', 'qcow2')}"
    if image.get("packages"):
        text += f" -p {','.join(image['packages'])}"
    text += "".join(f" {option}" for option in image.get("options", ()))
    text += " -n" if image.get("skip_base") else ""
    text += f" --docker-target {image['docker_target']}" if image.get("docker_target") else ""
    return " ".join([text, image["distro"], *image.get("elements", ())])


@settings(max_examples=200)
@given(FILES)
def test_merging_and_the_command_line(files: list[list[dict[str, Any]]]) -> None:
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as directory:
        images = read(Path(directory), *(yaml.safe_dump({"disk_images": file}) for file in files))
    wanted = model(files)
    assert [image.name for image in images] == list(wanted)
    for image in images:
        merged = wanted[image.name]
        assert image.command("the-host-s", "out") == shlex.split(expected_command(merged))
        asked = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in merged.get("environment", {}).items()
        }
        assert {name: image.environment[name] for name in asked} == asked
    assert dict(os.environ) == before


def test_values_are_as_they_are_written(tmp_path: Path) -> None:
    text = "disk_images:\n - {imagename: x, distro: d, environment: {A: 9, B: 9.0, C: 0644, D: yes, E: 1e3, F: ''}}\n"
    (image,) = read(tmp_path, text)
    assert image.environment == {"A": "9", "B": "9.0", "C": "0644", "D": "yes", "E": "1e3", "F": ""}


# --- options of disk-image-create


def test_what_options_mean() -> None:
    found = arguments.parse(
        ["--min-tmpfs=7", "--mkfs-options '-s size=4096'", "-x -x", "-u", "-n", "-p a,b -p c", "--image-size", "30"]
    )
    assert found.problems == []
    assert found.environment == {"DIB_MIN_TMPFS": "7"}
    assert found.packages == ["a", "b", "c"]
    settings = {"mkfs_options": "-s size=4096", "trace": 2, "uncompressed": True, "skip_base": True, "size": "30"}
    assert found.settings == settings


@pytest.mark.parametrize("option", sorted(arguments._REFUSED))
def test_options_that_belong_elsewhere_say_where(option: str) -> None:
    found = arguments.parse([option if option in ("-h", "--help", "--version", "--offline") else f"{option} x"])
    assert found.problems == [(f"{option} cannot be among the options", arguments._REFUSED[option])]


def test_every_option_of_disk_image_create_is_known() -> None:
    """Those that its parser takes, and the two that only its help knows."""
    from diskimage_create.elements import builtin

    script = (builtin().parent / "lib/disk-image-create").read_text()
    (line,) = [line for line in script.splitlines() if line.startswith("TEMP=`getopt")]
    words = shlex.split(line.removeprefix("TEMP=`getopt"))
    short, long = words[1], words[3].split(",")
    assert short == arguments._SHORT
    assert {name.replace("=", ":") for name in arguments._LONG} >= set(long)
    taken = {*arguments._VARIABLES, *arguments._SETTINGS, *arguments._FLAGS, *arguments._REFUSED, *arguments._IMPLIED}
    assert {f"--{name.rstrip(':')}" for name in long} | {f"-{letter}" for letter in short if letter != ":"} <= taken | {
        "-x",
        "-p",
    }


@given(st.lists(st.text("-abo xut='\"\\n7", max_size=12), max_size=4))
def test_any_text_as_options_is_understood_or_refused(options: list[str]) -> None:
    found = arguments.parse(options)
    assert all(message for message, _ in found.problems)


# --- what is wrong


def test_all_problems_of_all_files_at_once(tmp_path: Path) -> None:
    first = """\
disk_images:
  - imagename: x
    element: [z]
    elements: z
    skip_base: 7
  - distro: x
    environment: {A: null, B: [1]}
  - imagename: ""
"""
    assert problems(tmp_path, first, "disk_images: {}\n", "", "images: []\n", "just text") == [
        "disk_images.0: unknown key element (1.yaml:3)",
        "disk_images.0.elements must be a list (1.yaml:4)",
        "disk_images.0.skip_base must be one of true, false (1.yaml:5)",
        "disk_images.1: there is no imagename (1.yaml:6)",
        "disk_images.1.environment.A must be text or a number or true or false (1.yaml:7)",
        "disk_images.1.environment.B must be text or a number or true or false (1.yaml:7)",
        "disk_images.2.imagename is empty (1.yaml:8)",
        "disk_images must be a list (2.yaml:1)",
        "is empty (3.yaml:1)",
        "there is no disk_images (4.yaml:1)",
        "unknown key images (4.yaml:1)",
        "the file must be a mapping (5.yaml:1)",
    ]


def test_what_only_the_whole_image_shows(tmp_path: Path) -> None:
    text = """\
disk_images:
  - imagename: x
    options: ["-a x", "--foo"]
  - imagename: y
    distro: d
    options: ["'"]
    environment: {b c: 1}
  - imagename: z
    distro: d
    options: [-x, vm, -o y]
"""
    assert problems(tmp_path, text) == [
        "image x has no distro (1.yaml:2)",
        "disk-image-create has no such option: option --foo not recognized (1.yaml:3)",
        "'b c' is no name of a variable (1.yaml:7)",
        'option "\'" cannot be split: no closing quotation (1.yaml:6)',
        "-o cannot be among the options (1.yaml:10)",
        "vm: no option (1.yaml:10)",
    ]


def test_an_unknown_key_has_a_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, "disk_images: [{imagename: x, distro: d, enviroment: {}}]\n")
    assert [problem.hint for problem in raised.value.problems] == ["did you mean environment?"]


def test_images_are_chosen_by_their_exact_names(tmp_path: Path) -> None:
    text = "disk_images: [{imagename: over, distro: d}, {imagename: overcloud, distro: d}]\n"
    assert [image.name for image in read(tmp_path, text, wanted=["overcloud"])] == ["overcloud"]
    found = problems(tmp_path, text, wanted=["overclod", "over"])
    assert found == ["no image is called 'overclod' (--image, in 1.yaml)"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.sampled_from(["-x", "'", "", "docker:", "a/b.yaml", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | WORDS, inner, max_size=4),
    max_leaves=15,
)


@settings(max_examples=300)
@given(st.one_of(ANYTHING, st.lists(ANYTHING).map(lambda images: {"disk_images": images})), st.text(max_size=5))
def test_any_file_is_understood_or_refused_with_its_lines(document: object, noise: str) -> None:
    text = yaml.safe_dump(document, allow_unicode=True)
    with tempfile.TemporaryDirectory() as directory:
        for content in (text, text.replace("a", noise, 1)):
            path = Path(directory, "x.yaml")
            path.write_bytes(content.encode("utf-8", "surrogatepass"))
            assert read_or_lines(path)


def read_or_lines(path: Path) -> bool:
    """Whether a file is understood, or refused with a place in it for all that is wrong."""
    try:
        images = imageconfig.read([path], [], [])
    except InputError as error:
        return bool(error.problems) and all(str(problem.where).startswith(str(path)) for problem in error.problems)
    return all(image.command("amd64", ".") for image in images)


# --- diskimage-builder's own format

BUILDERS = """\
- imagename: x
  types: [qcow2, raw]
  elements: [vm]
  environment: {DIB_RELEASE: 9, A: 1}
  image-size: 4
- elements: [base]
  qemu-img-options: {compat: 1.1}
  image-size: 5
- imagename: y
  debug-trace: 2
  skip-base: true
  packages: [p, q]
  elements: [z]
- imagename: x
  environment: {A: 2}
"""


def test_diskimage_builder_s_own_format(tmp_path: Path) -> None:
    x, y = read(tmp_path, BUILDERS)
    assert x.command("amd64", "out") == shlex.split(
        "disk-image-create -a amd64 -o out/x -t qcow2,raw --image-size 5 --qemu-img-options compat=1.1 vm base"
    )
    assert x.environment == {"DIB_RELEASE": "9", "A": "2"}
    assert y.command("amd64", "out") == shlex.split("disk-image-create -a amd64 -o out/y -t qcow2 -p p,q -x -x -n z")


@settings(max_examples=50)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "imagename": st.sampled_from(["a", "b"]),
                "elements": st.lists(WORDS, max_size=3),
                "packages": st.lists(WORDS, max_size=2),
                "environment": st.dictionaries(VARIABLES, WORDS, max_size=3),
                "types": st.just(["qcow2"]),
                "skip-base": st.booleans(),
                "uncompressed": st.booleans(),
                "root-label": WORDS,
                "install-type": st.sampled_from(["source", "package"]),
                "debug-trace": st.integers(0, 2),
            },
        ),
        min_size=1,
        max_size=5,
    )
)
def test_images_are_those_that_diskimage_builder_would_build(entries: list[dict[str, Any]]) -> None:
    import copy

    from diskimage_builder.diskimage_builder import build_commands

    theirs = build_commands(copy.deepcopy(entries))
    with tempfile.TemporaryDirectory() as directory:
        ours = read(Path(directory), yaml.safe_dump(entries))
    assert len(theirs) == len(ours)
    for command, image in zip(theirs, ours, strict=True):
        found = arguments.parse([shlex.join(_options(command.args, image))])
        assert found.problems == []
        assert command.environ == {name: image.environment[name] for name in command.environ}
        assert list(command.args[len(command.args) - len(image.elements) :]) == image.elements
        for name, value in found.settings.items():
            assert image.settings[name] == value
        assert found.packages == image.packages


def _options(words: Sequence[str], image: ConfiguredImage) -> list[str]:
    """The options of a command line, but those that are keys here."""
    rest = list(words[: len(words) - len(image.elements)])
    for option in ("-o", "-t"):
        if option in rest:
            at = rest.index(option)
            del rest[at : at + 2]
    return rest


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"imagename": "../x"}, "'../x' is no name of an image"),
        ({"imagename": ".x"}, "'.x' is no name of an image"),
        ({"packages": ["a b"]}, "'a b' is no name of a package"),
        ({"packages": ["-x"]}, "'-x' is no name of a package"),
        ({"environment": {"A": "x\0y"}}, "A has a character that no variable can have"),
        ({"environment": {"DIB_REPO_PATH": "/x"}}, "DIB_REPO_PATH is not an image's"),
        ({"environment": {"TMPDIR": "/x"}}, "TMPDIR is not an image's"),
        ({"environment": {"DIB_PASSWORD": "x"}}, "DIB_PASSWORD needs the element root-passwd"),
        ({"docker_target": "bad name!"}, "'bad name!' is no name of a container image"),
        ({"publish": ["docker:UPPER/x:1"]}, "'UPPER/x:1' is no name of a container image"),
        ({"publish": ["docker:a:1"], "docker_target": "b:1"}, "an image goes to one docker target"),
        ({"publish": ["docker:a:1", "docker:b:1"]}, "an image goes to one docker target"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_do_harm_later_is_refused_first(entry: dict[str, Any], message: str, tmp_path: Path) -> None:
    text = json.dumps({"disk_images": [{"imagename": "x", "distro": "d", **entry}]}).replace("\\u0000", "\\0")
    (found,) = problems(tmp_path, text)
    assert found == f"{message} (1.yaml:1)"


@pytest.mark.parametrize("target", ["a", "site/a:1", "host:5000/site/a:v1.0-2", "image:amphora-x64-haproxy"])
def test_names_of_container_images(target: str, tmp_path: Path) -> None:
    (image,) = read(tmp_path, json.dumps({"disk_images": [{"imagename": "x", "distro": "d", "docker_target": target}]}))
    assert image.docker_target == target


@pytest.mark.parametrize("name", ["true", "false", "9", "1.0"])
def test_text_that_looks_like_something_else_is_text(name: str, tmp_path: Path) -> None:
    (image,) = read(tmp_path, f'disk_images: [{{imagename: "{name}", distro: "{name}", skip_base: "true"}}]\n')
    assert (image.name, image.elements) == (name, [name])
    assert image.command("amd64", ".")[-2:] == ["-n", name]


# --- through the command line


@pytest.fixture
def elements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of elements, some_awesome_distro among them."""
    place = tmp_path / "elements"
    for name in ("some_awesome_distro", "image_element", "another_image_element"):
        (place / name).mkdir(parents=True)
    (place / "some_awesome_distro/element-provides").write_text("operating-system\n")
    monkeypatch.setenv("ELEMENTS_PATH", str(place))
    monkeypatch.chdir(tmp_path)
    return place


def planned(directory: Path, *more: str, texts: Sequence[str] = (FIRST, SECOND)) -> list[dict[str, Any]]:
    options = []
    for number, text in enumerate(texts, 1):
        path = directory / f"{number}.yaml"
        path.write_text(text)
        options += ["--config", str(path)]
    result = CliRunner().invoke(cli, ["plan", *options, *more, "--format", "json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert schema_errors(document, "plans") == []
    images: list[dict[str, Any]] = document["images"]
    return images


@pytest.mark.usefixtures("elements")
def test_the_specification_s_example_is_planned(tmp_path: Path) -> None:
    (image,) = planned(tmp_path, "--output-directory", ".")
    assert image["asked"] == shlex.split(
        "disk-image-create -a amd64 -o ./overcloud -t qcow2 -p a_package"
        " some_awesome_distro image_element another_image_element"
    )
    assert {name: image["environment"][name] for name in ("test_env", "test_env2")} == {
        "test_env": "1",
        "test_env2": "0",
    }
    assert image["sources"]["environment:test_env"] == "config"
    assert image["image"]["output"] == f"{tmp_path}/overcloud.qcow2"
    assert image["image"]["size_gib"] is None
    assert "--image-size" not in image["command"]
    assert image["command"][-4:] == ["some_awesome_distro", "image_element", "another_image_element", "build-host"]


@pytest.mark.usefixtures("elements")
def test_an_image_s_variables_do_not_reach_the_next_one(tmp_path: Path) -> None:
    text = """\
disk_images:
  - {imagename: a, distro: some_awesome_distro, environment: {DIB_ONE: 1, ANY: x, DIB_SHARED: theirs}}
  - {imagename: b, distro: some_awesome_distro, environment: {DIB_TWO: 2}}
"""
    before = dict(os.environ)
    a, b = planned(tmp_path, "--env", "DIB_ALL=3", texts=[text])
    assert dict(os.environ) == before
    assert {"DIB_ONE", "ANY", "DIB_SHARED", "DIB_ALL"} <= a["environment"].keys()
    assert {"DIB_TWO", "DIB_ALL"} <= b["environment"].keys()
    assert not {"DIB_ONE", "ANY", "DIB_SHARED"} & b["environment"].keys()


@pytest.mark.usefixtures("elements")
def test_a_file_wins_over_the_environment_and_the_command_line_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIB_X", "environment")
    monkeypatch.setenv("DIB_Y", "environment")
    text = """\
disk_images:
  - imagename: a
    distro: some_awesome_distro
    arch: arm64
    type: raw
    environment: {DIB_X: file, DIB_Z: file}
"""
    (image,) = planned(tmp_path, "-t", "tar", "--env", "DIB_Z=option", texts=[text])
    shown = {
        name: (image["environment"][name], image["sources"][f"environment:{name}"])
        for name in ("DIB_X", "DIB_Y", "DIB_Z")
    }
    assert shown == {"DIB_X": ("file", "config"), "DIB_Y": ("environment", "environment"), "DIB_Z": ("option", "flag")}
    assert (image["image"]["arch"], image["image"]["types"]) == ("arm64", ["tar"])
    assert (image["sources"]["option:arch"], image["sources"]["option:type"]) == ("config", "flag")


def test_the_command_line_wins_over_a_file_s_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    variables = {"DIB_DEBIAN_KERNEL": "of-the-file", "DIB_RELEASE": "trixie"}
    entry = {"imagename": "a", "profile": "amphora", "os": "debian", "environment": variables}
    (image,) = planned(tmp_path, "-d", "bookworm", texts=[yaml.safe_dump({"disk_images": [entry]})])
    shown = {name: image["environment"][name] for name in variables}
    assert shown == {"DIB_DEBIAN_KERNEL": "of-the-file", "DIB_RELEASE": "bookworm"}
    (image,) = planned(tmp_path, "-k", "of-the-option", texts=[yaml.safe_dump({"disk_images": [entry]})])
    shown = {name: image["environment"][name] for name in variables}
    assert shown == {"DIB_DEBIAN_KERNEL": "of-the-option", "DIB_RELEASE": "trixie"}


@pytest.mark.usefixtures("elements")
def test_the_environment_replaces_no_elements_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIB_ELEMENTS", "debian-minimal vm")
    monkeypatch.setenv("DIB_LOCAL_ELEMENTS", "vm")
    (image,) = planned(tmp_path)
    assert image["elements"][:3] == ["some_awesome_distro", "image_element", "another_image_element"]
    assert "vm" not in image["elements"]


@pytest.mark.usefixtures("elements")
def test_an_exported_password_is_that_of_an_image_that_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"imagename": "a", "distro": "some_awesome_distro", "elements": ["root-passwd"]}
    text = yaml.safe_dump({"disk_images": [entry]})
    monkeypatch.delenv("DIB_PASSWORD", raising=False)
    (tmp_path / "x.yaml").write_text(text)
    assert main(["plan", "--config", f"{tmp_path}/x.yaml"]) == 2
    assert "the root password is empty" in capsys.readouterr().err
    monkeypatch.setenv("DIB_PASSWORD", "canary")
    (image,) = planned(tmp_path, texts=[text])
    assert "root-passwd" in image["elements"]
    assert "canary" not in json.dumps(image)


def test_an_image_may_have_its_own_search_path(elements: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELEMENTS_PATH")
    text = f"""\
disk_images:
  - {{imagename: a, distro: some_awesome_distro, environment: {{ELEMENTS_PATH: {elements}}}}}
  - {{imagename: b, distro: some_awesome_distro}}
"""
    (tmp_path / "x.yaml").write_text(text)
    result = CliRunner().invoke(cli, ["plan", "--config", f"{tmp_path}/x.yaml"])
    assert isinstance(result.exception, InputError)
    assert [str(problem) for problem in result.exception.problems] == [
        f"there is no element some_awesome_distro ({tmp_path}/x.yaml:3)"
    ]


@pytest.mark.usefixtures("elements")
def test_options_of_an_image(tmp_path: Path) -> None:
    text = """\
disk_images:
  - imagename: a
    distro: some_awesome_distro
    skip_base: true
    docker_target: name:tag
    type: docker
    options: ["--mkfs-options '-s size=4096'", "--image-size 7 --min-tmpfs=7 --no-tmpfs", "-x"]
    environment: {FS_TYPE: xfs, DIB_PASSWORD: secret, DIB_RELEASE: 9}
    elements: [root-passwd]
"""
    (image,) = planned(tmp_path, texts=[text])
    command = shlex.join(image["command"])
    assert "--image-size 7" in command
    assert " -n " in command
    assert "--mkfs-options '-s size=4096'" in command
    assert "--no-tmpfs -x" in command
    assert image["environment"]["DIB_MIN_TMPFS"] == "7"
    assert image["environment"]["DIB_RELEASE"] == "9"
    assert image["environment"]["FS_TYPE"] == "xfs"
    assert "secret" not in json.dumps(image)
    assert "base" not in {element["name"] for element in image["resolved_elements"]}


def test_nothing_is_expected_of_a_distribution_that_nobody_knows(elements: Path, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(FIRST)
    (image,) = imageconfig.read([tmp_path / "x.yaml"], [], [])
    for release, environ in ((None, {}), ("9", {"DIB_RELEASE": "9"})):
        asked = samples.request({}, {"ELEMENTS_PATH": str(elements), **environ})
        expected = plans.expectation(prepare(request(image, asked, tmp_path)))
        assert (expected.distribution, expected.family, expected.release) == (None, None, release)


def test_an_image_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = """\
disk_images:
  - imagename: lb
    profile: amphora
    os: debian
    release: bookworm
    size: 3
    no_sshd: true
    type: qcow2,tar
    packages: [vim]
"""
    (image,) = planned(tmp_path, texts=[text])
    assert image["image"] == {
        **{"profile": "amphora", "arch": "amd64", "os": "debian-minimal", "release": "bookworm"},
        **{"backend": "haproxy-octavia", "size_gib": 3, "types": ["qcow2", "tar"], "output": f"{tmp_path}/lb.qcow2"},
    }
    assert "remove-sshd" in image["elements"]
    assert "asked" not in image


@pytest.mark.usefixtures("elements")
def test_an_image_goes_to_docker_besides(tmp_path: Path) -> None:
    entry = {"imagename": "a", "distro": "some_awesome_distro", "publish": ["docker:site/a:1"]}
    (image,) = planned(tmp_path, texts=[yaml.safe_dump({"disk_images": [entry]})])
    assert image["image"]["types"] == ["qcow2", "docker"]
    assert shlex.join(image["asked"]).endswith("-t qcow2,docker --docker-target site/a:1 some_awesome_distro")


def test_certificates_lie_beside_the_file_that_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site").mkdir()
    path = tmp_path / "site/x.yaml"
    path.write_text("disk_images:\n  - {imagename: a, profile: base, ca_certificate: [ca.pem, /nowhere/ca.pem]}\n")
    assert main(["plan", "--config", str(path), "--output-directory", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert f"{tmp_path}/site/ca.pem" in shown
    assert "/nowhere/ca.pem" in shown
    assert shown.count(f"({path}:2)") == 2


def test_problems_of_images_name_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("""\
disk_images:
  - imagename: lb
    profile: amphra
  - imagename: "a b"
    profile: amphora
  - imagename: small
    profile: amphora
    size: 0
    backend: nginx
  - imagename: c
    profile: base
    no_sshd: true
""")
    assert main(["plan", "--config", str(path), "-o", "x", "--output-directory", str(tmp_path)]) == 2
    shown = capsys.readouterr().err.replace(str(path), "FILE")
    for line in (
        "unknown profile 'amphra' (FILE:3)",
        "'a b' is no name of an image (FILE:4)",
        "size '0' is not a positive whole number (FILE:8)",
        "unknown backend 'nginx' (FILE:9)",
        "the profile base has no use for this option (FILE:12)",
        "it cannot hold for several images (--output)",
    ):
        assert f"error: {line}" in shown


@pytest.mark.usefixtures("elements")
def test_images_that_exist_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    entries = [{"imagename": name, "distro": "some_awesome_distro"} for name in "abc"]
    entries[1] |= {"imageext": "raw"}
    capsys.readouterr()
    path.write_text(yaml.safe_dump({"disk_images": entries}))
    for name in ("a.qcow2", "b.raw", "c.raw"):
        (tmp_path / name).touch()
    assert main(["plan", "--config", str(path), "--skip", "--output-directory", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert shown.err.count(" exists: skipped") == 2
    assert shown.out.count("image        ") == 1
    assert f"{tmp_path}/c.qcow2" in shown.out
    assert main(["plan", "--config", str(path), "--output-directory", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("image        ") == 3
    # What the command line asks for counts.
    assert main(["plan", "--config", str(path), "--skip", "-t", "raw", "--output-directory", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("image        ") == 1


@pytest.mark.usefixtures("elements")
def test_every_image_that_cannot_be_built_is_told_and_the_others_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.yaml"
    entries = [
        {
            "imagename": name,
            "distro": "some_awesome_distro",
        }
        for name in "abcd"
    ]
    path.write_text(yaml.safe_dump({"disk_images": entries}))
    failures = {"a": ImageRejected("a is bad"), "c": BuildError("c is broken")}
    asked: list[str] = []

    def run(job: Job, *_: object) -> Outcome:
        asked.append(job.name)
        if job.name in failures:
            return Outcome(job, error=failures[job.name])
        return Outcome(job, (Artifact("qcow2", job.plan.spec.path_of("qcow2"), "0" * 64, 1),))

    monkeypatch.setattr(pool, "run", run)
    monkeypatch.setattr("diskimage_create.cli.build.stop_on_signals", lambda: None)
    arguments = ["--config", str(path), "--output-directory", str(tmp_path), "-c", str(tmp_path / "cache")]
    assert main(["build", *arguments]) == 5
    shown = capsys.readouterr()
    assert sorted(shown.out.splitlines()) == [f"{tmp_path}/b.qcow2", f"{tmp_path}/d.qcow2"]
    assert "error: a is bad" in shown.err
    assert "error: c is broken" in shown.err
    assert sorted(asked) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("option", [["--image", "x"], ["--skip"]])
def test_options_that_say_nothing_without_a_file(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *option]) == 2
    assert f"it says nothing without --config ({option[0]})" in capsys.readouterr().err


def test_the_schema_is_printed_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for text in (FIRST, SECOND, BUILDERS):
        validator.validate(yaml.safe_load(text))
    assert not validator.is_valid({"disk_images": [{"imagename": "x", "element": []}]})
    for definition in ("image", "diskimage-builder-image"):
        assert all("description" in entry for entry in schema["$defs"][definition]["properties"].values())
