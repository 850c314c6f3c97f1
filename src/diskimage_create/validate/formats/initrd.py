"""What is in an initrd: a cpio archive, which may be compressed, and have others in front (microcode).

The format is newc (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diskimage_create import process

#: More than any initrd unpacks to; an image may hold anything
MAX_BYTES = 2**30

_CPIO = (b"070701", b"070702")
_HEADER_BYTES = 110
_END = "TRAILER!!!"


@dataclass(frozen=True)
class Member:
    """A file in an initrd, without its inode number and its time stamp."""

    name: str
    mode: int
    owner: str
    links: int
    device: str
    content: bytes

    def describe(self, content: bytes) -> str:
        """All that it can differ in, in one line.

        :param content: that which counts
        """
        return (
            f"mode {self.mode:06o}, owner {self.owner}, {self.links} links, device {self.device},"
            f" {len(content)} bytes, sha256:{hashlib.sha256(content).hexdigest()}"
        )


def read_initrd(content: bytes) -> Iterator[Member]:
    """The members of all archives in an initrd.

    :raises ValueError: it is none, or compressed in a way that is not known here
    :raises CommandFailed: zstd cannot decompress it
    :raises HostError: zstd is not installed
    """
    rest = content.lstrip(b"\0")
    while rest:
        if rest.startswith(_CPIO):
            members, end = _read_cpio(rest)
            yield from members
        else:
            rest, end = _decompressed(rest), 0  # always the last part
            if not rest.startswith(_CPIO):
                raise ValueError("what was compressed is no cpio archive")
        rest = rest[end:].lstrip(b"\0")


def _read_cpio(archive: bytes) -> tuple[list[Member], int]:
    """The members of one archive, and where it ends."""
    members: list[Member] = []
    position = 0
    while archive.startswith(_CPIO, position):
        header = archive[position : position + _HEADER_BYTES]
        fields = [int(header[start : start + 8], 16) for start in range(6, _HEADER_BYTES, 8)]
        _, mode, uid, gid, links, _, size, _, _, major, minor, name_size, _ = fields
        start = _aligned(position + _HEADER_BYTES + name_size)
        name = archive[position + _HEADER_BYTES : position + _HEADER_BYTES + name_size - 1].decode(errors="replace")
        if name == _END:
            return members, start
        if len(archive) < start + size:
            break
        members.append(Member(name, mode, f"{uid}:{gid}", links, f"{major}:{minor}", archive[start : start + size]))
        position = _aligned(start + size)
    raise ValueError("the cpio archive is cut short")


def _aligned(position: int) -> int:
    return (position + 3) & ~3


def _decompressed(content: bytes) -> bytes:
    for magic, decompress in _METHODS.items():
        if content.startswith(magic):
            try:
                return decompress(content)
            except (zlib.error, lzma.LZMAError, OSError) as error:
                raise ValueError(f"it cannot be decompressed: {error}") from None
    raise ValueError("it is neither a cpio archive nor compressed in a way that is known here")


def _zstd(content: bytes) -> bytes:
    """By the program: Python has no zstd before 3.14."""
    with tempfile.TemporaryDirectory(prefix="diskimage-initrd-") as directory:
        packed, unpacked = Path(directory, "initrd.zst"), Path(directory, "initrd")
        packed.write_bytes(content)
        # prlimit, so that no image can fill the disk.
        process.run(["prlimit", f"--fsize={MAX_BYTES}", "zstd", "-d", "-q", "-o", unpacked, "--", packed])
        return unpacked.read_bytes()


def _by(decompressor: Callable[[], Any]) -> Callable[[bytes], bytes]:
    """A function that decompresses all of its argument, or refuses it."""

    def decompress(content: bytes) -> bytes:
        stream = decompressor()
        unpacked: bytes = stream.decompress(content, MAX_BYTES)
        if not stream.eof or stream.unused_data.strip(b"\0"):
            raise ValueError("it is cut short, too large, or followed by something else")
        return unpacked

    return decompress


_METHODS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\x1f\x8b": _by(lambda: zlib.decompressobj(zlib.MAX_WBITS | 16)),
    b"\xfd7zXZ": _by(lzma.LZMADecompressor),
    b"BZh": _by(bz2.BZ2Decompressor),
}
