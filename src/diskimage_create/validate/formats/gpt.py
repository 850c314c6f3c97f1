"""The GUID partition table, as far as sfdisk does not tell: its two copies and their checksums.

Source: UEFI specification 2.10, chapter 5
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

SECTOR = 512
SIGNATURE = b"EFI PART"

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
#: More than any disk has: 128 entries of 128 bytes are usual
_MOST_ENTRY_BYTES = 2**20
_PROTECTIVE = 0xEE


@dataclass(frozen=True)
class Header:
    """One of the two headers; addresses in sectors."""

    own_address: int
    other_address: int
    disk: bytes
    """The disk's GUID"""
    entries_checksum: int
    problem: str | None
    """What is wrong with this copy; None where it is whole."""


def announces_gpt(mbr: bytes) -> bool:
    """Whether the first sector is a protective MBR: what says to old tools, and to QEMU, that the disk is in use."""
    entries = (mbr[446 + 16 * number : 462 + 16 * number] for number in range(4))
    return mbr[510:512] == b"\x55\xaa" and any(entry[4] == _PROTECTIVE for entry in entries)


def read_header(file: BinaryIO, address: int) -> Header | None:
    """The header in a sector; None where there is none."""
    file.seek(address * SECTOR)
    sector = file.read(SECTOR)
    if len(sector) < SECTOR or not sector.startswith(SIGNATURE):
        return None
    fields = _HEADER.unpack_from(sector)
    _, _, length, checksum, _, own, other, _, _, disk, entries_at, count, entry_bytes, entries_checksum = fields
    problem = None
    if not _HEADER.size <= length <= SECTOR or zlib.crc32(sector[:16] + bytes(4) + sector[20:length]) != checksum:
        problem = "its checksum is wrong"
    elif own != address:
        problem = f"it is in sector {address}, and says {own}"
    elif not _entries_match(file, entries_at, count * entry_bytes, entries_checksum):
        problem = "the checksum of its partitions is wrong"
    return Header(own, other, disk, entries_checksum, problem)


def table_problems(file: BinaryIO, size: int) -> list[str]:
    """What is wrong with the two copies of the table.

    :param size: of the disk, in bytes
    """
    first, last = read_header(file, 1), read_header(file, size // SECTOR - 1)
    problems = [
        f"{name}: {'there is none' if header is None else header.problem}"
        for name, header in (("the GPT's header", first), ("its backup at the end of the disk", last))
        if header is None or header.problem
    ]
    if first and last and not problems:
        if (first.disk, first.entries_checksum) != (last.disk, last.entries_checksum):
            problems.append("the GPT and its backup are not the same")
        if first.other_address != last.own_address:
            problems.append(f"the GPT looks for its backup in sector {first.other_address}, not at the end of the disk")
    return problems


def _entries_match(file: BinaryIO, address: int, size: int, checksum: int) -> bool:
    if size > _MOST_ENTRY_BYTES or address >= 2**54:
        return False
    file.seek(address * SECTOR)
    return zlib.crc32(file.read(size)) == checksum
