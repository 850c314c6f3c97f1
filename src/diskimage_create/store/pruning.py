"""What of a store may go, and how its entries are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from diskimage_create.store import Entry


@dataclass(frozen=True)
class Limits:
    """What goes: whatever is beyond any of these; None sets no limit."""

    keep_last: int | None = None
    """Of one step of one kind of image"""
    max_bytes: int | None = None
    unused: timedelta | None = None
    """How long nobody used it"""


def superfluous(entries: Sequence[Entry], limits: Limits, now: datetime | None = None) -> list[Entry]:
    """The entries that go, those first that were not used for longest."""
    now = now or datetime.now(UTC)
    newest_first = sorted(entries, key=lambda entry: entry.used, reverse=True)
    kept: list[Entry] = []
    gone: list[Entry] = []
    size = 0
    for entry in newest_first:
        alike = sum((other.step, other.label) == (entry.step, entry.label) for other in kept)
        too_many = limits.keep_last is not None and alike >= limits.keep_last
        too_old = limits.unused is not None and now - entry.used > limits.unused
        too_big = limits.max_bytes is not None and size + entry.bytes > limits.max_bytes
        if too_many or too_old or too_big:
            gone.append(entry)
        else:
            kept.append(entry)
            size += entry.bytes
    return gone[::-1]


def as_json(entry: Entry) -> dict[str, Any]:
    """An entry as ``cache list --format json`` prints it; sizes in bytes."""
    return {
        "step": entry.step,
        "identity": entry.identity,
        "label": entry.label,
        "created": entry.created.isoformat(timespec="seconds"),
        "used": entry.used.isoformat(timespec="seconds"),
        "bytes": entry.bytes,
        "path": str(entry.path),
    }


def as_text(entry: Entry) -> str:
    """An entry on one line."""
    made = f"{entry.created.astimezone():%Y-%m-%d %H:%M}"
    identity = entry.identity.removeprefix("sha256:")[:12]
    return f"{identity}  {made}  {entry.bytes / 1e6:7.0f} MB  {entry.step:<11}  {entry.label}"
