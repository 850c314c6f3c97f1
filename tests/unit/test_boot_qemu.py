"""The machine's command line, and what decides about it."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from diskimage_create import process
from diskimage_create.boot import qemu
from diskimage_create.boot.firmware import Uefi, find_uefi, needs_uefi
from diskimage_create.boot.qemu import Forward, Guest, Network
from diskimage_create.errors import HostError, InputError
from diskimage_create.validate.formats.disk import BIOS_BOOT, EFI_SYSTEM, Disk, Partition

NETWORKS = (
    Network("10.0.2.0/24", "52:54:00:00:02:0f", (Forward(1234, 9443),)),
    Network("10.0.3.0/24", "52:54:00:00:03:0f", (Forward(4321, 80, "10.0.3.15"),), restricted=False),
)
GUEST = Guest("amd64", "tcg", Path("/w/disk.qcow2"), Path("/w/config.iso"), NETWORKS)


def words(guest: Guest) -> list[str]:
    return qemu.command(guest, Path("/w/console"), Path("/w/report"))


def after(guest: Guest, option: str) -> list[str]:
    given = words(guest)
    return [given[index + 1] for index, word in enumerate(given) if word == option]


def test_ports_are_open_on_loopback_alone() -> None:
    first, second = after(GUEST, "-netdev")
    assert first == "user,id=net0,ipv6=off,net=10.0.2.0/24,restrict=on,hostfwd=tcp:127.0.0.1:1234-:9443"
    assert second == "user,id=net1,ipv6=off,net=10.0.3.0/24,restrict=off,hostfwd=tcp:127.0.0.1:4321-10.0.3.15:80"


def test_nothing_of_the_users_configuration_is_used() -> None:
    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(words(GUEST))
    assert after(GUEST, "-display") == ["none"]


def test_it_boots_from_its_first_disk_alone() -> None:
    disks = [word for word in after(GUEST, "-device") if word.startswith("virtio-blk")]
    assert disks == ["virtio-blk-pci,drive=disk,bootindex=0", "virtio-blk-pci,drive=config"]
    assert after(GUEST, "-boot") == ["strict=on"]


def test_accelerators() -> None:
    assert after(GUEST, "-accel") == ["tcg,thread=multi,tb-size=512"]
    assert after(replace(GUEST, accelerator="kvm"), "-accel") == ["kvm"]


@pytest.mark.parametrize(
    ("arch", "program", "machine"),
    [
        ("amd64", "qemu-system-x86_64", "q35,graphics=off"),
        ("i386", "qemu-system-i386", "q35,graphics=off"),
        ("arm64", "qemu-system-aarch64", "virt"),
        ("armhf", "qemu-system-arm", "virt"),
        ("ppc64el", "qemu-system-ppc64", "pseries"),
    ],
)
def test_architectures(arch: str, program: str, machine: str) -> None:
    guest = replace(GUEST, arch=arch)
    assert (words(guest)[0], after(guest, "-machine")) == (program, [machine])


def test_names_of_architectures() -> None:
    assert [qemu.debian_name(name) for name in ("x86_64", "aarch64", "ppc64le")] == ["amd64", "arm64", "ppc64el"]
    with pytest.raises(InputError, match="no machine of architecture 'm68k'"):
        qemu.debian_name("m68k")


def test_firmware_is_code_and_variables_of_its_own() -> None:
    drives = after(replace(GUEST, uefi=Uefi(Path("/fw/code.fd"), Path("/fw/vars.fd"))), "-drive")
    assert drives[0] == "if=pflash,format=raw,unit=0,readonly=on,file=/fw/code.fd"
    assert drives[1] == "if=pflash,format=raw,unit=1,file=/w/uefi-variables"
    assert not any("pflash" in drive for drive in after(GUEST, "-drive"))


def test_a_comma_in_a_path_ends_no_option() -> None:
    assert after(replace(GUEST, disk=Path("/a,b/disk")), "-drive")[0].endswith("file=/a,,b/disk")


def disk(table: str | None, code: bytes, *types: str) -> Disk:
    partitions = tuple(Partition(n, n * 2**20, 2**20, kind, False) for n, kind in enumerate(types, 1))
    return Disk(2**30, table, partitions, code, b"")


@pytest.mark.parametrize(
    ("seen", "system", "uefi"),
    [
        (disk("dos", b"GRUB", "83"), "x86_64", False),
        (disk("gpt", b"GRUB", EFI_SYSTEM, BIOS_BOOT, "linux"), "x86_64", False),
        (disk("gpt", b"GRUB", EFI_SYSTEM, "linux"), "x86_64", True),
        (disk("gpt", b"", EFI_SYSTEM, "linux"), "x86_64", True),
        (disk("dos", b"", EFI_SYSTEM, "83"), "x86_64", True),
        # What nothing boots is shown to the firmware that says so.
        (disk(None, b""), "x86_64", False),
        (disk("dos", b"GRUB", "83"), "aarch64", True),
        (disk("gpt", b"", EFI_SYSTEM), "ppc64", False),
    ],
)
def test_which_firmware_a_disk_needs(seen: Disk, system: str, uefi: bool) -> None:
    assert needs_uefi(seen, system) is uefi


def described(directory: Path, name: str, system: str, features: list[str], code: Path) -> None:
    code.touch()
    variables = code.with_suffix(".vars")
    variables.touch()
    mapping = {
        "device": "flash",
        "executable": {"filename": str(code), "format": "raw"},
        "nvram-template": {"filename": str(variables), "format": "raw"},
    }
    document = {"interface-types": ["uefi"], "mapping": mapping, "features": features}
    document["targets"] = [{"architecture": system, "machines": ["*"]}]
    (directory / name).write_text(json.dumps(document))


def test_firmware_is_found_by_its_description(tmp_path: Path) -> None:
    described(tmp_path, "10.json", "x86_64", ["secure-boot", "requires-smm"], tmp_path / "secure")
    described(tmp_path, "20.json", "sparc", [], tmp_path / "other")
    (tmp_path / "30.json").write_text("{")
    (tmp_path / "35.json").write_text("[]")
    described(tmp_path, "40.json", "sparc64", ["acpi-s3"], tmp_path / "plain")
    assert find_uefi("sparc64", (tmp_path,)).code == tmp_path / "plain"
    with pytest.raises(HostError, match="no UEFI firmware for sparc32"):
        find_uefi("sparc32", (tmp_path,))


def test_other_architectures_are_emulated(tmp_path: Path) -> None:
    assert qemu.accelerator("arm64", "amd64", tmp_path) == "tcg"


def test_an_emulator_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "which", lambda name: None)
    with pytest.raises(HostError, match="qemu-system-aarch64 is missing") as error:
        qemu.program("arm64")
    assert error.value.hint == "install qemu-system-arm"


@pytest.mark.subprocess("a small program, to see how it ends")
def test_a_program_beside_ends_with_the_block(tmp_path: Path) -> None:
    with process.beside(["sh", "-c", "echo $$; exec sleep 1000"], tmp_path / "output") as running:
        while not (text := (tmp_path / "output").read_text()).endswith("\n"):
            assert running.exit_status() is None
        pid = int(text)
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert running.exit_status() == -9


@pytest.mark.subprocess("a program that is not there")
def test_a_program_that_is_not_installed(tmp_path: Path) -> None:
    with (
        pytest.raises(HostError, match="no-such-program is not installed"),
        process.beside(["no-such-program"], tmp_path / "output"),
    ):
        pass


def test_a_comma_in_a_name_ends_no_value() -> None:
    given = qemu.command(GUEST, Path("/w/a,b"), Path("/w/c,d"))
    files = [given[index + 1] for index, word in enumerate(given) if word == "-chardev"]
    assert files == ["file,id=console,path=/w/a,,b", "file,id=report,path=/w/c,,d"]
    assert given[given.index("-serial") + 1] == "chardev:console"


@pytest.mark.subprocess("a small program, to be killed")
def test_a_program_beside_can_be_killed(tmp_path: Path) -> None:
    with process.beside(["sleep", "1000"], tmp_path / "output") as running:
        running.kill()
        while (status := running.exit_status()) is None:
            time.sleep(0.01)
        running.kill()  # of one that ended: nothing happens
    assert status == -signal.SIGKILL
