"""Image kinds as data: what an amphora, or another image, consists of. One YAML file each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_HERE = Path(__file__).parent
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Profile:
    """An image kind; ``docs/profiles.md`` describes the format of its file."""

    name: str
    title: str
    output: str
    size_gib: int
    default_os: str
    backends: Mapping[str, str]
    operating_systems: Mapping[str, Mapping[str, Any]]
    elements: tuple[Mapping[str, Any], ...]
    environment: tuple[Mapping[str, Any], ...]
    required_packages: tuple[Mapping[str, Any], ...]


def names() -> list[str]:
    """The names of all profiles."""
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


@cache
def load(name: str) -> Profile:
    """Read a profile.

    :raises KeyError: there is no such profile
    """
    path = _HERE / f"{name}.yaml"
    if name not in names():
        raise KeyError(name)
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (both are safe loaders)
    return Profile(
        name=name,
        title=data["title"],
        output=data["output"],
        size_gib=data["size_gib"],
        default_os=data["default_os"],
        backends=data["backends"],
        operating_systems=data["operating_systems"],
        elements=tuple(data["elements"]),
        environment=tuple(data["environment"]),
        required_packages=tuple(data["required_packages"]),
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
