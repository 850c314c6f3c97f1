"""Where elements are looked for: directories that variables name, ours, installed packages', diskimage-builder's."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from diskimage_create.errors import InputError, Problem
from diskimage_create.once import once

OURS = "diskimage-create"
DIB = "diskimage-builder"

#: Package that holds elements -> where below a prefix's ``share``; the first wins where two have one of a name.
#: pip and distributions put them there: the paths are those of the wheels' data files.
PACKAGES: Mapping[str, str] = {
    "tripleo-puppet-elements": "tripleo-puppet-elements",
    "tripleo-image-elements": "tripleo-image-elements",
    "ironic-python-agent-builder": "ironic-python-agent-builder/dib",
    "sahara-image-elements": "sahara-elements/elements",
}


@dataclass(frozen=True)
class Place:
    """A directory that holds elements."""

    path: Path
    variable: str = ""
    """The variable (or the option) that names it; empty: it belongs to a package."""
    package: str = ""
    """The package that it belongs to; empty: a directory of the user's."""


def named(environ: Mapping[str, str], ours: Path, theirs: Path) -> list[Place]:
    """The directories where a build looks first, the first winning: a checkout's, the user's, ours, the libraries'.

    :param environ: names them (docs/cli.md)
    :param ours: the elements that come with this project
    :param theirs: those that come with diskimage-builder
    :raises InputError: a directory that a variable names is not there
    """
    places: list[Place] = []
    if environ.get("OCTAVIA_REPO_PATH"):
        places.append(Place(Path(environ["OCTAVIA_REPO_PATH"], "elements"), "OCTAVIA_REPO_PATH"))
    for variable in ("DIB_LOCAL_ELEMENTS_PATH", "ELEMENTS_PATH"):
        places += [Place(Path(part), variable) for part in environ.get(variable, "").split(os.pathsep) if part]
    places.append(Place(ours, package=OURS))
    if environ.get("ELEMENTS_REPO_PATH"):
        checkout = Path(environ["ELEMENTS_REPO_PATH"])
        inside = checkout / "elements" if (checkout / "elements").is_dir() else checkout
        places.append(Place(inside, "ELEMENTS_REPO_PATH"))
    if environ.get("DIB_REPO_PATH"):
        places.append(Place(Path(environ["DIB_REPO_PATH"], "diskimage_builder/elements"), "DIB_REPO_PATH"))
    else:
        places.append(Place(theirs, package=DIB))
    if missing := [
        Problem(f"directory {place.path} does not exist", place.variable, "correct the variable, or unset it")
        for place in places
        if not place.path.is_dir()
    ]:
        raise InputError(missing)
    return unique(places)


def installed(environ: Mapping[str, str], prefixes: Iterable[Path] | None = None) -> list[Place]:
    """The element packages of this host. Whoever sets ELEMENTS_PATH says where elements are: then it is none.

    :param prefixes: directories with a ``share``, the first winning; by default those of this Python and of the system
    """
    if environ.get("ELEMENTS_PATH"):
        return []
    roots = list(shares() if prefixes is None else prefixes)
    found = []
    for package, below in PACKAGES.items():
        candidates = (root / "share" / below for root in roots)
        if directory := next((path for path in candidates if path.is_dir()), None):
            found.append(Place(directory.resolve(), package=package))
    return found


def shares() -> list[Path]:
    """The directories below whose ``share`` packages of this Python and of the system have their data, in order."""
    user = [site.getuserbase()] if site.ENABLE_USER_SITE else []
    return [Path(sys.prefix), *map(Path, user), Path("/usr/local"), Path("/usr")]


def unique(places: Iterable[Place]) -> list[Place]:
    """The places by their real paths, each once."""
    by_path: dict[Path, Place] = {}
    for place in places:
        path = _real(place.path)
        by_path.setdefault(path, Place(path, place.variable, place.package))
    return list(by_path.values())


@once
def _real(path: Path) -> Path:
    return path.resolve()


def insert(places: list[Place], packages: Iterable[Place]) -> list[Place]:
    """Installed packages come right before diskimage-builder: their elements are written to go over its own."""
    return unique([*places[:-1], *packages, *places[-1:]])
