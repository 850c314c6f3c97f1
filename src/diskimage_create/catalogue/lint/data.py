"""Rules about the lists of packages that an element declares."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any

from diskimage_create.catalogue import Entry
from diskimage_create.catalogue.lint.content import Content, File
from diskimage_create.catalogue.lint.model import Context, Found, Severity, rule
from diskimage_create.catalogue.packages import LISTS, MAP, UNREADABLE, load

_PHASES = ("pre-install.d", "install.d", "post-install.d")
_OPTIONS = ("arch", "build-only", "dib_python_version", "installtype", "not-arch", "phase", "uninstall", "when")
_WHEN = re.compile(r"\w+\s*(=|!=)\s*.*")
_SECTIONS = ("default", "distro", "family", "release")


@rule("EL301", "package-installs that cannot be understood", Severity.ERROR)
def broken_list(_entry: Entry, content: Content, _context: Context) -> Iterator[Found]:
    """`package-installs.yaml` (or `.json`) is not what the element package-installs reads, or says what it ignores.

    It is a mapping of packages: to nothing, to a mapping of options, or to a list of such mappings. The options are
    `phase` (`pre-install.d`, `install.d` or `post-install.d`), `uninstall`, `build-only`, `installtype`, `arch` or
    `not-arch`, `dib_python_version` and `when` (`VARIABLE = value` or `VARIABLE != value`, or a list of those).
    """
    for name in LISTS:
        if file := content.files.get(name):
            try:
                data = load(content.directory / name)
            except UNREADABLE as error:
                yield Found(f"cannot be read: {_first_line(error)}", name, _line(error))
                continue
            yield from (Found(message, name, _line_of(file, package)) for package, message in _problems(data))


def _problems(data: Any) -> Iterator[tuple[str, str]]:
    """Package ("": the list as a whole) and what is wrong with it."""
    if not isinstance(data, dict):
        yield "", "is empty" if data is None else "is no mapping of packages"
        return
    for name, given in data.items():
        for options in (given if isinstance(given, list) else [given]) if given else []:
            if not isinstance(options, dict):
                yield str(name), f"{name}: {options!r} is no mapping of options"
                continue
            yield from ((str(name), f"{name}: {message}") for message in _option_problems(options))


def _option_problems(options: dict[str, Any]) -> Iterator[str]:
    for option in options:
        if option not in _OPTIONS:
            close = difflib.get_close_matches(str(option), _OPTIONS, n=1)
            yield f"unknown option {option}{f', did you mean {close[0]}?' if close else ''}"
    if options.get("phase", _PHASES[0]) not in _PHASES:
        yield f"no packages are installed in the phase {options['phase']}: one of {', '.join(_PHASES)}"
    if "arch" in options and "not-arch" in options:
        yield "arch and not-arch exclude each other"
    statements = options.get("when") or []
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, str) or not _WHEN.fullmatch(statement):
            yield f"when: {statement!r} is neither VARIABLE = value nor VARIABLE != value"


@rule("EL302", "pkg-map that cannot be understood", Severity.ERROR)
def broken_map(_entry: Entry, content: Content, _context: Context) -> Iterator[Found]:
    """`pkg-map` is not what the element pkg-map reads: packages are not found, or installed under a wrong name.

    It is JSON (no comments, no comma after the last entry): an object with some of `default`, `family`, `distro` and
    `release`. `default` has names of packages for names; the others have one such object for each family,
    distribution, and distribution's release.
    """
    file = content.files.get(MAP)
    if file is None:
        return
    try:
        data = json.loads(file.text)
    except (ValueError, RecursionError) as error:
        message = error.msg if isinstance(error, json.JSONDecodeError) else _first_line(error)
        yield Found(f"is no JSON: {message}", MAP, getattr(error, "lineno", None))
        return
    if not isinstance(data, dict):
        yield Found("is no object", MAP, 1)
        return
    for section, names in data.items():
        line = _line_of(file, section)
        if section not in _SECTIONS:
            yield Found(f"unknown section {section}: one of {', '.join(_SECTIONS)}", MAP, line)
        elif not _is_nested(names, _SECTIONS_DEPTH[section]):
            yield Found(f"{section} has no names of packages where they belong", MAP, line)


#: How many objects lie around the names of packages
_SECTIONS_DEPTH = {"default": 0, "family": 1, "distro": 1, "release": 2}


def _is_nested(data: Any, depth: int) -> bool:
    """Objects in objects, down to names of packages, or null for none."""
    if not isinstance(data, dict):
        return False
    if depth:
        return all(_is_nested(inner, depth - 1) for inner in data.values())
    return all(name is None or isinstance(name, str) for name in data.values())


def _line(error: Exception) -> int | None:
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark is not None else None


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "problem", None) or error) or type(error).__name__).splitlines()[0]


def _line_of(file: File, name: str) -> int | None:
    """The first line that has a name, as a key."""
    pattern = re.compile(rf"""^\s*["']?{re.escape(name)}["']?\s*:""")
    return next((number for number, line in enumerate(file.lines, 1) if name and pattern.match(line)), None)
