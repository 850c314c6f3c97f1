"""Checks of what boots: kernel, initrd, boot loader and the mounts they lead to."""

from __future__ import annotations

from collections.abc import Iterator

from diskimage_create.model import Expectation
from diskimage_create.validate.disk import BIOS_BOOT, Disk, FileSystem
from diskimage_create.validate.grub import BootEntry, boot_entries, grub_config
from diskimage_create.validate.image import ImageView
from diskimage_create.validate.registry import Outcome, check, skipped, verdict
from diskimage_create.validate.root import ImageRoot

# Elements that make an image boot by itself.
BOOTING = ("vm", "bootloader")

_INITRD_MAGIC = (
    b"\x1f\x8b",  # gzip
    b"\x28\xb5\x2f\xfd",  # zstd
    b"\xfd7zXZ",
    b"BZh",
    b"\x04\x22\x4d\x18",  # lz4
    b"\x02\x21\x4c\x18",  # lz4, legacy
    b"\x5d\x00\x00",  # lzma
    b"\x89LZO",
    b"0707",  # cpio without compression, e.g. microcode in front
)


@check("kernel", "There is a kernel, with its modules", element=BOOTING)
def kernel(view: ImageView, expectation: Expectation) -> Outcome:
    """/boot holds a kernel that looks like one, and /lib/modules has the modules of the same version."""
    root = view.root
    versions = kernel_versions(root)
    if not versions:
        return _unless_boot_is_elsewhere(root, "there is no kernel in /boot")
    problems = []
    for version, path in versions.items():
        start = root.read_bytes(path, limit=0x206) or b""
        if not start.strip(b"\0") or (_is_x86(expectation) and start[0x202:0x206] != b"HdrS"):
            problems.append(f"{path} is no kernel")
        if not root.exists(f"/lib/modules/{version}"):
            problems.append(f"/lib/modules/{version} is missing")
    return verdict(problems, ", ".join(versions))


def kernel_versions(root: ImageRoot) -> dict[str, str]:
    """Version -> path of every kernel in /boot, rescue kernels left out."""
    paths = root.glob("/boot/vmlinuz-*") + root.glob("/boot/vmlinux-*")
    versions = {path.partition("-")[2]: path for path in paths}
    return {version: path for version, path in versions.items() if not version.startswith("0-rescue")}


@check("initrd", "Every kernel has its initrd", element=BOOTING)
def initrd(view: ImageView, expectation: Expectation) -> Outcome:
    """Each kernel has an initrd of its version, that starts like an archive: a kernel alone finds no root."""
    root = view.root
    versions = kernel_versions(root)
    if not versions:
        return _unless_boot_is_elsewhere(root, "there is no kernel that could have one")
    problems = []
    for version in versions:
        names = [f"/boot/initrd.img-{version}", f"/boot/initramfs-{version}.img", f"/boot/initrd-{version}"]
        starts = [root.read_bytes(name, limit=8) for name in names]
        start = next((start for start in starts if start is not None), None)
        if start is None:
            problems.append(f"kernel {version} has no initrd")
        elif not start.startswith(_INITRD_MAGIC):
            problems.append(f"the initrd of kernel {version} is no archive")
    return verdict(problems, f"{len(versions)} of {len(versions)}")


@check("boot-loader", "The boot loader finds the kernel, its initrd and the root file system", element=BOOTING)
def boot_loader(view: ImageView, expectation: Expectation) -> Outcome:
    """GRUB is in the boot sector, and each of its entries leads to files and a root that exist.

    An entry that names a kernel which is gone, or a label that no file system has, makes
    an instance that the hypervisor shows as running and that never answers.
    """
    disk, root = view.disk, view.root
    config = grub_config(root)
    if config is None:
        return _unless_boot_is_elsewhere(root, "there is no grub.cfg")
    entries = list(boot_entries(root, config))
    filesystem = disk.root.filesystem if disk.root else None
    problems = [] if entries else [f"{config} has no entry"]
    for entry in entries:
        problems += _entry_problems(root, entry, filesystem)
    if _boots_from_first_sector(disk, expectation):
        problems += _boot_code_problems(disk)
    return verdict(dict.fromkeys(problems), f"{config}, {len(entries)} entries")


def _entry_problems(root: ImageRoot, entry: BootEntry, filesystem: FileSystem | None) -> list[str]:
    # Where /boot is a file system of its own, names in it start there.
    problems = [
        f"an entry loads {name}, which is missing"
        for name in (entry.kernel, *entry.initrds)
        if not (root.is_file(name) or root.is_file(f"/boot{name}"))
    ]
    if not entry.initrds:
        problems.append(f"the entry of {entry.kernel} has no initrd")
    if entry.root is None:
        problems.append(f"the entry of {entry.kernel} has no root=")
    elif filesystem and (complaint := _not_this(entry.root, filesystem)):
        problems.append(f"an entry has root={entry.root}, but {complaint}")
    return problems


def _not_this(device: str, filesystem: FileSystem) -> str | None:
    """Why a device specification does not mean this file system; None when it does, or cannot be told."""
    key, _, value = device.replace('"', "").partition("=")
    if key == "LABEL" and value != filesystem.label:
        return f"the label is {filesystem.label or 'empty'}"
    if key == "UUID" and value.lower() != filesystem.uuid:
        return f"the UUID is {filesystem.uuid}"
    return None


def _boots_from_first_sector(disk: Disk, expectation: Expectation) -> bool:
    """Only PCs with a BIOS run it; a GPT disk without a BIOS boot partition is made for UEFI."""
    bios = disk.table == "dos" or any(part.type == BIOS_BOOT for part in disk.partitions)
    return bios and _is_x86(expectation)


def _boot_code_problems(disk: Disk) -> list[str]:
    if b"GRUB" not in disk.boot_code:
        return ["the first sector holds no GRUB boot code"]
    if not disk.second_stage.strip(b"\0"):
        return ["GRUB's second stage is empty"]
    return []


@check("fstab", "fstab mounts the root file system that is there", element=BOOTING)
def fstab(view: ImageView, expectation: Expectation) -> Outcome:
    """The root entry of /etc/fstab means the root file system; a wrong one ends in emergency mode."""
    disk, root = view.disk, view.root
    filesystem = disk.root.filesystem if disk.root else None
    text = root.read_text("/etc/fstab")
    if text is None:
        return verdict(["there is no /etc/fstab"], "")
    device = next((fields[0] for fields in _fstab_entries(text) if fields[1] == "/"), None)
    if device is None:
        return verdict(["/etc/fstab has no entry for /"], "")
    complaint = _not_this(device, filesystem) if filesystem else None
    return verdict([f"it mounts {device} at /, but {complaint}"] if complaint else [], f"{device} at /")


def _fstab_entries(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 3 and not fields[0].startswith("#"):
            yield fields


def _unless_boot_is_elsewhere(root: ImageRoot, problem: str) -> Outcome:
    if any(fields[1] == "/boot" for fields in _fstab_entries(root.read_text("/etc/fstab") or "")):
        return skipped("/boot is a partition of its own, which is not mounted here")
    return verdict([problem], "")


def _is_x86(expectation: Expectation) -> bool:
    return expectation.arch in (None, "amd64", "x86_64", "i386")
