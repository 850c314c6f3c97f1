"""Which images of the table an entry is about; no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from diskimage_create.containers.table import Row


def chosen(
    rows: Iterable[Row], includes: Sequence[str], excludes: Sequence[str], services: Collection[str] | None
) -> list[Row]:
    """The images that are left of a table.

    Where there are ``includes``, one of them must match, and what matches stays whatever ``excludes`` say.

    :param services: those that are deployed, of which an image must belong to one; None: that is not known
    """
    return [row for row in rows if _wanted(row, includes, excludes) and _deployed(row, services)]


def matches(row: Row, patterns: Iterable[str]) -> bool:
    """Whether an image's full name contains one of some texts."""
    return any(pattern in row.imagename for pattern in patterns)


def _wanted(row: Row, includes: Sequence[str], excludes: Sequence[str]) -> bool:
    if includes:
        return matches(row, includes)
    return not matches(row, excludes)


def _deployed(row: Row, services: Collection[str] | None) -> bool:
    return services is None or any(service in services for service in row.services)
