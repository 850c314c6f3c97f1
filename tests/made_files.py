"""Files of images that look to a check like real ones, and are a few bytes."""

from __future__ import annotations

import struct


def elf(machine: int, interpreter: str = "") -> bytes:
    """A program that is all headers, and the name of its loader."""
    name = interpreter.encode() + b"\0" if interpreter else b""
    header = struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, bool(name), 0, 0, 0)
    program = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(name), len(name), 1)
    return b"\x7fELF\x02\x01\x01" + bytes(9) + header + (program + name if name else b"")


def cpio(files: dict[str, bytes]) -> bytes:
    """A newc archive of executable files."""
    archive = b""
    for inode, (name, content) in enumerate({**files, "TRAILER!!!": b""}.items()):
        fields = (inode, 0o100755, 0, 0, 1, 0, len(content), 8, 1, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return archive


def pe(machine: int = 0x8664, *, sections: int = 2, size: int = 4096, signature: int = 0) -> bytes:
    """The headers of a 64-bit PE file with sections of a size, and a signature behind them."""
    directories = bytes(4 * 8) + struct.pack("<II", 512 + sections * size if signature else 0, signature) + bytes(88)
    optional = struct.pack("<H", 0x20B) + bytes(110) + directories
    table = b"".join(
        struct.pack("<8sIIIIIIHHI", b".text", size, 0, size, 512 + number * size, 0, 0, 0, 0, 0)
        for number in range(sections)
    )
    header = struct.pack("<HHIIIHH", machine, sections, 0, 0, 0, len(optional), 0)
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + header + optional + table
