"""The image that is to be published, with what its record says of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diskimage_create import engines, record
from diskimage_create.background import begun
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import Artifact
from diskimage_create.provenance.beside import Beside
from diskimage_create.references import go_name


def _no_archive() -> Path:
    raise LookupError("nobody has said how to make an archive")


@dataclass(frozen=True)
class Source:
    """A finished image."""

    path: Path
    record: Mapping[str, Any] = field(repr=False)
    type: str
    sha256: str
    """In hex"""
    bytes: int
    verified: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)
    """Returns when the file is known to be the image of the record; raises InputError where it is not"""
    archive: Callable[[], Path] = field(default=_no_archive, repr=False, compare=False)
    """Gives its root file system as a tar archive, or a compressed one"""

    @cached_property
    def architecture(self) -> str:
        """Go's name, which container images have."""
        return go_name(str(self.record["image"]["arch"]))

    @cached_property
    def built(self) -> str:
        """When the content was made (RFC 3339), whenever it was taken from the store."""
        return str(record.built(self.record))

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """What a container image of it says of itself."""
        return engines.labels(self.record, self.built, self.sha256)


def read(image: Path) -> Source:
    """An image and its record. That they are of each other, :func:`beside` finds out.

    :raises InputError: there is no such image, no record, the record is of something else, or what goes along with the
        image cannot be read
    """
    data, made = record.of_image(image)
    closed = [path for path in Beside(image).existing() if not os.access(path, os.R_OK)]
    if closed:
        raise InputError([Problem(f"{path} cannot be read, and goes along with it", str(image)) for path in closed])
    return Source(image, data, made.type, made.sha256.removeprefix("sha256:"), made.bytes)


def beside(source: Source) -> Source:
    """The same, with its digest worked out from now on by another thread, while something else is done."""
    made = Artifact(source.type, source.path, source.sha256, source.bytes)
    return replace(source, verified=begun(lambda: record.compare(made)))
