"""Telling that this host has no room left from what is wrong with an image, which is only read."""

from __future__ import annotations

import errno
import os
import tempfile

from diskimage_create.errors import CommandFailed, HostError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def no_room(error: Exception) -> HostError | None:
    """The error to raise instead, where one says that there is no room; None for any other.

    :param error: of our own, or of a program
    """
    output = error.output if isinstance(error, CommandFailed) else ""
    full = isinstance(error, OSError) and error.errno in _FULL
    if not full and not any(os.strerror(number) in output for number in _FULL):
        return None
    return HostError(f"there is no room left in {tempfile.gettempdir()}", "set TMPDIR to a directory with more room")
