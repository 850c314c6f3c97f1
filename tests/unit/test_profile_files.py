"""The files of profiles: those that are shipped, those that users write, and those that are wrong."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from samples import plan, read

from contract import schema_errors
from diskimage_create import cli, profiles, requirements, yamlfile
from diskimage_create import plan as plans
from diskimage_create.errors import InputError
from diskimage_create.model import BuildPlan

SHIPPED = [name for name in profiles.names() if name != "amphora"]
PACKAGES = ("tripleo-image-elements", "tripleo-puppet-elements", "ironic-python-agent-builder/dib")
WHERE_THEY_ARE = [path for name in PACKAGES if (path := Path(sys.prefix, "share", name)).is_dir()]
ENVIRON = {"ELEMENTS_PATH": os.pathsep.join(map(str, WHERE_THEY_ARE)), "DIB_LOCAL_IMAGE": "/srv/rhel.qcow2"}

#: The smallest profile that says everything that it must
SMALL = """\
title: router
default_os: debian
operating_systems:
  debian:
elements:
  - names: [base, vm, "{os_element}"]
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*os.environ]:
        if name.startswith(("DIB_", "DISKIMAGE_CREATE_", "ELEMENTS_", "OCTAVIA_", "CLOUD_INIT", "AMP_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def written(path: Path, text: str = SMALL) -> Path:
    path.write_text(text)
    return path


def problems_of(text: str, tmp_path: Path) -> list[tuple[int, str, str | None]]:
    """(line, message, hint) of everything that is wrong with a profile."""
    path = written(tmp_path / "mine.yaml", text)
    with pytest.raises(InputError) as caught:
        profiles.read(path)
    found = []
    for problem in caught.value.problems:
        file, _, line = (problem.where or "").rpartition(":")
        assert file == str(path), problem
        found.append((int(line), problem.message, problem.hint))
    return found


# What is shipped


@pytest.mark.parametrize("name", profiles.names())
def test_a_shipped_profile_is_sound(name: str, tmp_path: Path) -> None:
    """Shipped ones are not checked when they are loaded. A copy is, like every profile that is a user's."""
    path = profiles.find(name)
    assert path is not None
    copy = written(tmp_path / path.name, path.read_text())
    assert profiles.read(copy) == profiles.load(name)
    assert schema_errors(yaml.safe_load(path.read_text()), "profile") == []


def combinations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    said = {"git_branch": "stable/2025.1", "root_password": "secret", "backend": "haproxy"}
    for name in profiles.names():
        profile = profiles.load(name)
        known = [option for option in profiles.OPTIONS if profile.knows(option)]
        for system in profile.operating_systems:
            yield name, system, {}
            yield name, system, {option: said.get(option, True) for option in known}
            yield name, system, {"package": ("strace",), "size": "20", "type": profile.types[-1]}


@pytest.mark.parametrize(("name", "system", "options"), [*combinations()])
def test_every_profile_plans_on_every_system_that_it_names(name: str, system: str, options: dict[str, Any]) -> None:
    """The real elements, resolved to the last one."""
    profile = profiles.load(name)
    wanted = {element for group in profile.requires_elements.values() for element in group}
    available = {path.name for place in WHERE_THEY_ARE for path in place.iterdir()}
    if missing := wanted - available:
        pytest.skip(f"the elements {', '.join(sorted(missing))} are not installed")
    made = plan({"profile": name, "os": system, "arch": "amd64", **options}, ENVIRON)
    assert isinstance(made, BuildPlan)
    resolved = {element.name for element in made.resolved}
    assert set(made.spec.elements) <= resolved
    assert made.spec.distribution == profile.operating_systems[system]["distribution"]
    assert {entry["element"] for entry in profile.expected} & resolved or not profile.expected
    assert made.command[-len(made.elements) :] == made.elements


@pytest.mark.parametrize("name", SHIPPED)
def test_elements_that_are_not_installed_are_named_with_the_extra_that_brings_them(name: str, tmp_path: Path) -> None:
    wanted = profiles.load(name).requires_elements
    if not wanted:
        pytest.skip("it needs no elements but ours and diskimage-builder's")
    with pytest.raises(InputError) as caught:
        # An ELEMENTS_PATH of one's own: what is installed elsewhere is not looked at.
        plan({"profile": name}, {"ELEMENTS_PATH": str(tmp_path)})
    assert [problem.hint for problem in caught.value.problems] == [f"pip install '{package}'" for package in wanted]
    for problem, names in zip(caught.value.problems, wanted.values(), strict=True):
        assert all(element in problem.message for element in names)


def test_the_extras_that_profiles_name_are_there() -> None:
    text = Path(__file__).parents[2].joinpath("setup.cfg").read_text()
    for name in SHIPPED:
        for package in profiles.load(name).requires_elements:
            assert f"\n{package.removeprefix('diskimage-create[').removesuffix(']')} =\n" in text


def test_the_overcloud_is_what_tripleo_common_describes() -> None:
    """Written after tripleo-common 18.0.0: overcloud-images-python3.yaml, with -centos9.yaml and -rhel9.yaml."""
    common = """
        baremetal openvswitch overcloud-base overcloud-controller overcloud-compute overcloud-ceph-storage
        puppet-modules stable-interface-names bootloader element-manifest dynamic-login iptables
        enable-packages-install override-pip-and-virtualenv dracut-regenerate remove-resolvconf openssh
        disable-nouveau reset-bls-entries
    """.split()
    centos = read({"profile": "overcloud-full", "os": "centos"})
    assert centos.elements == ("centos", *common, "selinux-permissive", "interface-names")
    assert (centos.release, centos.packages) == ("9-stream", ())
    assert centos.arguments == ("--min-tmpfs=7", "--mkfs-options", "-s size=4096")
    assert {name: setting.value for name, setting in centos.environment.items()} == {
        "FS_TYPE": "xfs",
        "DIB_PYTHON_VERSION": "3",
        "DIB_RELEASE": "9-stream",
    }
    rhel = read({"profile": "overcloud-full", "os": "rhel"}, ENVIRON)
    assert rhel.elements == ("rhel", *common, "interface-names")
    assert rhel.packages == ("rhosp-release",)


def test_what_the_environment_says_of_a_profiles_own_variables_counts() -> None:
    environment = read({"profile": "overcloud-full"}, {"FS_TYPE": "ext4"}).environment
    assert environment["FS_TYPE"].value == "ext4"


# Options


@pytest.mark.parametrize(
    ("profile", "options", "where"),
    [
        ("base", {"backend": "haproxy"}, "--backend"),
        ("base", {"no_sshd": True}, "--no-sshd"),
        ("base", {"cpu_pinning": True}, "--cpu-pinning"),
        ("base", {"git_branch": "master"}, "--git-branch"),
        ("base", {"package_agent": True}, "--package-agent"),
        ("base", {"fips": True}, "--fips"),
        ("overcloud-full", {"no_sshd": True}, "--no-sshd"),
        ("ironic-python-agent", {"enforce_mac": True}, "--enforce-mac"),
        ("ironic-python-agent", {"type": "qcow2"}, "--type"),
        ("amphora", {"type": "ramdisk"}, "--type"),
        ("amphora", {"type": "initramfs"}, "--type"),
    ],
)
def test_an_option_that_means_nothing_to_the_image_is_refused(
    profile: str, options: dict[str, Any], where: str
) -> None:
    with pytest.raises(InputError) as caught:
        read({"profile": profile, **options})
    (problem,) = caught.value.problems
    assert problem.where == where
    assert problem.hint


def test_what_is_refused_follows_from_the_facts_that_the_profile_names(tmp_path: Path) -> None:
    text = SMALL + "  - {names: [remove-sshd], when: {sshd: false}}\n"
    spec = read({"profile": str(written(tmp_path / "mine.yaml", text)), "no_sshd": True})
    assert spec.elements[-1] == "remove-sshd"
    with pytest.raises(InputError, match="the profile mine has no use for this option"):
        read({"profile": str(tmp_path / "mine.yaml"), "fips": True})


def test_a_flag_that_was_switched_off_asks_for_nothing() -> None:
    """E.g. DISKIMAGE_CREATE_FIPS=0."""
    assert read({"profile": "base", "fips": False, "no_sshd": False}).fips is False


def test_the_types_of_a_ramdisk_are_its_two_files() -> None:
    spec = read({"profile": "ironic-python-agent", "output": "x"})
    assert [spec.path_of(kind).name for kind in spec.types] == ["x.initramfs", "x.kernel"]


# Users' own


def test_a_new_kind_of_image_needs_a_file_and_no_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "profiles"
    directory.mkdir()
    more = """\
size_gib: 4
packages:
  - {names: [frr]}
  - {names: [strace], when: {distribution: debian}}
arguments:
  - {names: ["--mkfs-options", "-O ^metadata_csum"]}
environment:
  - {name: ROUTER_ID, value: "{distribution}-{arch}"}
expected:
  - {element: vm, packages: [frr]}
"""
    written(directory / "router.yaml", SMALL + more)
    os.environ[profiles.VARIABLE] = str(directory)
    try:
        assert cli.main(["plan", "--profile", "router", "-a", "amd64", "--format", "json"]) == 0
    finally:
        del os.environ[profiles.VARIABLE]
    data = json.loads(capsys.readouterr().out)
    assert schema_errors(data, "plan") == []
    assert data["image"]["profile"] == "router"
    assert (data["image"]["size_gib"], Path(data["image"]["output"]).name) == (4, "router.qcow2")
    assert data["elements"][:3] == ["base", "vm", "debian-minimal"]
    assert data["environment"]["ROUTER_ID"] == "debian-amd64"
    command = " ".join(data["command"])
    assert "-o router " in command
    assert "--mkfs-options -O ^metadata_csum -p frr -p strace base vm" in command


def test_a_profile_may_be_named_by_its_file(tmp_path: Path) -> None:
    written(tmp_path / "router.yaml")
    assert read({"profile": "router.yaml"}, cwd=tmp_path).profile == "router"
    assert read({"profile": str(tmp_path / "router.yaml")}).elements == ("base", "vm", "debian-minimal")


def test_a_users_profile_comes_before_ours_of_that_name(tmp_path: Path) -> None:
    written(tmp_path / "base.yaml", SMALL.replace("router", "my base"))
    assert read({"profile": "base"}, {profiles.VARIABLE: str(tmp_path)}).elements == ("base", "vm", "debian-minimal")
    assert "cloud-init" in read({"profile": "base"}).elements


@pytest.mark.parametrize(
    ("types", "element", "wrong"),
    [
        ("[qcow2]", "cloud-init", None),
        ("[ramdisk]", "no-final-image", None),
        ("[qcow2]", "no-final-image", "no disk is made"),
        ("[ramdisk]", "cloud-init", "none of the elements makes a ramdisk"),
    ],
)
def test_the_types_fit_what_the_elements_make(tmp_path: Path, types: str, element: str, wrong: str | None) -> None:
    path = written(tmp_path / "x.yaml", f"{SMALL}  - names: [{element}]\ntypes: {types}\n")
    made = plan({"profile": str(path)})
    with pytest.raises(InputError, match=wrong) if wrong else nullcontext():
        requirements.refuse(made.spec, made.resolved)


def test_what_validation_expects_is_what_the_conditions_say(tmp_path: Path) -> None:
    """Facts and variables are known when options are read, and some of them no more later."""
    more = """\
  - {names: [x], when: {git_branch: true}}
environment:
  - {name: WITH_SSH, value: "no"}
expected:
  - {element: vm, packages: [always], sshd: false}
  - {element: vm, packages: [from-git], when: {git_branch: true}}
  - {element: vm, packages: [ssh], sshd: true, when: {WITH_SSH: "yes"}}
  - {element: cloud-init, packages: [never]}
"""
    path = str(written(tmp_path / "x.yaml", SMALL + more))
    element = tmp_path / "elements/x"
    element.mkdir(parents=True)
    for branch, ssh in product((None, "master"), ("no", "yes")):
        environ = {"WITH_SSH": ssh, "ELEMENTS_PATH": str(element.parent)}
        expected = plans.expectation(plan({"profile": path, "git_branch": branch, "package": ("mine",)}, environ))
        wanted = ["always", *(["from-git"] if branch else []), *(["ssh"] if ssh == "yes" else []), "mine"]
        assert (list(expected.packages), expected.sshd) == (wanted, ssh == "yes")


def test_the_default_profile_is_the_amphora() -> None:
    assert read().profile == "amphora"


# What is wrong


def test_a_profile_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read({"profile": "rooter"}, {profiles.VARIABLE: f"{tmp_path}:/nowhere"})
    assert [problem.where for problem in caught.value.problems] == [profiles.VARIABLE, "--profile"]
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read({"profile": "./rooter.yaml"})


def test_everything_that_is_wrong_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
titel: router
title: router
default_os: debian
size_gib: "5"
types: [qcow2, vmdk]
operating_systems:
  debian: {family: debain, relase: x}
  plan9: 9
elements:
  - name: [base]
  - names: [vm]
    when: {}
environment:
  - {name: A, value: 1}
  - {name: A-B, value: x}
title: again
"""
    found = problems_of(text, tmp_path)
    assert [(line, re.split(r":| must| is| cannot| has", message)[0]) for line, message, _ in found] == [
        (1, "unknown key titel"),
        (4, "size_gib"),
        (5, "types.1"),
        (7, "operating_systems.debian.family"),
        (7, "operating_systems.debian"),
        (8, "operating_systems.plan9"),
        (10, "elements.0"),
        (10, "elements.0"),
        (12, "elements.1.when"),
        (14, "environment.0.value"),
        (15, "environment.1.name"),
        (16, "key 'title'"),
    ]
    hints = {line: hint for line, _, hint in found}
    assert hints[1] == "did you mean title?"
    assert hints[7] == "did you mean release?"
    assert "quotes" in str(hints[14])


def test_names_that_nobody_sets_are_found_before_they_do_harm(tmp_path: Path) -> None:
    text = (
        SMALL
        + """\
  - {names: ["{relase}"]}
  - {names: [x], when: {famly: debian}}
  - {names: [y], when: {LATER: "1", DIB_ANYTHING: true}}
environment:
  - {name: LATER, value: "{SOONER}"}
  - {name: SOONER, value: "{LATER} {release}"}
  - {name: BRACES, value: "{"}
"""
    )
    found = problems_of(text, tmp_path)
    assert sorted(line for line, _, _ in found) == [7, 8, 11, 13]
    assert {hint for _, _, hint in found} >= {"did you mean release?", "did you mean family?"}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (SMALL.replace("  debian:", "  plan9:"), 4, "plan9 needs element, distribution, family, release"),
        (SMALL.replace("default_os: debian", "default_os: ubuntu"), 2, "none of its operating_systems"),
        (SMALL + "  - [", 7, "is no YAML"),
        (SMALL.replace("  debian:", "  debian: {kernel: {variable: K, default: 'linux-{arhc}'}}"), 4, "cannot be"),
        (SMALL + '  - names: ["{release:z}"]', 7, "nothing sets 'releasez'"),
        (SMALL + '  - names: ["{release!r}"]', 7, "nothing sets 'releaser'"),
        (SMALL + '  - names: ["{}"]', 7, "nothing sets ''"),
        ("", 1, "must be a mapping"),
        ("- a\n- b\n", 1, "must be a mapping"),
        ("just text", 1, "must be a mapping"),
    ],
)
def test_other_mistakes(text: str, line: int, message: str, tmp_path: Path) -> None:
    found = problems_of(text, tmp_path)
    assert found[0][0] in (line, line + 1)
    assert message in found[0][1]


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read({"profile": str(path)})


_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["debian", "x", "{os_element}", "{", "a b", "", "{}", "{release:z}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["names", "when", "name", "value", "element", "debian", "sshd", "kernel"]), inner
        )
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([*yaml.safe_load(SMALL), "environment", "expected", "types", "packages"]), _ANYTHING
    )
)
def test_whatever_a_file_says_is_read_or_refused(changes: dict[str, Any]) -> None:
    """Nothing that can be written into a profile ends in a traceback."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "any.yaml")
        path.write_text(yaml.safe_dump({**yaml.safe_load(SMALL), **changes}))
        with suppress(InputError):
            assert read({"profile": str(path)}).profile == "any"


def test_lines_are_those_of_the_innermost_part_that_is_there(tmp_path: Path) -> None:
    file = yamlfile.read(written(tmp_path / "x.yaml"))
    assert file.where() == f"{file.path}:1"
    assert file.where("operating_systems", "debian") == f"{file.path}:4"
    assert file.where("operating_systems", "debian", "release", 3) == f"{file.path}:4"
    assert file.where("elements", 0, "names", 2) == f"{file.path}:6"
