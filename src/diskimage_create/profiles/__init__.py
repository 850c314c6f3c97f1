"""Image kinds as data: what an amphora, or another image, consists of. One YAML file each."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

from diskimage_create import yamlfile
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import DISK_TYPES
from diskimage_create.once import once
from diskimage_create.yamlfile import Document

#: Directories with the user's own profiles, separated by colons
VARIABLE = "DISKIMAGE_CREATE_PROFILE_PATH"
#: Option of the command line -> the fact that it says something of
OPTIONS = {
    "backend": "backend",
    "cpu_pinning": "cpu_pinning",
    "enforce_mac": "enforce_mac",
    "fips": "fips",
    "git_branch": "git_branch",
    "no_sshd": "sshd",
    "package_agent": "package_agent",
    "root_password": "root_password",
}
#: What conditions and values may name, besides variables
FACTS = frozenset({*OPTIONS.values(), "arch", "distribution", "family", "kernel", "os_element", "release"})

_HERE = Path(__file__).parent
_OPERATING_SYSTEMS = _HERE.parent / "operating_systems.yaml"
_NEEDED_OF_AN_OS = ("element", "distribution", "family", "release")
_Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Profile:
    """An image kind; ``docs/profiles.md`` describes the format of its file."""

    name: str
    title: str
    output: str
    default_os: str
    operating_systems: Mapping[str, Mapping[str, Any]]
    elements: _Entries
    size_gib: int | None = 5
    """None: as large as the content needs"""
    types: Sequence[str] = DISK_TYPES
    backends: Mapping[str, str] = field(default_factory=dict)
    requires_elements: Mapping[str, Sequence[str]] = field(default_factory=dict)
    packages: _Entries = ()
    arguments: _Entries = ()
    environment: _Entries = ()
    expected: _Entries = ()

    def knows(self, option: str) -> bool:
        """Whether an option says anything about an image of this kind: whether its fact is used."""
        if option == "backend":
            return bool(self.backends)
        return OPTIONS[option] in self._facts

    @property
    def variables(self) -> set[str]:
        """Those of the environment that have something to say of an image of this kind."""
        named = {entry[key] for entry in self._entries for key in ("name", "replaced_by") if key in entry}
        kernels = (entry.get("kernel") for entry in self.operating_systems.values())
        return named | {kernel["variable"] for kernel in kernels if kernel} | self._facts - FACTS

    @property
    def _facts(self) -> set[str]:
        return {fact for entry in self._entries for fact in (*entry.get("when", ()), *_placeholders(entry))}

    @property
    def _entries(self) -> list[Mapping[str, Any]]:
        return [*self.elements, *self.packages, *self.arguments, *self.environment]


def _placeholders(entry: Mapping[str, Any]) -> Iterator[str]:
    """What is in the braces of an entry's texts: names, if they are right."""
    for text in (*entry.get("names", ()), entry.get("value", "")):
        for _, name, format_spec, conversion in Formatter().parse(text):
            if name is not None:
                yield f"{name}{conversion or ''}{format_spec or ''}"


def directories(environ: Mapping[str, str]) -> list[Path]:
    """Where profiles are looked for, the first winning: the user's, ours."""
    return [*(Path(part) for part in environ.get(VARIABLE, "").split(os.pathsep) if part), _HERE]


def names(places: Iterable[Path] = (_HERE,)) -> list[str]:
    """The names of all profiles."""
    return sorted({path.stem for place in places for path in place.glob("*.yaml") if path.is_file()})


def find(name: str, places: Iterable[Path] = (_HERE,)) -> Path | None:
    """The file of the profile of that name."""
    if name in names(places):
        return next(path for place in places if (path := place / f"{name}.yaml").is_file())
    return None


@cache
def load(name: str) -> Profile:
    """One of the profiles that come with this project.

    :raises KeyError: there is no such profile
    """
    if (path := find(name)) is None:
        raise KeyError(name)
    return read(path)


@once
def read(path: Path) -> Profile:
    """Read a profile from its file. Ours are known to be good: tests check them.

    :raises InputError: with everything that is wrong with it
    """
    file = yamlfile.read(path)
    if path.parent != _HERE and (problems := _problems(file)):
        raise InputError(problems)
    data = dict(file.data)
    known = operating_systems()
    systems = {name: {**known.get(name, {}), **(entry or {})} for name, entry in data.pop("operating_systems").items()}
    return Profile(**{"name": path.stem, "output": path.stem, **data}, operating_systems=systems)


@cache
def operating_systems() -> Mapping[str, Mapping[str, Any]]:
    """Operating systems by name, and what is known of them (``operating_systems.yaml``)."""
    data: Mapping[str, Mapping[str, Any]] = yamlfile.read(_OPERATING_SYSTEMS).data
    return data


def _problems(file: Document) -> list[Problem]:
    found = file.problems("profile")
    if not re.fullmatch(r"[\w.+-]+", file.path.stem, re.ASCII):
        found.append(Problem("a profile's name has letters, digits and ._+- only", str(file.path), "rename the file"))
    return found or [*_unknown_names(file), *_incomplete_systems(file)]


def _unknown_names(file: Document) -> Iterator[Problem]:
    """What conditions and values name, and nobody sets."""
    defined: set[str] = set(FACTS)
    for key in ("environment", "elements", "packages", "arguments", "expected"):
        for number, entry in enumerate(file.data.get(key, ())):
            for name in entry.get("when", ()):
                # Variables of the user's environment are in capitals, at least in part.
                if name not in defined and name == name.lower():
                    yield _unknown(name, file.where(key, number, "when", name), defined)
            try:
                unset = [name for name in _placeholders(entry) if name not in {*defined, *entry.get("when", ())}]
            except ValueError as error:
                yield Problem(f"braces do not match: {error}", file.where(key, number))
                continue
            yield from (_unknown(name, file.where(key, number), defined) for name in unset)
            if key == "environment":
                defined.add(entry["name"])


def _unknown(name: str, where: str, known: Iterable[str]) -> Problem:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}, and variables"
    return Problem(f"nothing sets {name!r}", where, hint)


def _incomplete_systems(file: Document) -> Iterator[Problem]:
    systems, known = file.data["operating_systems"], operating_systems()
    for name, entry in systems.items():
        if missing := [key for key in _NEEDED_OF_AN_OS if key not in {**known.get(name, {}), **(entry or {})}]:
            hint = f"known by their names are {', '.join(known)}"
            what = f"operating system {name} needs {', '.join(missing)}"
            yield Problem(what, file.where("operating_systems", name), hint)
    if file.data["default_os"] not in systems:
        yield Problem(
            f"default_os {file.data['default_os']!r} is none of its operating_systems", file.where("default_os")
        )


def matches(condition: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> bool:
    """Whether every fact that the condition names has its value (or one of its values).

    ``true`` and ``false`` compare with whether the fact is set; other values compare as text.
    """
    for name, wanted in (condition or {}).items():
        actual = facts.get(name)
        if isinstance(wanted, bool):
            if bool(actual) is not wanted:
                return False
        elif str(actual) not in [str(value) for value in (wanted if isinstance(wanted, list) else [wanted])]:
            return False
    return True


class OrNothing(dict[str, Any]):
    """Facts and variables; what is not set is empty."""

    def __missing__(self, name: str) -> str:
        return ""


def chosen(entries: _Entries, facts: Mapping[str, Any]) -> list[str]:
    """The names of all entries whose conditions hold, with the facts filled in."""
    known = OrNothing(facts)
    texts = [
        name.format_map(known) for entry in entries if matches(entry.get("when"), facts) for name in entry["names"]
    ]
    return [text for text in texts if text]
