"""How an image is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from diskimage_create.model import Suite
from diskimage_create.validate.selection import EVERYTHING, Selection


@dataclass(frozen=True)
class How:
    """What a validation does besides what it always does."""

    deep: bool = False
    """Also read all content"""
    backend: str = "auto"
    """The way to look into the image, one of :data:`diskimage_create.validate.opening.BACKENDS`"""
    selection: Selection = EVERYTHING
    """Which checks"""
    said: Mapping[str, Any] = field(default_factory=dict)
    """What is to be expected instead, or besides, see :mod:`diskimage_create.validate.said`"""
    suites: tuple[Suite, ...] = ()
    """Tests that are to be run in the image; those of elements that it does not hold are not"""
    content: bool = False
    """Also say what the image holds"""


def to_json(how: How) -> dict[str, Any]:
    """For another process."""
    return {**asdict(how), "suites": [{**asdict(suite), "path": str(suite.path)} for suite in how.suites]}


def from_json(data: Mapping[str, Any]) -> How:
    """The inverse of :func:`to_json`."""
    selection = Selection(**{name: tuple(patterns) for name, patterns in data["selection"].items()})
    suites = tuple(Suite(**{**suite, "path": Path(suite["path"])}) for suite in data["suites"])
    return How(**{**data, "selection": selection, "suites": suites})
