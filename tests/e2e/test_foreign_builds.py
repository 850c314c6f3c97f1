"""An image of another architecture than the machine's: programs of armhf are emulated while it is built."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from building import Built, clean_environment, leftovers, run_build
from emulation import emulation

from contract import schema_errors
from diskimage_create import host
from diskimage_create.architectures import BINFMT_MISC, Runs, emulated
from diskimage_create.validate.formats.executables import parse_elf_machine

#: What only a program of the image can say: the machine that the emulator makes up for it
PROMISE = """\
def test_machine(host):
    assert host.check_output("uname -m") == "armv7l"
"""


@pytest.fixture(scope="module")
def armhf(builds: Path) -> Iterator[Built]:
    """From the release alone: mirrors do not all have the other archives' armhf at all times.

    Without an initial RAM disk, which nothing boots, and for which thousands of short programs would be emulated.
    """
    facts = host.detect(clean_environment())
    if host.how_it_runs("armhf", facts) is Runs.NATIVE:
        pytest.skip("armhf is not foreign here")
    mirror = facts.mirror("debian") or "http://deb.debian.org/debian"
    directory = builds / "armhf"
    checks = directory / "elements/promising/checks"
    checks.mkdir(parents=True)
    (checks / "test_promise.py").write_text(PROMISE)
    (checks.parent / "README.rst").write_text("Brings a check.\n")
    variables = {
        "DIB_APT_SOURCES_CONF": f"default:deb {mirror} bookworm main",
        "ELEMENTS_PATH": str(directory / "elements"),
    }
    line = ("--profile", "base", "-i", "debian", "-d", "bookworm", "-a", "armhf", "-t", "tar", "--element", "promising")
    line += ("--env", "INITRD=No")
    with emulation("armhf"):
        built = replace(run_build(directory, *line, env=variables), name="base")
        assert built.returncode == 0, built.stderr[-4000:]
        yield built


def content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def test_what_the_tests_enable_they_disable() -> None:
    """It comes first: the build keeps them enabled until the last test."""
    before = ((BINFMT_MISC / "status").exists(), emulated())
    with emulation("armhf"):
        assert "armhf" in emulated()
    assert ((BINFMT_MISC / "status").exists(), emulated()) == before


def test_the_archive_holds_a_system_of_armhf(armhf: Built) -> None:
    with tarfile.open(armhf.path("tar")) as archive:
        assert parse_elf_machine(content(archive, "./usr/bin/dpkg")) == (40, 32)
        status = content(archive, "./var/lib/dpkg/status").decode()
        names = set(archive.getnames())
    (dpkg,) = [entry for entry in status.split("\n\n") if entry.startswith("Package: dpkg\n")]
    assert "Architecture: armhf" in dpkg.splitlines()
    assert "Architecture: amd64" not in status
    assert [name for name in names if name.startswith("./boot/vmlinuz-") and name.endswith("-armmp")]
    assert [name for name in names if name.startswith("./boot/initrd")] == []
    # The emulator is the host's.
    assert [name for name in names if "qemu-arm" in name] == []


def test_its_record_says_so(armhf: Built) -> None:
    record = armhf.record("tar")
    assert schema_errors(record, "record") == []
    assert record["image"]["arch"] == "armhf"
    assert {package["architecture"] for package in record["packages"]} == {"armhf", "all"}
    statuses = {check["id"]: check["status"] for check in record["validation"]["checks"]}
    assert not {"fail", "warn"} & set(statuses.values())
    assert statuses["architecture"] == "pass"
    assert {statuses[check] for check in ("boot-loader", "kernel", "fstab")} == {"skip"}
    assert statuses.get("promising/test_machine", statuses["element-checks"]) in ("pass", "skip")


def test_the_user_is_told(armhf: Built) -> None:
    assert "note: programs of armhf are emulated on this" in armhf.stderr
    assert "note: vm is left out" in armhf.stderr
    assert leftovers() == set()
