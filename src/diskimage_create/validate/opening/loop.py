"""Root's way: the kernel mounts the file system, read-only, from a loop device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from diskimage_create import mounts
from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.validate.formats.disk import FileSystem
from diskimage_create.validate.opening import NotThisWay
from diskimage_create.validate.opening.listing import by_find
from diskimage_create.validate.root import Tree

# What mount(8), or sudo, says of this host and not of the image.
# "File exists": a copy of this Btrfs is mounted, and the kernel takes no two of one UUID.
_OF_THIS_HOST = ("loop device", "permission denied", "must be superuser", "password", "file exists")


@contextmanager
def partition(
    source: Path, filesystem: FileSystem, start: int, size: int, target: Path, subvolume: str = ""
) -> Iterator[Tree]:
    """Mount a file system that is a part of a file; see :data:`diskimage_create.validate.opening.Mounter`.

    :raises CommandFailed: it is damaged
    :raises NotThisWay: the kernel does not know it
    :raises HostError: nothing can be mounted here
    """
    options = mounts.read_only_options(filesystem.type, offset=start, size=size or None)
    if subvolume:
        options += (f"subvol={subvolume}",)
    with ExitStack() as stack:
        try:
            stack.enter_context(mounts.mounted(source, target, fstype=filesystem.type, options=options))
        except CommandFailed as error:
            output = error.output.lower()
            if "unknown filesystem type" in output:
                raise NotThisWay(f"the kernel of this host does not know {filesystem.type}") from None
            if any(complaint in output for complaint in _OF_THIS_HOST):
                raise HostError(f"cannot mount an image here: {error.output.strip()}", hint="run as root") from None
            raise
        yield Tree(target, lambda: by_find(target))
