"""What is asked of publishing, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Status(StrEnum):
    """What became of an image at one destination."""

    PUBLISHED = "published"
    PRESENT = "present"
    """It was there already, the very same."""
    FAILED = "failed"


@dataclass(frozen=True)
class Receipt:
    """What became of an image at one destination."""

    destination: str
    status: Status
    reference: str | None = None
    """How to fetch exactly this image there: a name with its digest, an identifier, a URL"""
    digest: str | None = None
    """What the destination says of it: ``sha256:...``, ``sha512:...``"""
    bytes: int = 0
    """Transferred by this run"""
    seconds: float = 0.0
    message: str = ""
    """What was done, or what failed"""
    hint: str | None = None


@dataclass(frozen=True)
class Options:
    """How to publish."""

    force: bool = False
    """Replace another image of the same name"""
    progress: Callable[[str, int, int], None] = lambda what, done, total: None
    """Told what is transferred, bytes done, bytes in all"""
    say: Callable[[str], None] = lambda line: None
    """Told notes for people"""
    environment: Mapping[str, str] = field(default_factory=dict)
    ca_certificates: Path | None = None
