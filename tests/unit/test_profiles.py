"""The amphora's elements and environment, from a table written after Octavia's tool and not after our YAML."""

from __future__ import annotations

from itertools import product

import pytest
from samples import read, values

from diskimage_create import profiles
from diskimage_create.model import Source

# -i -> distribution element, default release, family, kernel variable and default
OPERATING_SYSTEMS = {
    "ubuntu": ("ubuntu-minimal", "noble", "debian", ("DIB_UBUNTU_KERNEL", "linux-image-virtual")),
    "ubuntu-minimal": ("ubuntu-minimal", "noble", "debian", ("DIB_UBUNTU_KERNEL", "linux-image-virtual")),
    "debian": ("debian-minimal", "trixie", "debian", ("DIB_DEBIAN_KERNEL", "linux-image-cloud-amd64")),
    "debian-minimal": ("debian-minimal", "trixie", "debian", ("DIB_DEBIAN_KERNEL", "linux-image-cloud-amd64")),
    "fedora": ("fedora", "37", "redhat", None),
    "centos": ("centos-minimal", "10-stream", "redhat", None),
    "centos-minimal": ("centos-minimal", "10-stream", "redhat", None),
    "rocky": ("rocky-container", "10", "redhat", None),
    "rhel": ("rhel", "10", "redhat", None),
}
FLAGS = {
    "m": "cpu_pinning", "n": "no_sshd", "y": "fips", "e": "enforce_mac", "r": "root_password", "p": "package_agent",
    "g": "git_branch",
}  # fmt: skip
EXTRA = {"rhel": {"DIB_LOCAL_IMAGE": "/srv/rhel.qcow2"}}


def options_of(os: str, letters: str) -> dict[str, object]:
    said = {"r": "secret", "g": "stable/2025.1"}
    return {"os": os, **{FLAGS[letter]: said.get(letter, True) for letter in letters}}


def octavia_elements(os: str, letters: str) -> list[str]:
    """amphora.md, "Element list, in this order", read aloud."""
    distribution, _, family, _ = OPERATING_SYSTEMS[os]
    names = ["base", "vm", distribution, "haproxy-octavia"]
    if "r" in letters:
        names += ["root-passwd"]
    names += (
        "rebind-sshd no-resolvconf amphora-agent octavia-lib sos cloud-init-datasources remove-default-ints".split()
    )
    if family == "redhat":
        names += ["amphora-selinux" if "e" in letters else "selinux-permissive"]
    if family == "debian":
        names += ["amphora-apparmor"]
    if family == "redhat":
        names += ["disable-makecache"]
    names += "keepalived-octavia ipvsadmin pip-cache certs-ramfs".split()
    if "m" in letters:
        names += ["cpu-pinning"]
    if "n" in letters:
        names += ["remove-sshd"]
    if "y" in letters:
        names += ["amphora-fips"]
    return names


def octavia_environment(os: str, letters: str) -> dict[str, str]:
    """amphora.md, "Environment handed to the build"."""
    _, release, _, kernel = OPERATING_SYSTEMS[os]
    expected = {
        "DIB_RELEASE": release,
        "DIB_OCTAVIA_AMP_USE_NFTABLES": "True",
        "DIB_OCTAVIA_AMP_USE_SSH": "False" if "n" in letters else "True",
        "CLOUD_INIT_DATASOURCES": "ConfigDrive",
        "DIB_CLOUD_INIT_DATASOURCES": "ConfigDrive",
        "DIB_GRUB_TIMEOUT": "0",
        **EXTRA.get(os, {}),
    }
    if kernel:
        expected[kernel[0]] = kernel[1]
    if "p" in letters:
        expected["DIB_INSTALLTYPE_amphora_agent"] = "package"
    if "g" in letters:
        expected["DIB_REPOREF_amphora_agent"] = "stable/2025.1"
        expected["DIB_REPOLOCATION_upper_constraints"] = (
            "https://opendev.org/openstack/requirements/raw/branch/stable/2025.1/upper-constraints.txt"
        )
    if os.startswith("centos"):
        expected["DIB_YUM_MINIMAL_CREATE_INTERFACES"] = "0"
    return expected


@pytest.mark.parametrize("os", OPERATING_SYSTEMS)
def test_elements_and_environment_for_every_combination_of_options(os: str) -> None:
    for chosen in product(*(("", letter) for letter in FLAGS)):
        letters = "".join(chosen)
        spec = read(options_of(os, letters), EXTRA.get(os))
        assert list(spec.elements) == octavia_elements(os, letters), letters
        assert values(spec.environment) == octavia_environment(os, letters), letters
        assert spec.release == OPERATING_SYSTEMS[os][1]
        assert spec.family == OPERATING_SYSTEMS[os][2]


def test_the_table_has_every_operating_system() -> None:
    assert set(profiles.load("amphora").operating_systems) == set(OPERATING_SYSTEMS)


def test_fedora_is_the_release_that_diskimage_builder_builds() -> None:
    from diskimage_create.elements import builtin

    text = (builtin() / "fedora/environment.d/10-fedora-distro-name.bash").read_text()
    assert f"DIB_RELEASE:-{OPERATING_SYSTEMS['fedora'][1]}}}" in text


def test_dib_elements_replace_the_whole_list() -> None:
    spec = read(options_of("rocky", "mnyer"), {"DIB_ELEMENTS": "vm  debian-minimal"})
    assert spec.elements == ("vm", "debian-minimal")


def test_local_elements_come_last() -> None:
    environ = {"DIB_LOCAL_ELEMENTS": "mine other", "DIB_LOCAL_ELEMENTS_PATH": "/srv/elements"}
    assert read({"os": "debian"}, environ).elements[-3:] == ("certs-ramfs", "mine", "other")
    assert read({}, {**environ, "DIB_ELEMENTS": "vm ubuntu"}).elements == ("vm", "ubuntu", "mine", "other")
    assert read({"element": ("third",)}, environ).elements[-3:] == ("mine", "other", "third")


def test_an_element_is_asked_for_once() -> None:
    """Twice, diskimage-builder takes an element that provides another for a conflict with itself."""
    assert read({"os": "debian", "element": ("debian-minimal", "vm")}).elements == read({"os": "debian"}).elements


def test_the_element_sequence_replaces_the_first_two() -> None:
    spec = read({"os": "debian"}, {"AMP_element_sequence": "base baremetal grub2"})
    assert list(spec.elements) == ["base", "baremetal", "grub2", *octavia_elements("debian", "")[2:]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("False", "2"), ("True", None), ("", None), (None, None)],
    ids=["no", "yes", "empty", "unset"],
)
def test_python_2_on_demand(value: str | None, expected: str | None) -> None:
    environ = {} if value is None else {"USE_PYTHON3": value}
    assert values(read({}, environ).environment).get("DIB_PYTHON_VERSION") == expected


@pytest.mark.parametrize(
    ("os", "release", "expected"), [("rhel", "8", "package"), ("rhel", "9", None), ("rocky", "8", None)]
)
def test_rhel_8_takes_pip_from_packages(os: str, release: str, expected: str | None) -> None:
    environment = read({"os": os, "release": release}, EXTRA["rhel"]).environment
    assert values(environment).get("DIB_INSTALLTYPE_pip_and_virtualenv") == expected
    assert (
        expected is None
        or values(read({"os": "rhel"}, {**EXTRA["rhel"], "DIB_RELEASE": "8"}).environment)[
            "DIB_INSTALLTYPE_pip_and_virtualenv"
        ]
    )


@pytest.mark.parametrize(
    "variable",
    [
        *("DIB_OCTAVIA_AMP_USE_NFTABLES", "DIB_GRUB_TIMEOUT", "DIB_CLOUD_INIT_DATASOURCES", "CLOUD_INIT_DATASOURCES"),
        *("DIB_YUM_MINIMAL_CREATE_INTERFACES", "DIB_SOMETHING_NEW", "DIB_REPOREF_octavia_lib"),
    ],
)
def test_variables_of_the_environment_are_passed_on_and_win_over_the_profile(variable: str) -> None:
    setting = read({"os": "centos"}, {variable: "mine"}).environment[variable]
    assert (setting.value, setting.source) == ("mine", Source.ENVIRONMENT)


def test_data_sources_are_told_to_diskimage_builder_too() -> None:
    environment = values(read({}, {"CLOUD_INIT_DATASOURCES": "OpenStack, ConfigDrive"}).environment)
    assert environment["DIB_CLOUD_INIT_DATASOURCES"] == "OpenStack, ConfigDrive"


def test_nothing_else_of_the_environment_is_passed_on() -> None:
    noise = {"HOME": "/h", "AWS_SECRET": "x", "DISKIMAGE_CREATE_SIZE": "9", "USE_PYTHON3": "True", "DIBX": "1"}
    assert values(read({}, noise).environment) == values(read().environment)


def test_values_of_the_user_are_no_templates() -> None:
    environment = values(read({"git_branch": "{release}"}, {"CLOUD_INIT_DATASOURCES": "{os_element}"}).environment)
    assert environment["DIB_REPOREF_amphora_agent"] == "{release}"
    assert environment["DIB_CLOUD_INIT_DATASOURCES"] == "{os_element}"


@pytest.mark.parametrize(
    ("condition", "facts", "expected"),
    [
        (None, {}, True),
        ({"a": True}, {"a": "text"}, True),
        ({"a": True}, {"a": ""}, False),
        ({"a": False}, {}, True),
        ({"a": "8"}, {"a": 8}, True),
        ({"a": ["x", "y"]}, {"a": "y"}, True),
        ({"a": ["x", "y"]}, {"a": "z"}, False),
        ({"a": "x", "b": "y"}, {"a": "x"}, False),
    ],
)
def test_conditions(condition: dict[str, object] | None, facts: dict[str, object], expected: bool) -> None:
    assert profiles.matches(condition, facts) is expected


def test_every_required_package_belongs_to_an_element_of_the_profile() -> None:
    profile = profiles.load("amphora")
    names = {name for entry in profile.elements for name in entry["names"]} | set(profile.backends.values())
    assert {entry["element"] for entry in profile.expected} <= names
    with pytest.raises(KeyError):
        profiles.load("../amphora")
