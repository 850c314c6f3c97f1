"""The disk inside an image: partition table, boot code and the file systems' own labels."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from diskimage_create import process
from diskimage_create.errors import CommandFailed

BOOT_CODE_BYTES = 440
_SECTOR = 512

#: As much of a file system's start as its superblock is in, whatever its type: Btrfs has it at 64 KiB
HEAD_BYTES = 65536 + 4096
_BTRFS_SUPERBLOCK = 65536

# GPT partition types.
EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
PREP_BOOT = "9E1A2D38-C612-4316-AA26-8B49521E5A8B"
# The same in an MBR, as sfdisk prints them.
_MBR_BOOT_TYPES = {"ef": EFI_SYSTEM, "41": PREP_BOOT}


@dataclass(frozen=True)
class FileSystem:
    """What the superblock says."""

    type: str
    label: str
    uuid: str
    clean: bool | None
    """None where the type does not say."""


@dataclass(frozen=True)
class Partition:
    """One partition; offsets and sizes in bytes."""

    number: int
    start: int
    size: int
    type: str
    bootable: bool
    filesystem: FileSystem | None = None
    uuid: str = ""
    name: str = ""
    """UUID and name of the partition itself: a GPT has them."""
    logical_volumes: bool = False
    """Whether it holds some: an LVM physical volume, whose file systems are not looked at."""

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.size


@dataclass(frozen=True)
class Disk:
    """A disk as the firmware finds it."""

    virtual_size: int
    table: str | None
    """``dos``, ``gpt``, or None for a disk without partitions."""
    partitions: tuple[Partition, ...]
    boot_code: bytes
    """The code in the first sector, which the BIOS runs."""
    second_stage: bytes
    """The sector that GRUB's boot code loads next; empty where there is no GRUB."""
    identifier: str = ""
    """The disk's own, by its partition table: random where nobody sets it."""
    root_number: int | None = None
    """The number of the partition that was seen to hold the root file system."""

    @property
    def root(self) -> Partition | None:
        """The partition with the root file system: the one that was seen to hold it, else the largest that can.

        None where there are logical volumes: it is one of those, and what else there is may be /boot.
        """
        if self.root_number is not None:
            return next(partition for partition in self.partitions if partition.number == self.root_number)
        if self.has_logical_volumes:
            return None
        return next(iter(self.linux_partitions), None)

    @property
    def linux_partitions(self) -> list[Partition]:
        """Those with a file system that can be Linux' root, the largest first."""
        known = [partition for partition in self.partitions if partition.filesystem]
        return sorted(known, key=lambda partition: partition.size, reverse=True)

    @property
    def has_logical_volumes(self) -> bool:
        """Whether any partition is an LVM physical volume."""
        return any(partition.logical_volumes for partition in self.partitions)


def read_disk(path: Path) -> Disk:
    """Look at a raw disk, or at the export of one."""
    table, identifier, partitions = _partition_table(path)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        first = _read(file, 0, _SECTOR)
        boot_code = first[:BOOT_CODE_BYTES]
        return Disk(
            virtual_size=size,
            table=table,
            partitions=tuple(_with_filesystem(file, part) for part in partitions or [_whole(size)]),
            boot_code=boot_code,
            second_stage=_second_stage(file, boot_code),
            identifier=identifier,
        )


def parse_sfdisk(text: str) -> tuple[str, str, list[Partition]]:
    """Label, identifier and partitions from the output of ``sfdisk --json``."""
    table = json.loads(text)["partitiontable"]
    sector = int(table.get("sectorsize", _SECTOR))
    partitions = []
    for number, entry in enumerate(table.get("partitions", ()), start=1):
        kind = str(entry["type"]).upper() if table["label"] == "gpt" else str(entry["type"]).lower()
        partitions.append(
            Partition(
                number=number,
                start=int(entry["start"]) * sector,
                size=int(entry["size"]) * sector,
                type=_MBR_BOOT_TYPES.get(kind, kind),
                bootable=bool(entry.get("bootable")) or "LegacyBIOSBootable" in entry.get("attrs", ""),
                uuid=str(entry.get("uuid", "")),
                name=str(entry.get("name", "")),
            )
        )
    return table["label"], str(table.get("id", "")), partitions


def parse_superblock(start: bytes) -> FileSystem | None:
    """The Linux file system whose first bytes these are, :data:`HEAD_BYTES` or more; None for any other content."""
    if len(start) >= 2048 and start[1080:1082] == b"\x53\xef":
        return _ext(start[1024:2048])
    if len(start) >= 512 and start[:4] == b"XFSB":
        return FileSystem("xfs", _text(start[108:120]), _uuid(start[32:48]), None)
    btrfs = start[_BTRFS_SUPERBLOCK:]  # struct btrfs_super_block: fsid, magic, label
    if btrfs[64:72] == b"_BHRfS_M":
        return FileSystem("btrfs", _text(btrfs[0x12B : 0x12B + 256]), _uuid(btrfs[32:48]), None)
    return None


def is_physical_volume(start: bytes) -> bool:
    """Whether an LVM label is in one of the first four sectors (lvm2: lib/label/label.h)."""
    return any(
        start[at : at + 8] == b"LABELONE" and start[at + 24 : at + 32] == b"LVM2 001" for at in range(0, 2048, _SECTOR)
    )


def _ext(superblock: bytes) -> FileSystem:
    (state,) = struct.unpack_from("<H", superblock, 58)
    compatible, incompatible = struct.unpack_from("<II", superblock, 92)
    needs_recovery = bool(incompatible & 0x4)
    return FileSystem(
        # Extents (0x40) came with ext4, the journal (0x4) with ext3.
        type="ext4" if incompatible & 0x40 else "ext3" if compatible & 0x4 else "ext2",
        label=_text(superblock[120:136]),
        uuid=_uuid(superblock[104:120]),
        # Bit 0: unmounted cleanly; bit 1: the kernel saw errors.
        clean=state & 0x3 == 1 and not needs_recovery,
    )


def _partition_table(path: Path) -> tuple[str | None, str, list[Partition]]:
    try:
        found = process.run(["sfdisk", "--json", "--", path])
        return parse_sfdisk(found.stdout)
    except (CommandFailed, ValueError, LookupError, TypeError):
        # No table, or one that is beyond use: of some, sfdisk prints half a document or none, and is content.
        return None, "", []


def _whole(size: int) -> Partition:
    """A disk without a partition table may be one file system."""
    return Partition(number=0, start=0, size=size, type="", bootable=False)


def _with_filesystem(file: BinaryIO, partition: Partition) -> Partition:
    start = _read(file, partition.start, HEAD_BYTES)
    return replace(partition, filesystem=parse_superblock(start), logical_volumes=is_physical_volume(start))


def _second_stage(file: BinaryIO, boot_code: bytes) -> bytes:
    """GRUB's boot sector keeps the address of the next one at offset 0x5c."""
    if b"GRUB" not in boot_code:
        return b""
    (sector,) = struct.unpack_from("<Q", boot_code, 0x5C)
    return _read(file, sector * _SECTOR, _SECTOR) if 0 < sector < 2**40 else b""


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", errors="replace")


def _uuid(field: bytes) -> str:
    digits = field.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
