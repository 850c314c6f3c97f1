"""What differs between two images or records, as data. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

DIFF_SCHEMA = 1


class Kind(StrEnum):
    """What became of something on the way from the first image to the second."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    UPGRADED = "upgraded"
    DOWNGRADED = "downgraded"


@dataclass(frozen=True)
class Aspect:
    """One thing in which a file differs: its ``mode``, its ``owner``, ..."""

    what: str
    old: str | None
    new: str | None
    """None where there is none: an extended attribute was added, or removed."""


@dataclass(frozen=True)
class Change:
    """One difference."""

    name: str
    """A file's name, a package, a unit, ...: whatever the group is made of."""
    kind: Kind
    old: str | None = None
    new: str | None = None
    aspects: tuple[Aspect, ...] = ()
    """Of a changed file: in what it differs. ``old`` and ``new`` are None then."""
    cves: tuple[str, ...] = ()
    """Of a package: what its changelog names between the versions"""


@dataclass(frozen=True)
class Difference:
    """All that was compared, and how it differs."""

    a: str
    """What was compared, as the user named it"""
    b: str
    groups: Mapping[str, tuple[Change, ...]]
    """Differences by group; a group without any was compared and is equal, one that is not there was not compared."""
    notes: tuple[str, ...] = ()
    """What could not be compared, and why."""

    @property
    def empty(self) -> bool:
        """Whether nothing that was compared differs."""
        return not any(self.groups.values())

    def as_json(self) -> dict[str, Any]:
        """The difference as ``diff --format json`` prints it."""
        return {
            "schema": DIFF_SCHEMA,
            "a": self.a,
            "b": self.b,
            "equal": self.empty,
            "groups": {name: list(map(_change_json, changes)) for name, changes in self.groups.items()},
            "notes": list(self.notes),
        }


def _change_json(change: Change) -> dict[str, Any]:
    return asdict(change) | {"aspects": [asdict(aspect) for aspect in change.aspects], "cves": list(change.cves)}


def from_json(data: Mapping[str, Any]) -> Difference:
    """The inverse of :meth:`Difference.as_json`."""
    groups = {name: tuple(_change(change) for change in changes) for name, changes in data["groups"].items()}
    return Difference(data["a"], data["b"], groups, tuple(data["notes"]))


def _change(data: Mapping[str, Any]) -> Change:
    aspects = tuple(Aspect(**aspect) for aspect in data["aspects"])
    return Change(data["name"], Kind(data["kind"]), data["old"], data["new"], aspects, tuple(data["cves"]))


def compare_values(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[Change, ...]:
    """The differences between two tables of names and values, by name."""
    return tuple(
        Change(name, kind_of(a.get(name), b.get(name)), a.get(name), b.get(name))
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name)
    )


def kind_of(old: object, new: object) -> Kind:
    """What became of a value; None is a value that is not there."""
    return Kind.ADDED if old is None else Kind.REMOVED if new is None else Kind.CHANGED
