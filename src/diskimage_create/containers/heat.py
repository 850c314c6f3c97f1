"""Heat environment files: read and merged as Heat does it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diskimage_create import yamlfile
from diskimage_create.errors import InputError, Problem
from diskimage_create.yamlfile import Document

DEFAULTS = "parameter_defaults"
#: What is below it is never shown
CREDENTIALS = "ContainerImageRegistryCredentials"
_REGISTRY = "resource_registry"
SCHEMA = "container-prepare"
#: ``tag_from_label: {version}-{release}`` is no YAML: a brace begins a mapping
_BARE_TEMPLATE = re.compile(r"\s*(?:-\s+)?tag_from_label\s*:\s*(\{[^#]*)")
#: What is said of ``!text``, which YAML takes for a tag: it may have been meant to be a password
_TAG = re.compile(r"for the tag '|its tag says")


@dataclass(frozen=True)
class Environment:
    """What environment files say together."""

    documents: Mapping[str, Document] = field(default_factory=dict, repr=False)
    """Parameter -> the file whose value of it counts"""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """``resource_registry``"""

    def get(self, name: str) -> Any:
        """The value of a parameter; None where there is none."""
        return self.documents[name].data[DEFAULTS][name] if name in self.documents else None

    def where(self, name: str, *place: str | int) -> str | None:
        """``FILE:LINE`` of a parameter, or of a place in its value."""
        return self.documents[name].where(DEFAULTS, name, *place) if name in self.documents else None

    def written(self, name: str, *place: str | int) -> dict[str, Any]:
        """A mapping in the value of a parameter, its numbers as they are written: 1.10 is a tag, and not 1.1."""
        document, top = self.documents[name], (DEFAULTS, name, *place)
        value = document.data
        for key in top:
            value = value[key]
        return {key: _written(each, document.texts.get((*top, key))) for key, each in value.items()}


def _written(value: Any, text: str | None) -> Any:
    number = isinstance(value, (int, float, datetime.date)) and not isinstance(value, bool)
    return text if number and text is not None else value


def files(paths: Iterable[Path], directories: Iterable[Path], problems: list[Problem]) -> list[Path]:
    """The files to read, in the order in which they count: those of directories come first.

    :param problems: gets what is no directory
    """
    found: list[Path] = []
    for directory in directories:
        if directory.is_dir():
            found += sorted(directory.glob("*.yaml"))
        else:
            problems.append(Problem(f"{directory} is no directory", "--environment-directory"))
    return [*found, *paths]


def read(paths: Sequence[Path], problems: list[Problem]) -> Environment:
    """Read environment files. A parameter has the value of the last one that sets it.

    :param problems: gets every problem of every file; where there are any, values may have wrong forms
    """
    documents: dict[str, Document] = {}
    resources: dict[str, Any] = {}
    for path in paths:
        try:
            document = _read(path)
        except InputError as error:
            problems += error.problems
            continue
        problems += document.problems(SCHEMA)
        if isinstance(document.data, dict):
            documents |= dict.fromkeys(_mapping(document, DEFAULTS), document)
            resources |= _mapping(document, _REGISTRY)
    return Environment(documents, resources)


def _mapping(document: Document, key: str) -> dict[str, Any]:
    value = document.data.get(key)
    return value if isinstance(value, dict) else {}


def _read(path: Path) -> Document:
    """Read a file; a template that lacks its quotes is told as that, and a password that does is not shown."""
    try:
        return _without_secrets(yamlfile.read(path))
    except InputError as error:
        raise InputError([_explained(problem) for problem in error.problems]) from None


def _without_secrets(document: Document) -> Document:
    """A key below the credentials that is there twice may be meant to be a password."""
    secret = {line for place, line in document.lines.items() if place[:2] == (DEFAULTS, CREDENTIALS)}
    message = f"{CREDENTIALS}: a key is there twice, or is no text"
    repeated = (each if each[0] not in secret else (each[0], message, None) for each in document.repeated)
    return replace(document, repeated=tuple(repeated))


def _explained(problem: Problem) -> Problem:
    if _TAG.search(problem.message):
        return Problem("is no YAML: a value cannot be what its tag says", problem.where, "put it in quotes")
    path, _, line = (problem.where or "").rpartition(":")
    if not line.isdecimal():
        return problem
    lines = yamlfile.text_of(Path(path)).splitlines()
    for number in (int(line), int(line) - 1):
        if 0 < number <= len(lines) and (match := _BARE_TEMPLATE.match(lines[number - 1])):
            return Problem(problem.message, f"{path}:{number}", f"put it in quotes: '{match[1].strip()}'")
    return problem
