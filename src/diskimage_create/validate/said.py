"""What the user says that an image should be: ``validate --expect os=debian,release=bookworm,package=haproxy``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from diskimage_create.errors import InputError, Problem
from diskimage_create.model import Expectation
from diskimage_create.validate.expect import DISTRIBUTIONS
from diskimage_create.validate.system.architecture import ARCHITECTURES

_WHERE = "--expect"
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_WORD = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class _Key:
    """A word before the equals sign."""

    field: str
    """Of :class:`Expectation`"""
    read: Callable[[str], Any]
    """Raises ValueError with what would be right"""
    adds: bool = False
    """Whether it can be said several times"""


def parse(texts: Iterable[str], elements: Collection[str]) -> dict[str, Any]:
    """Fields of an :class:`Expectation`, with values that are JSON.

    :param texts: ``KEY=VALUE``, each perhaps several of them, comma separated
    :param elements: names that ``element=`` may say
    :raises InputError: every word that makes no sense
    """
    keys = _keys(elements)
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for word in (word.strip() for text in texts for word in text.split(",")):
        name, equals, value = (part.strip() for part in word.partition("="))
        key = keys.get(name)
        if key is None or not equals:
            problems.append(_not_understood(word, name, keys))
            continue
        try:
            said = key.read(value)
        except ValueError as error:
            problems.append(Problem(f"{word!r} makes no sense", _WHERE, str(error)))
            continue
        if key.adds:
            found[key.field] = [*found.get(key.field, ()), said]
        elif found.setdefault(key.field, said) != said:
            problems.append(Problem(f"{name} is said twice", _WHERE, "leave one of the two out"))
    if problems:
        raise InputError(problems)
    return found


def amended(expectation: Expectation, said: Mapping[str, Any]) -> Expectation:
    """The expectation with what was said: packages and elements come to those that are expected, all else replaces it.

    :param said: what :func:`parse` returned
    """
    changes = dict(said)
    if "distribution" in changes:
        changes["distribution"], changes["family"] = changes["distribution"]
    if "elements" in changes:
        changes["elements"] = expectation.elements | set(changes["elements"])
    if "packages" in changes:
        changes["packages"] = tuple(dict.fromkeys([*expectation.packages, *changes["packages"]]))
    if "datasources" in changes:
        changes["datasources"] = tuple(changes["datasources"])
    return replace(expectation, **changes)


def _keys(elements: Collection[str]) -> dict[str, _Key]:
    return {
        "os": _Key("distribution", _distribution),
        "release": _Key("release", _matching(_WORD, "a code name or a version, e.g. bookworm or 9-stream")),
        "arch": _Key("arch", _one_of(ARCHITECTURES)),
        "size_gib": _Key("size_gib", _size),
        "package": _Key("packages", _matching(_PACKAGE, "the name of a package"), adds=True),
        "element": _Key("elements", _one_of(elements), adds=True),
        "datasource": _Key("datasources", _matching(_WORD, "a data source of cloud-init, e.g. ConfigDrive"), adds=True),
        "sshd": _Key("sshd", _truth),
        "root_password": _Key("root_password", _truth),
    }


def _not_understood(word: str, name: str, keys: Iterable[str]) -> Problem:
    close = difflib.get_close_matches(name, keys, n=1)
    if name in keys:
        return Problem(f"{word!r} makes no sense", _WHERE, f"{name}=VALUE")
    hint = f"did you mean {close[0]}?" if close else f"KEY=VALUE, KEY is one of {', '.join(keys)}"
    return Problem(f"{word!r} says nothing that can be expected", _WHERE, hint)


def _distribution(text: str) -> list[str]:
    """``ID`` of os-release and the family, of a distribution or of its element."""
    by_id = {id: [id, family] for id, family in DISTRIBUTIONS.values()}
    by_id |= {element: list(both) for element, both in DISTRIBUTIONS.items()}
    return by_id[_one_of(by_id)(text)]


def _one_of(allowed: Collection[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text in allowed:
            return text
        close = difflib.get_close_matches(text, allowed, n=1)
        few = f"one of {', '.join(sorted(allowed))}" if len(allowed) < 20 else "there is none of that name"
        raise ValueError(f"did you mean {close[0]}?" if close else few)

    return read


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if pattern.fullmatch(text):
            return text
        raise ValueError(what)

    return read


def _size(text: str) -> int:
    if re.fullmatch(r"[1-9][0-9]{0,5}", text, re.ASCII):
        return int(text)
    raise ValueError("a whole number of GiB")


def _truth(text: str) -> bool:
    if text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    raise ValueError("true or false")
