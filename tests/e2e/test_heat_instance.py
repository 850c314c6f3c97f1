"""Heat's instance, the seed's combination of elements: built, checked, and booted in QEMU."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from building import COMMAND, REPRODUCIBLE, Built, clean_environment, leftovers, run_build
from machine import Key, Machine, booted, make_key

from contract import schema_errors
from diskimage_create import host

CFN_TOOLS = ["cfn-create-aws-symlinks", "cfn-get-metadata", "cfn-hup", "cfn-init", "cfn-push-stats", "cfn-signal"]
OF_THE_ELEMENTS = {"first-boot", "stack-user", "local-keys", "cfn-tools", "sshd", "cloud-init-datasources"}
OF_AMPHORAE = {"haproxy", "keepalived", "agent-entry-points", "agent-files", "agent-services"}

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="these images are for amd64 and i386")


@pytest.fixture(scope="module")
def builders_key(builds: Path) -> Key:
    """The key of whoever builds the image."""
    return make_key(builds, "builder")


@pytest.fixture(scope="module")
def clouds_key(builds: Path) -> Key:
    """The key pair that the machine is started with."""
    return make_key(builds, "cloud")


def build(builds: Path, arch: str, key: Key, **variables: str) -> Built:
    """The seed's line."""
    home = builds / f"home-{arch}"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/authorized_keys").write_text(key.public.read_text())
    directory = builds / f"heat-{arch}"
    directory.mkdir()
    line = ("--profile", "heat-instance", "-i", "debian", "-d", "bookworm", "-a", arch, "-u", "-o", "bootstrap")
    env = {**REPRODUCIBLE, "HOME": str(home), **variables}
    built = replace(run_build(directory, *line, env=env), name="bootstrap")
    assert built.returncode == 0, built.stderr[-4000:]
    return built


@pytest.fixture(scope="module")
def amd64(builds: Path, builders_key: Key) -> Built:
    return build(builds, "amd64", builders_key)


@pytest.fixture(scope="module")
def i386(builds: Path, builders_key: Key) -> Built:
    """From the release alone: mirrors of the security archive do not all have i386 at all times."""
    mirror = host.detect(clean_environment()).mirror("debian") or "http://deb.debian.org/debian"
    sources = f"default:deb {mirror} bookworm main"
    return build(builds, "i386", builders_key, DIB_APT_SOURCES_CONF=sources)


@pytest.fixture(scope="module")
def machine(
    amd64: Built, builders_key: Key, clouds_key: Key, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """The image, booted."""
    metadata = meta_data("amd64", clouds_key)
    with booted(amd64.path(), "amd64", metadata, tmp_path_factory.mktemp("boot"), "stack") as running:
        running.wait_for_ssh(builders_key)
        yield running


def meta_data(arch: str, key: Key) -> dict[str, object]:
    return {"uuid": f"heat-{arch}", "hostname": "from-the-cloud", "public_keys": {"k": key.public.read_text()}}


def checks(built: Built) -> dict[str, str]:
    """What ``validate`` finds: check -> status. The image has to be good."""
    command = [*COMMAND, "validate", str(built.path()), "--format", "json"]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert schema_errors(report, "validation") == []
    assert done.returncode == 0, done.stdout
    return {check["id"]: check["status"] for check in report["checks"]}


@pytest.mark.parametrize("arch", ["amd64", "i386"])
def test_the_seeds_line_builds_an_image_that_passes_its_checks(arch: str, request: pytest.FixtureRequest) -> None:
    built: Built = request.getfixturevalue(arch)
    record = built.record()
    assert schema_errors(record, "record") == []
    assert record["image"]["arch"] == arch
    assert record["image"]["profile"] == "heat-instance"
    statuses = checks(built)
    assert not {"fail", "warn"} & set(statuses.values())
    for check in OF_THE_ELEMENTS | {"architecture", "kernel", "boot-loader", "authorized-keys", "user-passwords"}:
        assert statuses[check] == "pass", check
    assert {statuses[check] for check in OF_AMPHORAE} == {"skip"}
    assert leftovers() == set()


def test_uncompressed_means_no_compressed_cluster(amd64: Built) -> None:
    command = ["qemu-img", "check", "--output=json", str(amd64.path())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout).get("compressed-clusters", 0) == 0


def test_nothing_was_installed_to_build_with(amd64: Built) -> None:
    installed = {package["package"] for package in amd64.record()["packages"]}
    assert installed & {"gcc", "make", "git", "python3-pip", "python3-boto", "heat-cfntools"} == set()


def test_stack_is_root_without_a_password(machine: Machine, builders_key: Key) -> None:
    assert machine.ssh("id -un && sudo -n id -un", builders_key).stdout.split() == ["stack", "root"]
    assert machine.ssh("sudo -n grep ^stack: /etc/shadow", builders_key).stdout.split(":")[1].startswith("!")


def test_the_cloud_names_it_and_lets_its_own_key_in(machine: Machine, builders_key: Key, clouds_key: Key) -> None:
    state = machine.ssh("cloud-init status --wait; hostname", builders_key).stdout.split()
    assert state[-3:] == ["status:", "done", "from-the-cloud"]
    assert machine.ssh("id -un", clouds_key).stdout == "stack\n"


def test_nobody_else_gets_in(machine: Machine, builders_key: Key, tmp_path: Path) -> None:
    stranger = make_key(tmp_path, "stranger")
    assert machine.ssh("true", stranger, check=False).returncode != 0
    assert replace(machine, user="root").ssh("id", builders_key, check=False).returncode != 0


def test_every_unit_came_up(machine: Machine, builders_key: Key) -> None:
    done = machine.ssh("systemctl is-system-running --wait; systemctl --failed --no-legend", builders_key)
    assert done.stdout.split() == ["running"]


def test_heats_tools_are_where_templates_look_for_them(machine: Machine, builders_key: Key) -> None:
    for place in ("/opt/aws/bin", "/usr/local/bin"):
        assert machine.ssh(f"cd {place} && ls cfn-*", builders_key).stdout.split() == CFN_TOOLS
    assert machine.ssh("/opt/aws/bin/cfn-init --help", builders_key).stdout.startswith("usage: cfn-init")


def test_the_root_file_system_fills_the_disk(machine: Machine, builders_key: Key) -> None:
    kibibytes = int(machine.ssh("df --output=size / | tail -1", builders_key).stdout)
    assert kibibytes > 4 * 2**20  # of a disk of 5 GiB; the image has 3


def test_names_are_looked_up_by_the_machine_itself(machine: Machine, builders_key: Key) -> None:
    done = machine.ssh("readlink /etc/resolv.conf; networkctl --no-legend | grep ether", builders_key)
    link, setup = done.stdout.splitlines()
    assert link.endswith("/systemd/resolve/stub-resolv.conf")
    assert setup.split()[-2:] == ["routable", "configured"]


@pytest.mark.full
def test_i386_boots_too(i386: Built, builders_key: Key, clouds_key: Key, tmp_path: Path) -> None:
    with booted(i386.path(), "i386", meta_data("i386", clouds_key), tmp_path, "stack") as running:
        running.wait_for_ssh(builders_key)
        done = running.ssh("systemctl is-system-running --wait; systemctl --failed --no-legend; uname -m", builders_key)
        assert done.stdout.split() == ["running", "i686"]
        done = running.ssh("sudo -n id -un; /opt/aws/bin/cfn-init --help", builders_key)
        assert done.stdout.startswith("root\nusage: cfn-init")
