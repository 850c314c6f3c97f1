"""Names of container images: ``REGISTRY/REPOSITORY:TAG@DIGEST``.

The grammar is that of distribution's ``reference`` package, which docker, podman and skopeo share.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

#: The registry of a name that has none, and the part of it that one-word names are in
DOCKER_HUB = "docker.io"
_LIBRARY = "library"
_HUB_ALIASES = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})

_HOST = re.compile(
    r"(?:(?!-)[A-Za-z0-9-]+(?<!-)(?:\.(?!-)[A-Za-z0-9-]+(?<!-))*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII
)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}", re.ASCII)
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_LONGEST_NAME = 255
_LAST_PORT = 65535

#: Debian's name of an architecture -> Go's, where they differ
_GO_NAMES = {"armhf": "arm", "i386": "386", "ppc64el": "ppc64le", "aarch64": "arm64"}


class InvalidReference(ValueError):
    """A text is no name of an image; the message says why."""


@dataclass(frozen=True)
class Reference:
    """The name of an image, in its parts, as it was written."""

    registry: str | None
    """``HOST[:PORT]``; None where the name begins with the repository"""
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    @property
    def name(self) -> str:
        """``REGISTRY/REPOSITORY``, or the repository alone."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def normalised(self) -> Reference:
        """The same image by its full name: ``nginx`` is ``docker.io/library/nginx``."""
        registry = self.registry or DOCKER_HUB
        if registry in _HUB_ALIASES:
            registry = DOCKER_HUB
        one_word = registry == DOCKER_HUB and "/" not in self.repository
        return replace(
            self, registry=registry, repository=f"{_LIBRARY}/{self.repository}" if one_word else self.repository
        )

    def tagged(self, tag: str) -> Reference:
        """The same repository under another tag."""
        if not is_tag(tag):
            raise InvalidReference(f"{tag!r} cannot be a tag")
        return replace(self, tag=tag, digest=None)

    def pinned(self, digest: str) -> Reference:
        """The same image, with the digest of its content."""
        return replace(self, digest=digest)


def go_name(architecture: str) -> str:
    """What container images call an architecture (OCI Image Specification 1.1: GOARCH), of Debian's name."""
    return _GO_NAMES.get(architecture, architecture)


def is_tag(text: str) -> bool:
    """Whether a text can be a tag."""
    return _TAG.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Whether the first part of a name is a registry's address: it has a dot or a port, or is ``localhost``."""
    return text == "localhost" or any(mark in text for mark in ".:[") or text != text.lower()


def parse(text: str) -> Reference:
    """The parts of an image's name.

    :raises InvalidReference: it cannot be one
    """
    rest, at, digest = text.partition("@")
    if at:
        _check_digest(digest)
    first, slash, path = rest.partition("/")
    registry, path = (first, path) if slash and is_host(first) else (None, rest)
    if registry is not None and not _is_address(registry):
        raise InvalidReference(f"{registry!r} cannot be a registry's address")
    repository, colon, tag = path.partition(":")
    if colon and not is_tag(tag):
        raise InvalidReference(f"{tag!r} cannot be a tag")
    _check_repository(repository)
    reference = Reference(registry, repository, tag or None, digest or None)
    if len(reference.name) > _LONGEST_NAME:
        raise InvalidReference(f"the name has more than {_LONGEST_NAME} characters")
    return reference


def _is_address(text: str) -> bool:
    port = text.rpartition(":")[2]
    return _HOST.fullmatch(text) is not None and not (port.isdecimal() and text != port and int(port) > _LAST_PORT)


def _check_digest(digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise InvalidReference(f"{digest!r} cannot be a digest")
    if digest.startswith("sha256:") and not _SHA256.fullmatch(digest):
        raise InvalidReference(f"{digest!r} is no SHA-256 in hexadecimal digits")


def _check_repository(repository: str) -> None:
    if not repository:
        raise InvalidReference("there is no name")
    for part in repository.split("/"):
        if not part:
            raise InvalidReference("a part of the name is empty")
        if part != part.lower():
            raise InvalidReference(f"{part!r} is not in lower case")
        if not _COMPONENT.fullmatch(part):
            raise InvalidReference(f"{part!r} cannot be a part of a name")
