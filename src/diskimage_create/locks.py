"""Locks on files and directories (flock(2)): they end with whoever has them, whatever ends that."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


def locked(path: Path, how: int) -> AbstractContextManager[None]:
    """Lock a directory or a file until the context ends.

    :param how: of flock(2): LOCK_EX or LOCK_SH, with LOCK_NB or without
    :raises FileNotFoundError: it is not there, or was removed while we waited
    :raises BlockingIOError: it is locked, and we do not wait
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        if os.fstat(descriptor).st_ino != path.stat().st_ino:
            raise FileNotFoundError(path)
    except BaseException:
        os.close(descriptor)
        raise
    return _held(descriptor)


@contextmanager
def _held(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
