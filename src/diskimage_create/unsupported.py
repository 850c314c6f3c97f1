"""What elements cannot work on: known facts, as data, so that a plan can say so without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from diskimage_create.errors import InputError, Problem
from diskimage_create.model import ImageSpec, ResolvedElement
from diskimage_create.profiles import matches

_FACTS = Path(__file__).with_name("unsupported.yaml")


def refuse(spec: ImageSpec, resolved: Sequence[ResolvedElement]) -> None:
    """Refuse an image one of whose elements is known not to work there.

    :param resolved: the closure of the image's elements
    :raises InputError: names every such element, the distribution and release, and what is missing
    """
    names = {element.name for element in resolved}
    variables = {name: setting.value for name, setting in spec.environment.items()}
    known: dict[str, Any] = {**variables, **vars(spec), **{f"element:{name}": True for name in names}}
    problems = [
        Problem(_text("why", entry, spec), f"element {entry['element']}", _text("hint", entry, spec))
        for entry in facts()
        if entry["element"] in names
        and matches(entry.get("when"), known)
        and not any(matches(condition, known) for condition in entry["works_on"])
    ]
    if problems:
        raise InputError(problems)


@cache
def facts() -> list[dict[str, Any]]:
    """The entries of ``unsupported.yaml``, which describes them."""
    return list(yaml.safe_load(_FACTS.read_text(encoding="utf-8")))


def _text(key: str, entry: Mapping[str, Any], spec: ImageSpec) -> str:
    names = ("arch", "distribution", "family", "release")
    return str(entry[key]).format(element=entry["element"], **{name: getattr(spec, name) for name in names})
