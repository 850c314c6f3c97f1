"""Environment files that name images: what is written for Heat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diskimage_create import files
from diskimage_create.containers.heat import DEFAULTS

_INDENT = "  "


@dataclass(frozen=True)
class Section:
    """Parameters that belong together."""

    comment: str
    """What they are"""
    values: Mapping[str, Any] = field(repr=False)
    secret: bool = False
    """They are for a file that nobody else can read"""


def as_yaml(sections: Iterable[Section], head: str = "") -> str:
    """An environment file: always the same text for the same parameters, those of a section in the order of names.

    :param head: what wrote it
    """
    import yaml  # slow to import

    lines = [f"# {head}"] if head else []
    used = [section for section in sections if section.values]
    lines.append(f"{DEFAULTS}:" if used else f"{DEFAULTS}: {{}}")
    for section in used:
        text = yaml.safe_dump(dict(section.values), default_flow_style=False, width=2**30)
        lines += [f"{_INDENT}{line}" for line in [f"# {section.comment}", *text.rstrip("\n").split("\n")]]
    return "\n".join([*lines, ""])


def write(path: Path, sections: Iterable[Section], head: str, where: str) -> Path | None:
    """Write an environment file; what was there before is kept.

    :param where: the option that named it
    :returns: where what was there before is now
    :raises InputError: it cannot be written there
    """
    used = list(sections)
    text = as_yaml(used, head)
    kept = files.keep(path, where)
    files.write(path, text, where, private=any(section.secret and section.values for section in used))
    return kept


def renamed(parameter: str, prefix: str) -> str:
    """A parameter of an image under the prefix that releases before Stein gave it: ``DockerNovaApiImage``."""
    if parameter.startswith("Container") and parameter.endswith("Image"):
        return prefix + parameter.removeprefix("Container")
    return parameter
