"""What becomes of several entries: a later one overwrites the parameters that it sets; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from diskimage_create.containers.entries import Entry
from diskimage_create.containers.table import Row


@dataclass(frozen=True)
class Wanted:
    """An image that an entry wants."""

    entry: Entry
    row: Row
    parameters: tuple[str, ...]
    """Those that no later entry sets"""


def layered(entries: Iterable[tuple[Entry, Sequence[Row]]]) -> list[Wanted]:
    """The images that are needed, in the order of the entries: not those all of whose parameters later ones set."""
    images = [(entry, row) for entry, rows in entries for row in rows]
    last = {parameter: number for number, (_, row) in enumerate(images) for parameter in row.parameters}
    wanted = []
    for number, (entry, row) in enumerate(images):
        parameters = tuple(parameter for parameter in row.parameters if last[parameter] == number)
        if parameters or not row.parameters:
            wanted.append(Wanted(entry, row, parameters))
    return wanted
