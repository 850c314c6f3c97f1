"""EFI system partitions: not every kernel has vfat, and mtools need neither it nor root."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from diskimage_create import process
from diskimage_create.errors import CommandFailed
from diskimage_create.validate.formats.disk import Partition
from diskimage_create.validate.root import Entry, Tree, walk

# FAT can be made to lead in circles, and to have the same content in many files.
_SECONDS = 60.0
# mdir's sum of a directory, and of all where there is more than one
_TOTAL = re.compile(r"\d files?\s+([\d ]+) bytes$", re.MULTILINE)


def copied(disk: Path, partition: Partition, target: Path) -> Tree:
    """Copy the files of a FAT partition into an existing directory.

    :raises CommandFailed: it is no FAT, or is damaged
    :raises HostError: mtools are not installed
    """
    plain = target.with_name(f"{target.name}.disk")  # without the @@ that mtools would understand
    plain.symlink_to(disk.resolve())
    source = f"{plain}@@{partition.start}"
    listing = ["mdir", "-/", "-a", "-i", source, "::/"]
    listed = process.run(listing, timeout=_SECONDS, expect=(0, 1))  # 1: also of an empty one
    if any(int(total[1].replace(" ", "")) > partition.size for total in _TOTAL.finditer(listed.stdout)):
        raise CommandFailed(listing, 1, "its files claim to be larger than the partition")
    process.run(["mcopy", "-s", "-n", "-i", source, "::", f"{target}/"], timeout=_SECONDS)
    return Tree(target, lambda: [_as_mounted(entry) for entry in walk(target)])


def _as_mounted(entry: Entry) -> Entry:
    """FAT has neither owners nor modes: as mount(8) shows them by default."""
    return entry._replace(mode=stat.S_IFMT(entry.mode) | 0o755, uid=0, gid=0)
