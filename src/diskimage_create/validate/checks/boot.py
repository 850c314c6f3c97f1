"""Checks of what boots: kernel, initrd, boot loader and the mounts they lead to."""

from __future__ import annotations

import os

from diskimage_create.errors import CommandFailed
from diskimage_create.model import Expectation
from diskimage_create.validate.formats.disk import BIOS_BOOT, EFI_SYSTEM, PREP_BOOT, Disk, FileSystem
from diskimage_create.validate.formats.executables import HEADER_BYTES, parse_elf
from diskimage_create.validate.formats.framing import CutShort, require_end
from diskimage_create.validate.formats.initrd import read_initrd
from diskimage_create.validate.formats.kernels import missing_bytes
from diskimage_create.validate.registry import Outcome, check, skipped, verdict
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.architecture import foreign_machine
from diskimage_create.validate.system.fstab import parse_fstab
from diskimage_create.validate.system.grub import (
    MAX_CORE_BYTES,
    BootEntry,
    boot_entries,
    core_image_problem,
    grub_config,
    searched_for,
)
from diskimage_create.validate.view import ImageView

# Elements that make an image boot by itself.
BOOTING = ("vm", "bootloader")

_INIT = "/sbin/init"

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
    """/boot holds a kernel, with all its bytes, and /lib/modules has the modules of the same version.

    How long the file must be is what its own headers say: a copy that ended too early, or a
    file system that was full, leaves a kernel that the boot loader loads and that never answers.
    """
    root = view.root
    versions = kernel_versions(root)
    if not versions:
        return _unless_boot_is_elsewhere(root, "there is no kernel in /boot")
    problems = []
    for version, path in versions.items():
        start, status = root.read_bytes(path, limit=HEADER_BYTES) or b"", root.stat(path)
        if not start.strip(b"\0") or (_is_x86(expectation) and start[0x202:0x206] != b"HdrS"):
            problems.append(f"{path} is no kernel")
        elif status and (missing := missing_bytes(start, status.st_size)):
            problems.append(f"{path} is cut short: {missing} bytes are missing at its end")
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
    """Each kernel has an initrd of its version, which is an archive, and ends where archives end.

    A kernel alone finds no root file system. What is in the initrd, `initrd-content` tells.
    """
    root = view.root
    versions = kernel_versions(root)
    if not versions:
        return _unless_boot_is_elsewhere(root, "there is no kernel that could have one")
    names = initrds(root)
    problems = [f"kernel {version} has no initrd" for version in versions if version not in names]
    for name in names.values():
        if not (root.read_bytes(name, limit=8) or b"").startswith(_INITRD_MAGIC):
            problems.append(f"{name} is no archive")
        elif _is_cut_short(root, name):
            problems.append(f"{name} is cut short, or damaged")
    return verdict(problems, f"{len(versions)} of {len(versions)}")


def initrds(root: ImageRoot) -> dict[str, str]:
    """Version -> path of the initrd of every kernel that has one."""
    found = {}
    for version in kernel_versions(root):
        names = (f"/boot/initrd.img-{version}", f"/boot/initramfs-{version}.img", f"/boot/initrd-{version}")
        if name := next((name for name in names if root.is_file(name)), None):
            found[version] = name
    return found


def _is_cut_short(root: ImageRoot, name: str) -> bool:
    with open(root.resolve(name), "rb") as file:
        try:
            require_end(file, os.fstat(file.fileno()).st_size)
        except CutShort:
            return True
    return False


@check("initrd-content", "Every initrd unpacks, and holds the init that the kernel starts", element=BOOTING, deep=True)
def initrd_content(view: ImageView, expectation: Expectation) -> Outcome:
    """Each initrd is decompressed and read to its end, and ``/init`` in it can be executed.

    Without that the kernel looks for the root file system by itself, has no driver for the
    disk, and panics. To make an initrd anew: ``update-initramfs -u``, or ``dracut --force``.
    """
    root = view.root
    names = initrds(root).values()
    if not names:
        return skipped("there is no initrd")
    problems = []
    for name in names:
        try:
            inits = [
                member for member in read_initrd(root.read_bytes(name) or b"") if member.name.strip("./") == "init"
            ]
        except (ValueError, CommandFailed) as error:
            problems.append(f"{name} does not unpack: {error}")
            continue
        if not any(member.mode & 0o111 for member in inits):
            problems.append(f"{name} has no init that could be executed")
    return verdict(problems, f"{len(names)} of {len(names)}")


@check("boot-loader", "The boot loader finds the kernel, its initrd and the root file system", element=BOOTING)
def boot_loader(view: ImageView, expectation: Expectation) -> Outcome:
    """GRUB is in front of the partitions, whole, and each of its entries leads to files and a root that exist.

    The first sector's code loads GRUB's core image, which must be the one that
    ``grub-install`` left in /boot as well; that reads grub.cfg, which searches for its file
    system and names the kernel, the initrd and ``root=``. An entry that names a kernel which
    is gone, or a label that no file system has, makes an instance that the hypervisor shows
    as running and that never answers.
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
    problems += _search_problems(disk, root.read_text(config) or "")
    if _boots_from_first_sector(disk, expectation):
        problems += _boot_code_problems(view, config)
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


def _search_problems(disk: Disk, config: str) -> list[str]:
    """What GRUB searches for and no file system is; nothing where not all of them can be told."""
    data = [part for part in disk.partitions if part.type not in (EFI_SYSTEM, BIOS_BOOT, PREP_BOOT)]
    if any(part.filesystem is None for part in data):
        return []
    names = {name for part in data if part.filesystem for name in (part.filesystem.uuid, part.filesystem.label)}
    return [f"grub.cfg searches for {name}, which no file system is" for name in searched_for(config) - names]


def _boot_code_problems(view: ImageView, config: str) -> list[str]:
    disk = view.disk
    if b"GRUB" not in disk.boot_code:
        return ["the first sector holds no GRUB boot code"]
    if not disk.second_stage.strip(b"\0"):
        return ["GRUB's second stage is empty"]
    core = view.root.read_bytes(config.rpartition("/")[0] + "/i386-pc/core.img", limit=MAX_CORE_BYTES)
    if core is None:
        return []
    with view.raw.open("rb") as file:
        problem = core_image_problem(file, disk.boot_code, core)
    return [problem] if problem else []


@check("init", "The first program is there, for this architecture", element=BOOTING)
def init(view: ImageView, expectation: Expectation) -> Outcome:
    """/sbin/init leads to a whole program for the architecture asked for, and its dynamic loader exists.

    It is what the initrd starts once the root file system is mounted. Without it the kernel
    panics ("Attempted to kill init"), or an emergency shell waits at the console.
    """
    root = view.root
    if not root.is_executable(_INIT):
        return verdict([f"{_INIT} is missing, leads nowhere, or cannot be executed"], "")
    start, status = root.read_bytes(_INIT, limit=HEADER_BYTES) or b"", root.stat(_INIT)
    elf = parse_elf(start)
    if elf is None:
        interpreter = root.interpreter(_INIT)
        problem = None if interpreter else f"{_INIT} is neither an ELF program nor a script"
    else:
        if status and elf.least_bytes > status.st_size:
            return verdict([f"{_INIT} is cut short: {elf.least_bytes - status.st_size} bytes are missing"], "")
        problem = foreign_machine(elf.machine, elf.bits, expectation.arch)
        at, size = elf.interpreter or (0, 0)
        interpreter = start[at : at + size].rstrip(b"\0").decode(errors="replace")
    problems = [f"{_INIT}: {problem}"] if problem else []
    if interpreter and not root.is_executable(interpreter):
        problems.append(f"{_INIT} needs {interpreter}, which is missing")
    return verdict(problems, os.path.relpath(root.resolve(_INIT), root.path))


@check("fstab", "fstab mounts the root file system that is there", element=BOOTING)
def fstab(view: ImageView, expectation: Expectation) -> Outcome:
    """The root entry of /etc/fstab means the root file system; a wrong one ends in emergency mode."""
    disk, root = view.disk, view.root
    filesystem = disk.root.filesystem if disk.root else None
    text = root.read_text("/etc/fstab")
    if text is None:
        return verdict(["there is no /etc/fstab"], "")
    device = next((line.device for line in parse_fstab(text) if line.place == "/"), None)
    if device is None:
        return verdict(["/etc/fstab has no entry for /"], "")
    complaint = _not_this(device, filesystem) if filesystem else None
    return verdict([f"it mounts {device} at /, but {complaint}"] if complaint else [], f"{device} at /")


def _unless_boot_is_elsewhere(root: ImageRoot, problem: str) -> Outcome:
    lines = parse_fstab(root.read_text("/etc/fstab") or "")
    if any(line.place == "/boot" for line in lines) and "/boot" not in root.mounted:
        return skipped("/boot is a partition of its own, which could not be mounted here")
    return verdict([problem], "")


def _is_x86(expectation: Expectation) -> bool:
    return expectation.arch in (None, "amd64", "x86_64", "i386")
