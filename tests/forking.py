"""Work of this program in processes of their own, which can be killed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """Start what a child process does; its identifier."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
    return pid


def ended(pid: int) -> int:
    """How it ended: its status, or the negative number of the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
