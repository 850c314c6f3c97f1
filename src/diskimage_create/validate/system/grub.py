"""What GRUB will boot: the entries of its configuration, and of the boot loader specification's files."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from diskimage_create.validate.root import ImageRoot

#: As much as the gap before a partition, or a BIOS boot partition, holds in practice
MAX_CORE_BYTES = 2**22

_SECTOR = 512
# Where GRUB keeps the address of the next sectors (grub: grub-core/boot/i386/pc/boot.S, diskboot.S).
_KERNEL_SECTOR, _BLOCK_LIST = 0x5C, 500

_FAT_SERIAL = re.compile(r"[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}")

_CONFIGS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")


@dataclass(frozen=True)
class BootEntry:
    """What a boot loader entry loads."""

    kernel: str
    initrds: tuple[str, ...]
    arguments: str

    @property
    def root(self) -> str | None:
        """The value of ``root=``."""
        found = re.search(r"(?:^|\s)root=(\S+)", self.arguments)
        return found[1] if found else None


def grub_config(root: ImageRoot) -> str | None:
    """The name of GRUB's configuration; None where there is none."""
    return next((name for name in _CONFIGS if root.exists(name)), None)


def boot_entries(root: ImageRoot, config: str) -> Iterator[BootEntry]:
    """All entries of GRUB's configuration, those in the boot loader specification's files included."""
    text = root.read_text(config) or ""
    yield from parse_grub_config(text)
    if re.search(r"^[ \t]*blscfg\b", text, re.MULTILINE):
        environment = root.read_text(config.rpartition("/")[0] + "/grubenv") or ""
        defaults = re.search(r"^kernelopts=(.*)$", environment, re.MULTILINE)
        for name in root.glob("/boot/loader/entries/*.conf"):
            if "0-rescue" not in name:
                yield parse_bls_entry(root.read_text(name) or "", defaults[1] if defaults else "")


def parse_grub_config(text: str) -> Iterator[BootEntry]:
    """The ``linux`` and ``initrd`` commands of each menu entry."""
    for block in re.split(r"^[ \t]*menuentry\s", text, flags=re.MULTILINE)[1:]:
        linux = re.search(r"^[ \t]*linux(?:16|efi)?\s+(\S+)(.*)$", block, re.MULTILINE)
        if linux is None:
            continue
        initrds = re.search(r"^[ \t]*initrd(?:16|efi)?\s+(.*)$", block, re.MULTILINE)
        yield BootEntry(linux[1], tuple(initrds[1].split()) if initrds else (), linux[2].strip())


def parse_bls_entry(text: str, kernelopts: str) -> BootEntry:
    """An entry of the boot loader specification (Fedora and its family)."""
    fields = dict(re.findall(r"^(\S+)[ \t]+(.*)$", text, re.MULTILINE))
    initrds = tuple(name for name in fields.get("initrd", "").split() if not name.startswith("$"))
    options = fields.get("options", "").replace("$kernelopts", kernelopts)
    return BootEntry(fields.get("linux", ""), initrds, options)


def searched_for(text: str) -> set[str]:
    """The UUIDs and labels by which a configuration searches for its file system."""
    found = set()
    for words in (line.split() for line in re.findall(r"^[ \t]*search(?:\.fs_\w+)?\s.*$", text, re.MULTILINE)):
        by_name = words[0] != "search" or {"--fs-uuid", "-u", "--label", "-l"} & set(words)
        operands = [word.strip("\"'") for word in words[1:] if not word.startswith("-")]
        if by_name and operands:
            name = operands[-1 if words[0] == "search" else 0]
            # Of FAT file systems the names are not known here.
            found.update([] if "$" in name or _FAT_SERIAL.fullmatch(name) else [name])
    return found


def core_image_problem(file: BinaryIO, boot_code: bytes, core: bytes) -> str | None:
    """Why what GRUB's boot sector loads is not the core image of /boot; None where it is.

    The first sector, whose list of blocks is written on installing, leads to the others. In
    the second one the amount of redundancy is set, which follows the image.

    :param file: the disk
    :param core: the image that ``grub-install`` left in /boot
    """
    (first,) = struct.unpack_from("<Q", boot_code, _KERNEL_SECTOR)
    start = _read(file, first, _SECTOR)
    if start[:_BLOCK_LIST] != core[:_BLOCK_LIST]:
        return "GRUB's first sector on the disk is not the one in /boot"
    rest, count = struct.unpack_from("<QH", start, _BLOCK_LIST)
    if count * _SECTOR < len(core) - _SECTOR:
        return None  # in several pieces
    behind = 2 * _SECTOR
    if _read(file, rest + 1, len(core) - behind) != core[behind:]:
        return "GRUB's core image on the disk is not the one in /boot"
    return None


def _read(file: BinaryIO, sector: int, size: int) -> bytes:
    if not 0 < sector < 2**40:
        return b""
    file.seek(sector * _SECTOR)
    return file.read(max(size, 0))
