"""EFI system partitions: not every kernel has vfat, and mtools need neither it nor root."""

from __future__ import annotations

import stat
from pathlib import Path

from diskimage_create import process
from diskimage_create.errors import CommandFailed
from diskimage_create.validate.disk import Partition
from diskimage_create.validate.root import Entry, Tree, walk

# FAT can be made to lead in circles: how much is copied at most, in bytes, and for how long, in seconds.
_MOST_BYTES = 2**30
_SECONDS = 60.0


def copied(disk: Path, partition: Partition, target: Path) -> Tree:
    """Copy the files of a FAT partition into an existing directory.

    :raises CommandFailed: it is no FAT, or is damaged
    :raises HostError: mtools are not installed
    """
    command = ["mcopy", "-s", "-n", "-i", f"{disk}@@{partition.start}", "::", f"{target}/"]
    if partition.size > _MOST_BYTES:
        raise CommandFailed(command, 1, f"{partition.size} bytes are more than an EFI system partition needs")
    process.run(command, timeout=_SECONDS)
    return Tree(target, lambda: [_as_mounted(entry) for entry in walk(target)])


def _as_mounted(entry: Entry) -> Entry:
    """FAT has neither owners nor modes: as mount(8) shows them by default."""
    return entry._replace(mode=stat.S_IFMT(entry.mode) | 0o755, uid=0, gid=0)
