"""What a qcow2 file says about itself, read without opening it as an image.

QEMU's own tools follow a backing file or an external data file as soon as they open the
image, and either may name any file of this host. So the header is read here, first.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAGIC = b"QFI\xfb"

_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_EXTERNAL_DATA = 1 << 2
_EXTENDED_L2 = 1 << 4

_OFFSET_MASK = 0x00FFFFFFFFFFFE00
_COMPRESSED = 1 << 62
_SECTOR = 512


@dataclass(frozen=True)
class Header:
    """The fields of a qcow2 header that matter here."""

    version: int
    virtual_size: int
    cluster_bits: int
    l1_offset: int
    l1_entries: int
    backing_file: bool
    external_data: bool
    extended_l2: bool


def parse_header(start: bytes) -> Header:
    """Read the header from the first bytes of the file.

    :raises ValueError: it is no qcow2 header, or it makes no sense
    """
    if len(start) < _HEADER.size or not start.startswith(MAGIC):
        raise ValueError("the qcow2 header is cut short")
    fields = _HEADER.unpack_from(start)
    _, version, backing_offset, _, cluster_bits, virtual_size, _, l1_entries, l1_offset, *_ = fields
    features = 0
    if version == 3 and len(start) >= 80:
        (features,) = struct.unpack_from(">Q", start, 72)
    elif version != 2:
        raise ValueError(f"qcow2 version {version} is unknown")
    if not 9 <= cluster_bits <= 21 or l1_entries > 2**22 or l1_offset > _OFFSET_MASK:
        raise ValueError("the qcow2 header is damaged")
    return Header(
        version=version,
        virtual_size=virtual_size,
        cluster_bits=cluster_bits,
        l1_offset=l1_offset,
        l1_entries=l1_entries,
        backing_file=backing_offset != 0,
        external_data=bool(features & _EXTERNAL_DATA),
        extended_l2=bool(features & _EXTENDED_L2),
    )


def missing_bytes(path: Path, header: Header) -> int:
    """How many bytes the file lacks at its end, by the offsets of its own tables; 0 for a whole one.

    ``qemu-img check`` lets the last cluster be incomplete, so that it takes a file which
    lost its last kilobytes for a good one. QEMU writes whole clusters and ends compressed
    data on a sector, hence any byte that a table refers to must be there. (Clusters made of
    sub-clusters are the exception: those may really be incomplete.)

    :raises ValueError: the tables make no sense
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        end = max(_extent_ends(file, header))
    slack = (1 << header.cluster_bits) - 1 if header.extended_l2 else 0
    return max(0, end - slack - size)


def _extent_ends(file: BinaryIO, header: Header) -> Iterator[int]:
    """Where each thing that the tables refer to ends; tables that are cut off end the search."""
    cluster = 1 << header.cluster_bits
    yield header.l1_offset + header.l1_entries * 8
    size = file.seek(0, 2)
    # Each table is read once, and none overlaps another: many entries for a few tables would take hours.
    for offset in sorted({entry & _OFFSET_MASK for entry in _table(file, header.l1_offset, header.l1_entries)} - {0}):
        if offset % cluster:
            raise ValueError("the qcow2 tables are damaged")
        yield offset + cluster
        if offset >= size:
            return
        yield _last_data_end(_table(file, offset, cluster // 8), header)


def _last_data_end(table: array[int], header: Header) -> int:
    """The end of the data that lies last in the file, among the entries of one L2 table."""
    step = 2 if header.extended_l2 else 1
    shift = 62 - (header.cluster_bits - 8)
    compressed_mask = (1 << shift) - 1
    sectors_mask = (1 << (header.cluster_bits - 8)) - 1
    end = 0
    for entry in table[::step]:
        if entry & _COMPRESSED:
            first_sector = (entry & compressed_mask) & ~(_SECTOR - 1)
            here = first_sector + (((entry >> shift) & sectors_mask) + 1) * _SECTOR
        elif offset := entry & _OFFSET_MASK:
            here = offset + (1 << header.cluster_bits)
        else:
            continue
        end = max(end, here)
    return end


def _table(file: BinaryIO, offset: int, entries: int) -> array[int]:
    file.seek(offset)
    content = file.read(entries * 8)
    table = array("Q")
    table.frombytes(content[: len(content) // 8 * 8])
    if sys.byteorder == "little":
        table.byteswap()
    return table
