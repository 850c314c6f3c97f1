"""What of a store may go, and how its entries are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from diskimage_create.store import Entry

LIST_SCHEMA = 1


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
    used = {entry.path: entry.used for entry in entries}  # asked once: builds go on meanwhile
    kept: Counter[tuple[str, str]] = Counter()
    gone: list[Entry] = []
    size, full = 0, False
    for entry in sorted(entries, key=lambda entry: used[entry.path], reverse=True):
        kind = entry.step, entry.label
        too_many = limits.keep_last is not None and kept[kind] >= limits.keep_last
        too_old = limits.unused is not None and now - used[entry.path] > limits.unused
        if not too_many and not too_old:
            # Nothing stays for being small when something went that was used after it.
            full = full or (limits.max_bytes is not None and size + entry.bytes > limits.max_bytes)
        if too_many or too_old or full:
            gone.append(entry)
        else:
            kept[kind] += 1
            size += entry.bytes
    return gone[::-1]


def list_as_json(entries: Sequence[Entry]) -> dict[str, Any]:
    """What ``cache list --format json`` prints; sizes in bytes."""
    return {"schema": LIST_SCHEMA, "entries": [_as_json(entry) for entry in entries]}


def _as_json(entry: Entry) -> dict[str, Any]:
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
