"""``elements list``: what there is, and where it is from."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

from diskimage_create.catalogue import Catalogue, Entry, facts

SCHEMA = 1


def matching(catalogue: Catalogue, pattern: str | None) -> list[Entry]:
    """The elements whose name fits: a pattern with ``*``, ``?`` and ``[``, or a part of the name."""
    if pattern is None:
        return list(catalogue.entries)
    shell = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    return [entry for entry in catalogue.entries if fnmatch.fnmatchcase(entry.name, shell)]


def as_json(catalogue: Catalogue, entries: Sequence[Entry]) -> dict[str, Any]:
    """What ``elements list --format json`` prints."""
    return {
        "schema": SCHEMA,
        "elements": [
            {
                "name": entry.name,
                "path": str(entry.path),
                "origin": entry.origin_as_json(),
                "description": facts.description(entry.path),
                "shadowed_by": str(entry.shadowed_by) if entry.shadowed_by else None,
                "shadows": [str(other.path) for other in catalogue.shadows(entry)],
            }
            for entry in entries
        ],
    }


def as_text(catalogue: Catalogue, entries: Sequence[Entry], width: int | None = None) -> str:
    """A line for each: name, origin, what it is.

    :param width: columns; what is longer is cut
    """
    rows = [(entry.name, entry.origin, _remark(catalogue, entry) + facts.description(entry.path)) for entry in entries]
    names, origins = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    lines = (f"{name:<{names}}  {origin:<{origins}}  {text}".rstrip() for name, origin, text in rows)
    return "\n".join(line if width is None or len(line) <= width else f"{line[: width - 3]}..." for line in lines)


def _remark(catalogue: Catalogue, entry: Entry) -> str:
    """Which one of a name is used is seen by the element that goes over it, or that it goes over."""
    if entry.shadowed_by:
        return f"[shadowed by {catalogue.used[entry.name].origin}] "
    if hidden := catalogue.shadows(entry):
        return f"[shadows {', '.join(other.origin for other in hidden)}] "
    return ""
