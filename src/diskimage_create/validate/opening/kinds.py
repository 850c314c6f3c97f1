"""The types of images, told by their content."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from diskimage_create.validate.formats import qcow2
from diskimage_create.validate.formats.disk import HEAD_BYTES, parse_superblock
from diskimage_create.validate.formats.kernels import is_kernel
from diskimage_create.validate.view import Damaged

# cpio, bzip2, xz, lzma, zstd: what the kernel unpacks, and no disk starts with
_RAMDISK_MAGIC = (b"0707", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00", b"\x28\xb5\x2f\xfd")


def image_kind(path: Path) -> str:
    """The type of an image by its content: a name can be wrong.

    :raises Damaged: it is none of those that can be validated
    """
    with path.open("rb") as file:
        start = file.read(1024)
        file.seek(max(0, file.seek(0, 2) - 512))
        end = file.read(8)
    if start.startswith(qcow2.MAGIC):
        return "qcow2"
    if is_kernel(start):  # before disks: a kernel for PCs has the signature of a boot sector
        return "kernel"
    if start.startswith(_RAMDISK_MAGIC) or (start.startswith(b"\x1f\x8b") and _starts_with(path, b"0707", 0)):
        return "initramfs"
    if start[257:262] == b"ustar" or (start.startswith(b"\x1f\x8b") and _starts_with(path, b"ustar", 257)):
        return "tar"
    if start.startswith(b"hsqs"):
        return "squashfs"
    if b"conectix" in (start[:8], end):
        return "vhd"
    if start[510:512] == b"\x55\xaa" or _is_filesystem(path):
        return "raw"
    raise Damaged("image-intact", "the file is no disk image, file system or archive that is known here")


def _starts_with(path: Path, magic: bytes, offset: int) -> bool:
    """Whether the content of a gzip file has these bytes there."""
    try:
        with gzip.open(path) as file:
            return file.read(offset + len(magic))[offset:] == magic
    except (OSError, EOFError, zlib.error):
        return False


def _is_filesystem(path: Path) -> bool:
    with path.open("rb") as file:
        return parse_superblock(file.read(HEAD_BYTES)) is not None
