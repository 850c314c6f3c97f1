"""What images are called where they come from, and where they go; no I/O."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from diskimage_create.references import DOCKER_HUB, InvalidReference, Reference, parse


def source(imagename: str, pull_source: str | None = None) -> Reference:
    """An image of the table, as it is called where it comes from.

    :param pull_source: the registry, and the path, of names that have no registry
    :raises InvalidReference: it can be no name, or has a registry besides ``pull_source``
    """
    named = parse(imagename)
    if not pull_source:
        return named
    if named.registry:
        raise InvalidReference(f"there is a pull_source, and {named.registry} in the name")
    return parse(f"{pull_source.rstrip('/')}/{imagename}")


def destination(image: Reference, push_destination: str, append_tag: str = "") -> Reference:
    """Where an image goes: its registry is another one, and all else stays.

    :param push_destination: ``HOST[:PORT][/PREFIX]``
    :raises InvalidReference: that can be no name, or no tag
    """
    host, _, prefix = push_destination.partition("/")
    path = "/".join(part for part in [*prefix.split("/"), image.repository] if part)
    there = parse(str(replace(image, registry=host, repository=path)))
    return there.tagged(f"{image.tag or 'latest'}{append_tag}") if append_tag else there


def wrong_with(push_destination: str) -> str | None:
    """Why images cannot go to a place; None: they can."""
    if "://" in push_destination:
        return "is an address of the web: leave out what ends with ://"
    try:
        there = parse(f"{push_destination.strip('/')}/x")
    except InvalidReference as error:
        return f"can be no place of images: {error}"
    if there.registry is None:
        return f"has no registry: name its port, as in {push_destination}:5000"
    return None


def mirror(text: str) -> tuple[str, bool]:
    """The registry behind the address of a mirror, and whether it has no TLS.

    :raises ValueError: it is no such address; the message does not show it
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no address, such as https://mirror.example.com/")
    if parts.username or parts.password:
        raise ValueError("has credentials in it, which everybody would see")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("has a path, which registries have not")
    registry = parse(f"{parts.netloc}/x").registry
    if registry is None:
        raise ValueError("has a host without a dot or a port")
    return registry, parts.scheme == "http"


def through(image: Reference, mirror: str | None) -> Reference:
    """What to ask for an image: a mirror, for those of Docker Hub."""
    full = image.normalised()
    return replace(full, registry=mirror) if mirror and full.registry == DOCKER_HUB else image
