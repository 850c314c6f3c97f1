"""EFI system partitions: not every kernel has vfat, and mtools need neither it nor root."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
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
    listed = _mtools(listing, expect=(0, 1))  # 1: also of an empty one
    if any(int(total[1].replace(" ", "")) > partition.size for total in _TOTAL.finditer(listed)):
        raise CommandFailed(listing, 1, "its files claim to be larger than the partition")
    _mtools(["mcopy", "-s", "-n", "-i", source, "::", f"{target}/"])
    return Tree(target, lambda: [_as_mounted(entry) for entry in walk(target)])


def _mtools(command: Sequence[str], expect: Sequence[int] = (0,)) -> str:
    # No settings of the user's; and the size of the medium need not be one that DOS knew.
    environment = dict(os.environ, PATH=process.tool_path(), MTOOLSRC="/dev/null", MTOOLS_SKIP_CHECK="1", LC_ALL="C")
    return process.run(command, env=environment, timeout=_SECONDS, expect=expect).stdout


def _as_mounted(entry: Entry) -> Entry:
    """FAT has neither owners nor modes: as mount(8) shows them by default."""
    return entry._replace(mode=stat.S_IFMT(entry.mode) | 0o755, uid=0, gid=0)
