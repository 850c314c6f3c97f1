"""One image of configuration files, its entries merged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from diskimage_create.errors import Problem
from diskimage_create.imageconfig import arguments
from diskimage_create.yamlfile import Document, Place

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Keys whose values count as they are written: 9.0 is a release, and no number
_TEXTS = ("release", "size")
_PUBLISH_DOCKER = "docker:"


@dataclass(frozen=True)
class ConfiguredImage:
    """What configuration files say of one image."""

    name: str
    values: Mapping[str, Any] = field(repr=False)
    """Key of the file -> value; variables, releases and sizes as they are written"""
    places: Mapping[str, str]
    """Key -> ``FILE:LINE`` of the value that counts, or of the first; that of the image under the empty key"""

    def where(self, key: str = "") -> str:
        """``FILE:LINE`` of a key; of one that is not there, that of the image."""
        return self.places.get(key, self.places[""])

    @property
    def profile(self) -> str | None:
        """The kind of image; None for one that names all its elements."""
        return self.values.get("profile")

    @property
    def arch(self) -> str | None:
        """The architecture, by diskimage-builder's names."""
        arch = self.values.get("arch")
        return "amd64" if arch == "x86_64" else arch

    @property
    def docker_target(self) -> str | None:
        """NAME:TAG, where the image goes to a docker daemon."""
        for destination in self.values.get("publish", ()):
            return str(destination).removeprefix(_PUBLISH_DOCKER)
        target: str | None = self.values.get("docker_target")
        return target

    @property
    def type(self) -> str:
        """The types of the image, comma separated."""
        types = [name.strip() for name in self.values.get("type", "qcow2").split(",")]
        return ",".join(dict.fromkeys([*types, *(["docker"] if self.values.get("publish") else [])]))

    @property
    def elements(self) -> list[str]:
        """The distribution's element, and those that the files list."""
        distro = self.values.get("distro")
        return [*([distro] if distro else []), *self.values.get("elements", ())]

    @property
    def environment(self) -> dict[str, str]:
        """Variables of this image's build."""
        return {**self._arguments.environment, **self.values.get("environment", {})}

    @property
    def packages(self) -> list[str]:
        """More packages to install."""
        return [*self.values.get("packages", ()), *self._arguments.packages]

    @property
    def settings(self) -> dict[str, Any]:
        """What ``options`` say that has an option of ours; keys win."""
        settings = dict(self._arguments.settings)
        if self.values.get("skip_base"):
            settings["skip_base"] = True
        return settings

    @cached_property
    def _arguments(self) -> arguments.Arguments:
        return arguments.parse(self.values.get("options", ()))

    def exists(self, directory: Path) -> bool:
        """Whether the image is there already, by TripleO's rule: a file of its name and extension."""
        extension = self.values.get("imageext") or self.type.partition(",")[0]
        return (directory / f"{self.name}.{extension}").exists()

    def command(self, host_arch: str, directory: str) -> list[str]:
        """The call of disk-image-create that the files ask for."""
        return arguments.command_line(
            arch=self.arch or host_arch,
            output=f"{directory}/{self.name}",
            image_type=self.type,
            packages=self.values.get("packages", ()),
            options=self.values.get("options", ()),
            skip_base=bool(self.values.get("skip_base")),
            docker_target=self.docker_target,
            elements=self.elements,
        )

    def problems(self) -> Iterator[Problem]:
        """What is wrong with the image as a whole, and with its text."""
        for name in self.values.get("environment", {}):
            if not _VARIABLE.fullmatch(name):
                yield Problem(f"{name!r} is no name of a variable", self.where("environment"))
        yield from (Problem(message, self.where("options"), hint) for message, hint in self._arguments.problems)
        if len(self.values.get("publish", ())) > 1:
            yield Problem("an image goes to one docker target", self.where("publish"))


def as_written(entry: Mapping[str, Any], document: Document, place: Place) -> dict[str, Any]:
    """An entry of a file with its variables, releases and sizes as they are written, and its flags as booleans."""
    made = {key: value == "true" if value in ("true", "false") else value for key, value in entry.items()}
    for key in _TEXTS:
        if key in made:
            made[key] = document.texts[(*place, key)]
    for key, value in entry.items():
        if isinstance(value, dict):
            made[key] = {name: document.texts[(*place, key, name)] for name in value}
    return made
