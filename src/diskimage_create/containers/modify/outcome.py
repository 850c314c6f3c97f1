"""What became of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diskimage_create.references import Reference


@dataclass(frozen=True)
class Copy:
    """From where to where."""

    source: Reference
    destination: Reference
    all_architectures: bool = True


@dataclass(frozen=True)
class Copied:
    """What became of an image that was to be brought to its destination."""

    copy: Copy
    status: Literal["copied", "present", "failed", "skipped"]
    digest: str | None
    size: int
    """Bytes of all its blobs"""
    seconds: float
    why: str
    """It failed or was skipped; empty otherwise"""
    attempts: int
