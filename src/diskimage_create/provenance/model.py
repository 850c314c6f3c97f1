"""What an image is made of, as data. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, order=True)
class Component:
    """A package of the distribution, or a Python distribution beside them."""

    purl: str
    """Its package URL, by which the others of a kind are told apart"""
    name: str
    version: str
    architecture: str = ""
    supplier: str = ""
    """``Name <address>``; empty where nobody is named"""
    source: str = ""
    """Name and version of the source package that it was built from"""
    licence: str = ""
    """SPDX expression; empty where it is not known"""
    homepage: str = ""


@dataclass(frozen=True)
class Contents:
    """All components of an image, and what it says of itself."""

    system: Mapping[str, str]
    """Of os-release: ``ID``, ``VERSION_ID``, ``PRETTY_NAME``"""
    components: tuple[Component, ...]
    """In the order of their package URLs"""
    licences: Mapping[str, str] = field(default_factory=dict)
    """``LicenseRef-...`` -> the name that the packages give a licence which has no SPDX identifier"""

    def as_json(self) -> dict[str, Any]:
        """The contents for another process."""
        return asdict(self)


def from_json(data: Mapping[str, Any]) -> Contents:
    """The inverse of :meth:`Contents.as_json`."""
    return Contents(data["system"], tuple(Component(**each) for each in data["components"]), data["licences"])
