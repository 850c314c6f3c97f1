"""Whether a compressed file has its end, found without decompressing it where its format allows that.

A stream that lost its end is found here; one with damage inside, where it is decompressed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

_CHUNK = 2**20
_CPIO_HEADER = 110
_CPIO_END = b"TRAILER!!!"
_CPIO = (b"070701", b"070702")

#: Block of an LZ4 frame that is not compressed (lz4_Frame_format.md)
_LZ4_PLAIN = 1 << 31


#: More parts than any initrd has, and more bytes than any unpacks to: an image may hold anything
_MOST_PARTS = 2**20
_MOST_BYTES = 2**30


class CutShort(Exception):
    """The file ends before its content does, or its content makes no sense."""


def _parts() -> Iterator[int]:
    """As many numbers as there may be parts.

    :raises CutShort: there are more
    """
    yield from range(_MOST_PARTS)
    raise CutShort


def require_end(file: BinaryIO, size: int) -> None:
    """See that the parts of an initrd are whole: archives, of which the last one may be compressed.

    Formats that do not tell (bzip2, lzma, lzo) are taken for whole.

    :raises CutShort: it ends too early
    """
    position = _skip_zeros(file, 0)
    while position < size and _at(file, position, 6) in _CPIO:
        position = _skip_zeros(file, _after_cpio(file, position))
    if position >= size:
        return
    start = _at(file, position, 6)
    for magic, walk in _WALKS.items():
        if start.startswith(magic):
            walk(file, position, size)


def _at(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _whole(file: BinaryIO, position: int, size: int) -> bytes:
    content = _at(file, position, size)
    if len(content) < size:
        raise CutShort
    return content


def _skip_zeros(file: BinaryIO, position: int) -> int:
    """The next position that holds something else."""
    file.seek(position)
    while chunk := file.read(_CHUNK):
        if rest := chunk.lstrip(b"\0"):
            return position + len(chunk) - len(rest)
        position += len(chunk)
    return position


def _after_cpio(file: BinaryIO, position: int) -> int:
    """Where the archive ends (newc: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst)."""
    for _ in _parts():
        header = _whole(file, position, _CPIO_HEADER)
        if header[:6] not in _CPIO:
            raise CutShort
        try:
            size, name_size = int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            raise CutShort from None
        if min(size, name_size) < 0:
            raise CutShort
        name = _whole(file, position + _CPIO_HEADER, min(name_size, 4096))
        position = _aligned(_aligned(position + _CPIO_HEADER + name_size) + size)
        if name.rstrip(b"\0") == _CPIO_END:
            break
    return position


def _aligned(position: int) -> int:
    return (position + 3) & ~3


def _zstd(file: BinaryIO, position: int, size: int) -> None:
    """Frames one after the other, each of blocks that say how long they are (RFC 8878, 3.1.1)."""
    for _ in _parts():
        if position >= size:
            break
        magic = _whole(file, position, 4)
        if magic[1:] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50:  # a frame to skip
            position += 8 + int.from_bytes(_whole(file, position + 4, 4), "little")
        elif magic == b"\x28\xb5\x2f\xfd":
            position = _after_zstd_frame(file, position + 4)
        else:  # what pads the file
            return
    if position > size:
        raise CutShort


def _after_zstd_frame(file: BinaryIO, position: int) -> int:
    descriptor = _whole(file, position, 1)[0]
    single = bool(descriptor & 0x20)
    content_size = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    position += 1 + (not single) + (0, 1, 2, 4)[descriptor & 3] + content_size
    for _ in _parts():
        block = int.from_bytes(_whole(file, position, 3), "little")
        kind, length = block >> 1 & 3, block >> 3
        position += 3 + (1 if kind == 1 else length)
        if block & 1:  # the last one
            break
    return position + (4 if descriptor & 4 else 0)


def _gzip(file: BinaryIO, position: int, size: int) -> None:
    """Nothing in it says how long it is: it has to be decompressed."""
    file.seek(position)
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    unpacked = 0
    while not stream.eof:
        chunk = stream.unconsumed_tail or file.read(_CHUNK)
        if not chunk or unpacked > _MOST_BYTES:
            raise CutShort
        try:
            unpacked += len(stream.decompress(chunk, _CHUNK))
        except zlib.error:
            raise CutShort from None


def _xz(file: BinaryIO, position: int, size: int) -> None:
    """It ends with a footer, maybe padded by zeros (The .xz File Format, 2.1.2)."""
    end = _at(file, max(position, size - 4096), 4096).rstrip(b"\0")
    footer = end[-12:]
    if footer[-2:] != b"YZ" or struct.unpack_from("<I", footer)[0] != zlib.crc32(footer[4:10]):
        raise CutShort


def _lz4_legacy(file: BinaryIO, position: int, size: int) -> None:
    """Blocks up to the end of the file, each with its length in front."""
    position += 4
    for _ in _parts():
        if position >= size:
            break
        length = int.from_bytes(_whole(file, position, 4), "little")
        if not 0 < length < 2**24:  # another magic, or what pads the file
            return
        position += 4 + length
    if position > size:
        raise CutShort


def _lz4(file: BinaryIO, position: int, size: int) -> None:
    """One frame of blocks, ended by a length of zero (lz4_Frame_format.md)."""
    flags = _whole(file, position + 4, 1)[0]
    position += 7 + (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0)
    for _ in _parts():
        length = int.from_bytes(_whole(file, position, 4), "little") & ~_LZ4_PLAIN
        if length == 0:
            break
        position += 4 + length + (4 if flags & 0x10 else 0)
    if position + 4 + (4 if flags & 0x04 else 0) > size:
        raise CutShort


_WALKS: dict[bytes, Callable[[BinaryIO, int, int], None]] = {
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\x1f\x8b": _gzip,
    b"\xfd7zXZ": _xz,
    b"\x02\x21\x4c\x18": _lz4_legacy,
    b"\x04\x22\x4d\x18": _lz4,
}
