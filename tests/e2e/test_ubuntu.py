"""The default image, Ubuntu's, built for real from a mirror that the tests make themselves: see mirror.py."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from building import COMMAND, Built, clean_environment, leftovers, run_build
from mirror import AGENT_PACKAGES, ROLE_PACKAGES, Mirror, skip_where_none_can_be_made, ubuntu_mirror

from diskimage_create import host
from diskimage_create.validate import CHECKS
from diskimage_create.validate.image import open_image
from diskimage_create.validate.view import ImageView

UBUNTU = ("-i", "ubuntu", "-d", "noble")
# Written down from the specification, as is the list of packages.
ELEMENTS = """
    base vm ubuntu-minimal haproxy-octavia rebind-sshd no-resolvconf amphora-agent octavia-lib sos
    cloud-init-datasources remove-default-ints amphora-apparmor keepalived-octavia ipvsadmin pip-cache certs-ramfs
""".split()


@dataclass(frozen=True)
class Ubuntu:
    """The image, the mirror that it came from, and what its build left behind."""

    built: Built
    mirror: Mirror
    left: set[str]

    @property
    def packages(self) -> dict[str, str]:
        """Name -> version of what the record says is installed."""
        return {package["package"]: package["version"] for package in self.built.record()["packages"]}


def on_mirror(url: str, keyring: Path) -> dict[str, str]:
    """The environment of a build from a mirror; a proxy has no business with loopback."""
    exempt = ",".join(filter(None, (os.environ.get("no_proxy"), "127.0.0.1")))
    proxies = {"no_proxy": exempt, "NO_PROXY": exempt} if os.environ.get("http_proxy") else {}
    return {"DIB_DISTRIBUTION_MIRROR": url, "DIB_APT_KEYRING": str(keyring), **proxies}


@pytest.fixture(scope="module")
def mirror(builds: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Mirror]:
    """Answers as long as the tests run; the packages are kept for the next run."""
    skip_where_none_can_be_made()
    assert pytestconfig.cache is not None
    with ubuntu_mirror(tmp_path_factory.mktemp("mirror"), pytestconfig.cache.mkdir("ubuntu-mirror")) as mirror:
        yield mirror


@pytest.fixture(scope="module")
def ubuntu(builds: Path, mirror: Mirror) -> Ubuntu:
    """The Ubuntu amphora."""
    directory = builds / "ubuntu"
    directory.mkdir()
    built = run_build(directory, *UBUNTU, env=on_mirror(mirror.url, mirror.keyring))
    assert built.returncode == 0, built.stderr[-4000:]
    return Ubuntu(built, mirror, leftovers())


@pytest.fixture(scope="module")
def findings(ubuntu: Ubuntu) -> dict[str, dict[str, Any]]:
    """Every check of the finished image, by name."""
    command = [*COMMAND, "validate", "--deep", "--format", "json", str(ubuntu.built.path())]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True), done.stderr
    return {finding["id"]: finding for finding in report["checks"]}


@pytest.fixture(scope="module")
def image(ubuntu: Ubuntu, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageView]:
    """The image, open to look into."""
    with open_image(ubuntu.built.path(), workspace=tmp_path_factory.mktemp("open")) as view:
        yield view


def test_the_plan_is_octavias(builds: Path) -> None:
    plans = []
    for options in ((), UBUNTU):
        command = [*COMMAND, "plan", "--format", "json", *options]
        done = subprocess.run(command, cwd=builds, env=clean_environment(), capture_output=True, text=True, check=True)
        plans.append(json.loads(done.stdout))
    default, plan = plans
    assert plan["elements"] == ELEMENTS
    assert plan["command"][-len(ELEMENTS) :] == ELEMENTS
    assert plan["environment"]["DIB_UBUNTU_KERNEL"] == "linux-image-virtual"
    # Ubuntu's noble is what is built without being asked for.
    assert default["local_fingerprint"] == plan["local_fingerprint"]


def test_it_prints_the_image_and_leaves_nothing_else(ubuntu: Ubuntu) -> None:
    assert ubuntu.built.stdout.splitlines() == [str(ubuntu.built.path())]
    extensions = ("log", "qcow2", "qcow2.json", "qcow2.sha256")
    assert sorted(ubuntu.built.directory.iterdir()) == [ubuntu.built.path(extension) for extension in extensions]
    assert ubuntu.left == set()


def test_the_record_says_what_was_built(ubuntu: Ubuntu) -> None:
    record = ubuntu.built.record()
    image, expected = record["image"], record["expectation"]
    assert (image["os"], image["release"]) == ("ubuntu-minimal", "noble")
    assert (expected["distribution"], expected["release"]) == ("ubuntu", "noble")
    assert record["elements"] == ELEMENTS
    assert record["validation"]["ok"] is True


#: Of what an amphora has not
OF_OTHERS = {"ramdisk", "custom-ca", "first-boot", "stack-user", "local-keys", "cfn-tools", "efi-boot", "gpt-headers"}


@pytest.mark.parametrize("name", [check.id for check in CHECKS if check.id not in OF_OTHERS])
def test_it_passes_the_check(ubuntu: Ubuntu, findings: dict[str, dict[str, Any]], name: str) -> None:
    finding = findings[name]
    if name in ("secrets", "element-checks"):
        # Only the build knows secrets, and runs what is in the image without being told to.
        (finding,) = (f for f in ubuntu.built.record()["validation"]["checks"] if f["id"] == name)
    assert finding["status"] == "pass", finding["message"]


def test_it_is_ubuntu_noble(findings: dict[str, dict[str, Any]], image: ImageView) -> None:
    assert "Ubuntu 24.04" in findings["os-release"]["message"]
    lines = (image.root.read_text("/etc/os-release") or "").splitlines()
    assert {"ID=ubuntu", "VERSION_CODENAME=noble"} <= set(lines)


def test_all_packages_of_an_amphora_are_installed(ubuntu: Ubuntu) -> None:
    ubuntus_own = {"pollinate", "ubuntu-cloudimage-keyring"}
    assert {*AGENT_PACKAGES, *ROLE_PACKAGES, *ubuntus_own} - ubuntu.packages.keys() == set()


def test_the_kernel_is_the_one_for_virtual_machines(ubuntu: Ubuntu, findings: dict[str, dict[str, Any]]) -> None:
    assert ubuntu.built.record()["environment"]["DIB_UBUNTU_KERNEL"] == "linux-image-virtual"
    assert "linux-image-virtual" in ubuntu.packages
    assert "linux-image-generic" not in ubuntu.packages
    assert findings["kernel"]["message"].endswith("-cloud-amd64")


def test_every_suite_of_the_mirror_is_used_for_what_it_is(ubuntu: Ubuntu) -> None:
    # noble has 1.0 of both, noble-updates 1.1, noble-security 1.2; backports, with 2.0, only on request.
    assert ubuntu.packages["pollinate"] == "1.1"
    assert ubuntu.packages["ubuntu-cloudimage-keyring"] == "1.2"


def test_rsyslog_may_make_the_agents_socket(image: ImageView) -> None:
    assert "/run/rsyslog/octavia/log" in (image.root.read_text("/etc/apparmor.d/rsyslog.d/octavia") or "")


def test_the_image_installs_from_the_mirror_that_was_named(ubuntu: Ubuntu, image: ImageView) -> None:
    suites = ("noble", "noble-updates", "noble-security", "noble-backports")
    assert (image.root.read_text("/etc/apt/sources.list") or "").splitlines() == [
        f"deb {ubuntu.mirror.url} {suite} main universe" for suite in suites
    ]


def test_nothing_of_this_host_is_in_the_image(ubuntu: Ubuntu, image: ImageView) -> None:
    facts = host.detect(dict(os.environ))
    addresses = {urlsplit(source.uri).netloc for source in facts.apt_sources}
    certificates = {path.name for path in facts.ca_certificates}
    for place in ("etc/apt", "etc/dib-manifests", "etc/ssl", "usr/local/share", "root"):
        for path in sorted(Path(image.root.path, place).rglob("*")):
            if path.is_file() and not path.is_symlink():
                text = path.read_bytes().decode(errors="replace")
                assert [part for part in addresses if part in text] == [], path
            assert path.name not in certificates


@pytest.mark.parametrize("wrong", ["nobody signed it", "somebody else signed it"])
def test_a_mirror_that_cannot_be_trusted_is_refused(
    builds: Path, mirror: Mirror, nothing_left: None, wrong: str
) -> None:
    directory = builds / wrong.replace(" ", "-")
    directory.mkdir()
    url, keyring = (mirror.unsigned_url, mirror.keyring)
    if wrong == "somebody else signed it":
        url, keyring = (mirror.url, mirror.wrong_keyring)
    built = run_build(directory, *UBUNTU, env=on_mirror(url, keyring))
    assert built.returncode == 4, built.stderr[-4000:]
    assert "root.d/08-debootstrap" in built.stderr
    assert "is not signed" in built.stderr
    assert "is not signed" in built.log
    assert [path.name for path in directory.iterdir()] == [built.path("log").name]
