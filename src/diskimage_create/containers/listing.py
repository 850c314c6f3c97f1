"""The images in a registry."""

from __future__ import annotations

from collections.abc import Mapping

from diskimage_create.errors import RemoteError
from diskimage_create.references import Reference
from diskimage_create.registries import Registries


def of_registry(host: str, registries: Registries) -> dict[str, list[str]]:
    """The tags of every repository that has some, sorted.

    :raises RemoteError: the registry refuses, does not answer, or does not tell what it has
    """
    answers = registries.all_of(lambda name: registries.tags(Reference(host, name)), registries.repositories(host))
    found: dict[str, list[str]] = {}
    for name, tags in answers.items():
        if isinstance(tags, RemoteError):
            raise tags
        if tags:
            found[name] = tags
    return found


def as_text(host: str, found: Mapping[str, list[str]]) -> str:
    """A line for each image: its full name."""
    return "\n".join(f"{host}/{name}:{tag}" for name, tags in found.items() for tag in tags)
