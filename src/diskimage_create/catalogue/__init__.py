"""The element catalogue: every element that is installed, where it is from, and which one of a name is used."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from diskimage_create import elements, places
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import Element
from diskimage_create.places import Place

#: What the user says of one's own elements; the other variables name checkouts of what others have written
_USERS = frozenset({"--path", "DIB_LOCAL_ELEMENTS_PATH", "ELEMENTS_PATH"})


@dataclass(frozen=True)
class Entry:
    """An element, and the place that it was found in."""

    element: Element
    place: Place
    shadowed_by: Path | None = None
    """The element of this name that is used instead"""

    @property
    def name(self) -> str:
        """The element's."""
        return self.element.name

    @property
    def path(self) -> Path:
        """The element's directory."""
        return self.element.path

    @property
    def origin(self) -> str:
        """The package with its version, or the directory."""
        if not self.place.package:
            return str(self.place.path)
        return f"{self.place.package} {package_version(self.place.package) or ''}".rstrip()

    @property
    def own(self) -> bool:
        """Whether the element is this project's or the user's, who can mend it."""
        return self.place.package == places.OURS or self.place.variable in _USERS

    def origin_as_json(self) -> dict[str, Any]:
        """Where the element is from, as all commands print it."""
        return {
            "package": self.place.package or None,
            "version": package_version(self.place.package) if self.place.package else None,
            "variable": self.place.variable or None,
            "directory": str(self.place.path),
        }


@cache
def package_version(package: str) -> str | None:
    """The version of an installed package; None where Python knows nothing of it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Catalogue:
    """All elements below some places, the first place winning."""

    entries: tuple[Entry, ...]
    """Sorted by name; of one name, in the order of the places"""

    @cached_property
    def used(self) -> Mapping[str, Entry]:
        """The element of each name that a build would take."""
        return {entry.name: entry for entry in self.entries if entry.shadowed_by is None}

    @cached_property
    def elements(self) -> Mapping[str, Element]:
        """The same, as :mod:`diskimage_create.elements` wants them."""
        return {name: entry.element for name, entry in self.used.items()}

    def shadows(self, entry: Entry) -> list[Entry]:
        """The elements of the same name that are not used because of this one."""
        return [other for other in self.entries if other.name == entry.name and other.shadowed_by == entry.path]

    def dependents(self, name: str) -> list[str]:
        """The elements that name this one, or something that it provides, in their element-deps."""
        names = {name, *self.elements[name].provides}
        return [other for other, element in self.elements.items() if names & element.depends]

    def providers(self, name: str) -> list[str]:
        """The elements that provide something."""
        return [other for other, element in self.elements.items() if name in element.provides]

    def get(self, names: Sequence[str]) -> list[Entry]:
        """The elements of these names.

        :raises InputError: there is none of a name; names the nearest one
        """
        if problems := [self._unknown(name) for name in names if name not in self.used]:
            raise InputError(problems)
        return [self.used[name] for name in dict.fromkeys(names)]

    def _unknown(self, name: str) -> Problem:
        if providers := self.providers(name):
            hint = f"it is provided by {', '.join(providers[:5])}{', ...' if len(providers) > 5 else ''}"
            return Problem(f"there is no element {name}", "NAME", hint)
        close = difflib.get_close_matches(name, self.used, n=1)
        hint = f"did you mean {close[0]}?" if close else "'diskimage-create elements list' shows all"
        return Problem(f"there is no element {name}", "NAME", hint)


def read(where: Iterable[Place]) -> Catalogue:
    """Look at every element below these places."""
    first: dict[str, Path] = {}
    entries: list[Entry] = []
    for place in where:
        for name, element in elements.find_all([place.path]).items():
            shadowed_by = first.setdefault(name, element.path)
            entries.append(Entry(element, place, None if shadowed_by == element.path else shadowed_by))
    # Sorting is stable: of one name, the first place comes first.
    return Catalogue(tuple(sorted(entries, key=lambda entry: entry.name)))


def where(environ: Mapping[str, str], directories: Sequence[str] = ()) -> list[Place]:
    """Every place that there is: the given directories, those of a build, and all installed packages.

    :raises InputError: a directory is not there
    """
    if missing := [
        Problem(f"directory {path} does not exist", "--path", "name a directory that holds elements")
        for path in directories
        if not Path(path).is_dir()
    ]:
        raise InputError(missing)
    named = places.named(environ, elements.OURS, elements.builtin())
    more = [Place(Path(path), "--path") for path in directories]
    return places.unique([*more, *places.insert(named, places.installed(environ))])
