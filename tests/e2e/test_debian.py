"""The main job: a Debian 12 amphora, built for real."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest
from building import COMMAND, Built, clean_environment, leftovers

from contract import schema_errors
from diskimage_create import host

# Written down from the specification, not from the elements.
PACKAGES = """
    acl acpid apparmor apt-transport-https at bash-completion cloud-guest-utils cloud-init cron curl dbus dmeventd
    ethtool gawk ifenslave ifupdown iptables iputils-tracepath irqbalance isc-dhcp-client less logrotate lsof net-tools
    netbase netcat-openbsd nftables open-vm-tools openssh-client openssh-server psmisc python3 rsyslog socat tcpdump
    tmux uuid-runtime vim-tiny vlan haproxy iputils-ping keepalived ipvsadm cryptsetup
""".split()


def test_it_leaves_the_image_its_record_and_its_checksum(bookworm: Built) -> None:
    assert bookworm.stdout.splitlines() == [str(bookworm.path()), str(bookworm.path("tar"))]
    for extension in ("qcow2", "tar"):
        image = bookworm.path(extension)
        digest, name = bookworm.path(f"{extension}.sha256").read_text().split()
        assert name == image.name
        with image.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == digest
        recorded = {artifact["path"]: artifact for artifact in bookworm.record(extension)["artifacts"]}
        assert recorded[image.name]["sha256"] == digest
        assert recorded[image.name]["bytes"] == image.stat().st_size
    assert [path.name for path in bookworm.directory.glob(".*")] == []


def test_the_record_says_what_was_built(bookworm: Built) -> None:
    record = bookworm.record()
    assert schema_errors(record, "record") == []
    image = record["image"]
    assert (image["os"], image["release"], image["size_gib"]) == ("debian-minimal", "bookworm", 5)
    assert record["built"] is True
    assert record["validation"]["ok"] is True
    assert {timing["phase"] for timing in record["timings"]} >= {"root", "install", "finalise", "convert", "total"}


def test_all_packages_of_an_amphora_are_installed(bookworm: Built) -> None:
    installed = {package["package"] for package in bookworm.record()["packages"]}
    assert set(PACKAGES) - installed == set()


def test_nothing_was_installed_to_build_with(bookworm: Built) -> None:
    installed = {package["package"] for package in bookworm.record()["packages"]}
    assert (
        installed & {"gcc", "make", "git", "dkms", "packagekit", "software-properties-common", "python3-pip"} == set()
    )


def test_the_host_lent_its_certificates_and_got_them_back(bookworm: Built) -> None:
    facts = host.detect(clean_environment())
    if not facts.ca_certificates:
        pytest.skip("this host has no CA certificates of its own to lend")
    checks = {check["id"]: check for check in bookworm.record()["validation"]["checks"]}
    assert len(bookworm.record()["expectation"]["lent_certificates"]) >= len(facts.ca_certificates)
    assert checks["host-certificates"]["status"] == "pass"
    # Every file of the image was searched for them while it was built.
    assert checks["secrets"]["status"] == "pass"


@pytest.mark.parametrize("extension", ["qcow2", "tar"])
def test_validate_finds_it_good(bookworm: Built, extension: str) -> None:
    command = [*COMMAND, "validate", str(bookworm.path(extension)), "--format", "json"]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert schema_errors(report, "validation") == []
    assert done.returncode == 0, done.stdout
    statuses = {check["id"]: check["status"] for check in report["checks"]}
    assert not {"fail", "warn"} & set(statuses.values())
    always = {"image-intact", "os-release", "architecture", "packages", "haproxy", "keepalived", "agent-files"}
    disk = {"virtual-size", "partitions", "filesystem-clean", "boot-loader", "free-space"}
    for check in always | (disk if extension == "qcow2" else set()):
        assert statuses[check] == "pass", check
    assert leftovers() == set()


def test_the_log_is_whole_and_quiet(bookworm: Built) -> None:
    assert "Build completed successfully" in bookworm.log
    assert "ERROR" not in bookworm.log


def test_the_qcow2_is_compressed_with_zstd(bookworm: Built) -> None:
    info = subprocess.run(
        ["qemu-img", "info", "--output=json", str(bookworm.path())], capture_output=True, text=True, check=True
    )
    described = json.loads(info.stdout)
    assert described["format-specific"]["data"]["compression-type"] == "zstd"
    assert described["virtual-size"] == 5 * 2**30


def test_the_default_release_is_built_too(trixie: Built) -> None:
    record = trixie.record("raw")
    assert record["image"]["release"] == "trixie"
    assert record["validation"]["ok"] is True
    assert {package["package"] for package in record["packages"]} >= set(PACKAGES)
    assert leftovers() == set()
