"""What is asked of publishing, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from diskimage_create.registries import Access


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

    def as_json(self) -> dict[str, Any]:
        """As ``publish --format json`` prints it."""
        return {**asdict(self), "status": str(self.status), "seconds": round(self.seconds, 3)}


class Form(StrEnum):
    """What a registry of container images gets."""

    IMAGE = "image"
    """A container image: the root file system as one layer"""
    ARTIFACT = "artifact"
    """The image's file as it is"""


class Compression(StrEnum):
    """Of the layer of a container image."""

    GZIP = "gzip"
    ZSTD = "zstd"


@dataclass(frozen=True)
class Glance:
    """What is said to Glance besides the record."""

    cloud: str | None = None
    """Of clouds.yaml"""
    properties: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    """Instead of the profile's own"""
    visibility: str | None = None
    """``private``, ``shared``, ``community`` or ``public``; None leaves it to the cloud"""


@dataclass(frozen=True)
class Options:
    """How to publish."""

    force: bool = False
    """Replace another image of the same name"""
    keep_last: int | None = None
    """Retire all but so many images of this name, where older ones stay beside a new one; None retires none"""
    access: Access = field(default_factory=Access)
    """To registries"""
    form: Form | None = None
    """What registries get; None decides by the type of the image"""
    compression: Compression = Compression.GZIP
    glance: Glance = field(default_factory=Glance)
    progress: Callable[[str, int, int], None] = lambda what, done, total: None
    """Told what is transferred, bytes done, bytes in all"""
    say: Callable[[str], None] = lambda line: None
    """Told notes for people"""
