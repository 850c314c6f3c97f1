"""What the headers of an executable say: for which machine it is, and how long its file must be.

A file that was cut off while it was copied still begins like a good one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

#: As many of the first bytes of a file as its headers are in
HEADER_BYTES = 4096

_ELF64, _ELF32 = struct.Struct("<QQQIHHHHHH"), struct.Struct("<IIIIHHHHHH")
_PROGRAM_HEADER_BYTES = {64: 56, 32: 32}
_INTERPRETER = 3
_SECTION = struct.Struct("<8sIIII")
_OPTIONAL_64 = 0x20B
_MOST_SECTIONS = 96


@dataclass(frozen=True)
class Elf:
    """An ELF file (System V ABI, chapter 4)."""

    machine: int
    bits: int
    least_bytes: int
    """How long the file is at least."""
    interpreter: tuple[int, int] | None
    """Where in the file the name of its dynamic loader is, and how long that is."""


@dataclass(frozen=True)
class Portable:
    """A PE file: what UEFI starts (Microsoft's PE format; UEFI specification 2.10, 2.1.1)."""

    machine: int
    least_bytes: int


def parse_elf_machine(start: bytes) -> tuple[int, int] | None:
    """``e_machine`` and the bits per word from the first 20 bytes of an ELF file."""
    if len(start) < 20 or start[:4] != b"\x7fELF":
        return None
    order = "little" if start[5] == 1 else "big"
    return int.from_bytes(start[18:20], order), 64 if start[4] == 2 else 32  # type: ignore[arg-type]


def parse_elf(start: bytes) -> Elf | None:
    """The headers of a little-endian ELF file from its first bytes; None where it is none, or makes no sense."""
    if start[:4] != b"\x7fELF" or len(start) < 64 or start[5] != 1:
        return None
    bits = 64 if start[4] == 2 else 32
    (machine,) = struct.unpack_from("<H", start, 18)
    fields = (_ELF64 if bits == 64 else _ELF32).unpack_from(start, 24)
    _, programs, sections, _, _, program_bytes, program_count, section_bytes, section_count, _ = fields
    least = sections + section_bytes * section_count
    interpreter = None
    for number in range(program_count):
        at = programs + number * program_bytes
        header = start[at : at + _PROGRAM_HEADER_BYTES[bits]]
        if len(header) < _PROGRAM_HEADER_BYTES[bits]:
            break
        kind, offset, size = _program_header(header, bits)
        least = max(least, offset + size)
        if kind == _INTERPRETER:
            interpreter = (offset, size)
    return Elf(machine, bits, least, interpreter)


def _program_header(header: bytes, bits: int) -> tuple[int, int, int]:
    """Type, and where in the file the segment is."""
    if bits == 64:
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", header)
    else:
        kind, offset, _, _, size = struct.unpack_from("<IIIII", header)
    return kind, offset, size


def parse_pe(start: bytes) -> Portable | None:
    """The headers of a PE file from its first bytes; None where it is none.

    Its end is that of its last section, or of the signature behind that.
    """
    if start[:2] != b"MZ" or len(start) < 64:
        return None
    (at,) = struct.unpack_from("<I", start, 0x3C)
    if start[at : at + 4] != b"PE\0\0" or len(start) < at + 26:
        return None
    machine, count = struct.unpack_from("<HH", start, at + 4)
    optional_bytes, _, magic = struct.unpack_from("<HHH", start, at + 20)
    least = 0
    for number in range(min(count, _MOST_SECTIONS)):
        section = start[(first := at + 24 + optional_bytes + number * 40) : first + 24]
        if len(section) == _SECTION.size:
            _, _, _, size, offset = _SECTION.unpack(section)
            least = max(least, offset + size if size else 0)
    # The fifth data directory is the certificate table, whose address is one in the file.
    directory = at + 24 + (112 if magic == _OPTIONAL_64 else 96) + 4 * 8
    if directory + 8 <= at + 24 + optional_bytes and len(start) >= directory + 8:
        offset, size = struct.unpack_from("<II", start, directory)
        least = max(least, offset + size if size else 0)
    return Portable(machine, least)
