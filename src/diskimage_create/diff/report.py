"""Showing a difference: as text for people, as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from diskimage_create.diff.model import Aspect, Change, Difference

_MOST_CVES = 20


def as_json(difference: Difference) -> str:
    """The difference as ``diff --format json`` prints it."""
    return json.dumps(difference.as_json(), indent=1)


def as_text(difference: Difference) -> str:
    """One line for each difference, by group, and the verdict."""
    lines: list[str] = []
    for name, changes in difference.groups.items():
        lines += [f"{name.replace('_', ' ')}: {_counts(changes)}", *_rows(changes)]
    lines += [f"note: {_printable(note)}" for note in difference.notes]
    return "\n".join([*lines, "", summary(difference)])


def summary(difference: Difference) -> str:
    """The verdict in one line."""
    count = sum(map(len, difference.groups.values()))
    verdict = "equal" if difference.empty else f"{count} difference{'s' if count > 1 else ''}"
    return f"{_printable(difference.a)}, {_printable(difference.b)}: {verdict}"


def _counts(changes: Sequence[Change]) -> str:
    counts = Counter(change.kind.value for change in changes)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "equal"


def _rows(changes: Sequence[Change]) -> Iterator[str]:
    width = max((len(change.kind.value) for change in changes), default=0)
    for change in changes:
        details = "; ".join(map(_aspect, change.aspects)) if change.aspects else _values(change.old, change.new)
        yield f"  {change.kind.value:{width}}  {_printable(change.name)}: {_printable(details)}{_cves(change.cves)}"


def _cves(cves: Sequence[str]) -> str:
    """A kernel's changelog names hundreds: the JSON has all of them."""
    if not cves:
        return ""
    more = f" and {len(cves) - _MOST_CVES} more" if len(cves) > _MOST_CVES else ""
    return f" ({', '.join(cves[:_MOST_CVES])}{more})"


def _aspect(aspect: Aspect) -> str:
    if aspect.old == aspect.new:  # content of one size
        return f"{aspect.what} ({aspect.old})"
    return f"{aspect.what} {_values(aspect.old or 'none', aspect.new or 'none')}"


def _values(old: str | None, new: str | None) -> str:
    return " -> ".join(value for value in (old, new) if value is not None)


def _printable(text: str) -> str:
    """The text with control characters written out: names come from the images."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
