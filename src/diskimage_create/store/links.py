"""The same content under another name, for as little as the file system lets it."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

#: ioctl_ficlonerange(2)
_FICLONE = 0x40049409


def link(source: Path, target: Path, *, shared: bool = True) -> None:
    """The same content under another name: a reflink where the file system can, else a hard link, else a copy.

    :param shared: False makes no hard link, so that a change of one in place is none of the other
    :raises FileExistsError: the target is there
    """
    with source.open("rb") as original, target.open("xb") as clone, suppress(OSError):
        fcntl.ioctl(clone, _FICLONE, original.fileno())
        return
    target.unlink()
    if shared:
        with suppress(OSError):
            os.link(source, target)
            return
    try:
        _copy(source, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its holes: a raw image is mostly these."""
    with source.open("rb") as old, target.open("xb") as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        end = 0
        while (begin := _next_data(old.fileno(), end)) is not None:
            end = os.lseek(old.fileno(), begin, os.SEEK_HOLE)
            while begin < end:
                os.lseek(new.fileno(), begin, os.SEEK_SET)
                sent = os.sendfile(new.fileno(), old.fileno(), begin, end - begin)
                if sent == 0:
                    raise OSError(errno.EIO, "it became shorter while it was copied", str(source))
                begin += sent


def _next_data(descriptor: int, begin: int) -> int | None:
    """Where the data after a place begin; None where there are none."""
    try:
        return os.lseek(descriptor, begin, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # lseek(2): beyond the last data
            return None
        raise
