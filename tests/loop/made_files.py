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
