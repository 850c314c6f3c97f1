"""Copies images from registry to registry with skopeo: several at once, each layer once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from diskimage_create.progress import Transfers
from diskimage_create.references import Reference
from diskimage_create.registries.client import Registries


class Status(StrEnum):
    """How a copy ended."""

    COPIED = "copied"
    PRESENT = "present"
    """The destination has the same digest already"""
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Copy:
    """An image to copy, and where to."""

    source: Reference
    destination: Reference
    all_architectures: bool = True

    def __str__(self) -> str:
        return str(self.source)


@dataclass(frozen=True)
class Copied:
    """What became of a copy."""

    copy: Copy
    status: Status
    digest: str | None = None
    """Of what the destination has now"""
    size: int = 0
    """Bytes of all blobs of the image, transferred or not"""
    seconds: float = 0.0
    why: str = ""
    """Why it failed or was skipped"""
    attempts: int = 0


def copy_all(
    copies: Sequence[Copy], registries: Registries, jobs: int, display: Transfers | None = None
) -> list[Copied]:
    """Copy images, and say what became of each, in their order; one that fails does not stop the others.

    :param jobs: copies at a time
    :raises HostError: skopeo is not installed
    """
    raise NotImplementedError
