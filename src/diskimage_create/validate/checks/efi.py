"""The check of what UEFI firmware starts."""

from __future__ import annotations

import stat
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

from diskimage_create.errors import CommandFailed
from diskimage_create.model import Expectation
from diskimage_create.validate.checks.boot import BOOTING
from diskimage_create.validate.formats.disk import EFI_SYSTEM, Partition
from diskimage_create.validate.formats.executables import HEADER_BYTES, parse_pe
from diskimage_create.validate.opening import fat
from diskimage_create.validate.registry import Outcome, check, listed, skipped, verdict
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.grub import searched_for
from diskimage_create.validate.view import ImageView

#: Architecture -> name of its loader for removable media, and its machine (UEFI specification 2.10, 3.5.1.1)
_LOADERS: dict[str | None, tuple[str, int]] = {
    None: ("BOOTX64.EFI", 0x8664),
    "amd64": ("BOOTX64.EFI", 0x8664),
    "x86_64": ("BOOTX64.EFI", 0x8664),
    "i386": ("BOOTIA32.EFI", 0x14C),
    "arm64": ("BOOTAA64.EFI", 0xAA64),
    "aarch64": ("BOOTAA64.EFI", 0xAA64),
    "armhf": ("BOOTARM.EFI", 0x1C2),
}
_SHIM = b"UEFI SHIM"


@check("efi-boot", "The EFI system partition has a loader that firmware finds by itself", element=BOOTING)
def efi_boot(view: ImageView, expectation: Expectation) -> Outcome:
    """/EFI/BOOT holds the loader for removable media, whole and for this architecture, and what it loads next.

    A new instance has no boot entry in its firmware's memory: only the file of the standard's
    name is started (BOOTX64.EFI, BOOTAA64.EFI). A shim needs GRUB, or its fallback, beside it; a
    grub.cfg on the partition must search for a file system that the disk has.
    ``grub-install --removable`` puts the loader there.
    """
    systems = [part for part in view.disk.partitions if part.type == EFI_SYSTEM]
    if not systems:
        return skipped("there is no EFI system partition: firmware with a BIOS boots this image")
    if expectation.arch not in _LOADERS:
        return skipped(f"UEFI has no loader for {expectation.arch}")
    with tempfile.TemporaryDirectory(dir=view.workspace) as directory:
        target = Path(directory, "efi")
        target.mkdir()
        try:
            files = ImageRoot(fat.copied(view.raw, systems[0], target))
        except CommandFailed as error:
            return verdict([f"the partition cannot be read: {error.output.strip()[-200:]}"], "")
        problems = _loader_problems(files, expectation.arch)
        known = {system for part in view.disk.partitions for system in _names(part)}
        for name in (entry.name for entry in files.entries if entry.name.lower().endswith("/grub.cfg")):
            searched = searched_for(files.read_text(name) or "")
            problems += [f"{name} searches for {each}, which no file system is" for each in searched - known]
    return verdict(problems, _LOADERS[expectation.arch][0])


def _loader_problems(files: ImageRoot, arch: str | None) -> list[str]:
    name, machine = _LOADERS[arch]
    beside = {entry.name.upper(): entry.name for entry in files.entries if stat.S_ISREG(entry.mode)}
    loader = beside.get(f"/EFI/BOOT/{name}")
    if loader is None:
        return [f"/EFI/BOOT/{name} is missing ({listed(beside.values()) or 'nothing is there'})"]
    content = files.read_bytes(loader) or b""
    parsed = parse_pe(content[:HEADER_BYTES])
    if parsed is None or parsed.machine != machine:
        return [f"{name} is no program for this architecture's UEFI"]
    if parsed.least_bytes > len(content):
        return [f"{name} is cut short: {parsed.least_bytes - len(content)} bytes are missing"]
    if _SHIM in content and not any(fnmatchcase(entry, "/EFI/BOOT/[GF][RB]*.EFI") for entry in beside):
        return [f"{name} is a shim, and neither GRUB nor the fallback that it starts is beside it"]
    return []


def _names(partition: Partition) -> tuple[str, ...]:
    return (partition.filesystem.uuid, partition.filesystem.label) if partition.filesystem else ()
