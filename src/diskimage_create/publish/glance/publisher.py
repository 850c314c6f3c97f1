"""Who uploads an image, so that a later run can tell whether that goes on, or was killed."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

#: What nobody has touched for so long is given up, where we cannot tell whether its publisher lives
_PATIENCE = timedelta(days=1)


def myself() -> str:
    """This process, as nobody else calls itself: where process identifiers are counted, this one, and its start."""
    return f"{_here()}:{os.getpid()}:{_started(os.getpid())}"


def new_identifier() -> str:
    """For an image: in the order of time (UUID version 7, RFC 9562), by which Glance sorts images of one second."""
    milliseconds, chance = time.time_ns() // 1_000_000, secrets.randbits(74)
    version, variant = 7, 0b10
    high = milliseconds << 80 | version << 76 | (chance >> 62) << 64
    return str(uuid.UUID(int=high | variant << 62 | chance & (1 << 62) - 1))


def is_gone(publisher: str, updated: datetime, now: datetime | None = None) -> bool:
    """Whether an image's upload will never be completed.

    :param publisher: what :func:`myself` was there
    :param updated: when the image was last changed
    """
    here, _, rest = publisher.partition(":")
    pid, _, started = rest.partition(":")
    if here == _here() and pid.isdecimal():
        return _started(int(pid)) != started
    return (now or datetime.now(UTC)) - updated > _PATIENCE


def _here() -> str:
    """This boot of this machine, and this namespace of process identifiers (namespaces(7)); nothing of it is told."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return hashlib.sha256(f"{boot} {os.stat('/proc/self/ns/pid').st_ino}".encode()).hexdigest()[:16]


def _started(pid: int) -> str:
    """When a process started, in ticks since the boot (proc(5), field 22); empty: there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return ""
