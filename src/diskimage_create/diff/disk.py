"""What the firmware finds on two disks before any file system: boot code, partitions, EFI system partitions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from diskimage_create.diff.files import compare_trees
from diskimage_create.diff.ignore import IgnoreList
from diskimage_create.diff.model import Change, compare_values
from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.validate.formats.disk import EFI_SYSTEM, Partition
from diskimage_create.validate.opening import fat
from diskimage_create.validate.view import ImageView

_SECTOR = 512
# A GPT has its header in the second sector, and its entries in the next 32: all that they say has a name of its own.
_TABLE_SECTORS = {"dos": 1, "gpt": 34}
_CHUNK_BYTES = 2**20


def compare_disks(
    a: ImageView, b: ImageView, ignore: IgnoreList, directory: Path
) -> tuple[tuple[Change, ...], list[str]]:
    """What differs between two disks, and notes on what could not be told in full.

    :param directory: an existing one, for the files of EFI system partitions
    :raises Unavailable: one of the images has no disk
    """
    old, new = _properties(a), _properties(b)
    inside: list[Change] = []
    notes: list[str] = []
    for number in sorted(_efi_partitions(a) & _efi_partitions(b)):
        content = f"partition {number} content"
        if old[content] == new[content]:
            continue
        try:
            inside += _compare_efi(a, b, number, ignore, directory)
        except (CommandFailed, HostError) as error:
            notes.append(
                f"partition {number}: its files cannot be told apart, its bytes were compared: {error.message}"
            )
        else:  # serial numbers and time stamps are left, and those of no file system are compared
            del old[content], new[content]
    changes = (*compare_values(old, new), *inside)
    return tuple(change for change in changes if not ignore.disk(change.name)), notes


def _properties(view: ImageView) -> dict[str, str]:
    """Everything about a disk but the content of its root file system, by name."""
    disk = view.disk
    facts = {
        "size": f"{disk.virtual_size} bytes",
        "partition table": disk.table or "none",
        "disk identifier": disk.identifier or "none",
        "boot code": _digest([disk.boot_code]),
    }
    with view.raw.open("rb") as file:
        if disk.table and disk.partitions:
            start = _TABLE_SECTORS.get(disk.table, 1) * _SECTOR
            end = min(partition.start for partition in disk.partitions)
            # GRUB's core image, where the first sector's boot code goes on.
            facts["gap before the first partition"] = _digest(_chunks(file, start, end))
        for partition in disk.partitions:
            name = f"partition {partition.number}"
            facts |= {f"{name} {what}": value for what, value in _partition_facts(partition).items()}
            if partition != disk.root:
                facts[f"{name} content"] = _digest(_chunks(file, partition.start, partition.end))
    return facts


def _partition_facts(partition: Partition) -> dict[str, str]:
    facts = {
        "layout": f"{partition.size} bytes at {partition.start}",
        "type": partition.type or "none",
        "boot flag": "set" if partition.bootable else "not set",
    }
    optional = {"identifier": partition.uuid, "name": partition.name}
    if filesystem := partition.filesystem:
        optional |= {
            "file system": filesystem.type,
            "file system label": filesystem.label,
            "file system UUID": filesystem.uuid,
        }
    return facts | {what: value for what, value in optional.items() if value}


def _efi_partitions(view: ImageView) -> set[int]:
    return {partition.number for partition in view.disk.partitions if partition.type == EFI_SYSTEM}


def _compare_efi(a: ImageView, b: ImageView, number: int, ignore: IgnoreList, directory: Path) -> list[Change]:
    """What differs among the files of an EFI system partition.

    :raises HostError: mtools are not installed
    :raises CommandFailed: it is no FAT
    """
    trees = []
    for view, side in ((a, "a"), (b, "b")):
        tree = directory / f"efi-{side}-{number}"
        tree.mkdir()
        fat.copied(view.raw, next(part for part in view.disk.partitions if part.number == number), tree)
        trees.append(tree)
    return [
        replace(change, name=f"partition {number}:{change.name}")
        for change in compare_trees(trees[0], trees[1], ignore)
    ]


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end and (chunk := file.read(min(_CHUNK_BYTES, end - start))):
        start += len(chunk)
        yield chunk


def _digest(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    empty = True
    for chunk in chunks:
        digest.update(chunk)
        empty = empty and not chunk.strip(b"\0")
    return "empty" if empty else f"sha256:{digest.hexdigest()}"
