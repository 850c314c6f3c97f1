"""The elements of an image that a profile describes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diskimage_create import elements, host, prepare
from diskimage_create.model import BuildPlan, Source
from diskimage_create.request import Request


def plan(options: Mapping[str, Any], environ: Mapping[str, str]) -> BuildPlan:
    """The plan of an image.

    :param options: those that were given of ``profile``, ``os``, ``release`` and ``arch``
    :raises InputError: there is no such profile or operating system, or elements are missing
    """
    said = {name: value for name, value in options.items() if value is not None}
    # Nothing is written: where the image would go does not matter, and must not be in the way.
    nowhere = Path(tempfile.gettempdir())
    return prepare.prepare(Request(said, dict.fromkeys(said, Source.FLAG), environ, host.detect(environ), nowhere))


def wanted(plan: BuildPlan) -> list[str]:
    """The elements that are asked for: what disk-image-create adds by itself is among them."""
    return [*plan.elements, *elements.implied(plan.elements, plan.spec.arch)]
