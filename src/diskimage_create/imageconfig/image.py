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
from diskimage_create.model import EXTENSIONS
from diskimage_create.settings import OF_THE_HOST
from diskimage_create.yamlfile import Document, Place

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Keys whose values count as they are written: 9.0 is a release, and no number
_TEXTS = ("release", "size")
#: Keys that are true or false; TripleO's files have them as text
_FLAGS = (
    *("skip_base", "enforce_mac", "cpu_pinning", "no_sshd", "package_agent", "fips"),
    *("uncompressed", "compat_compression", "no_tmpfs"),
)
#: Words of diskimage-builder's shell scripts
_NAME = re.compile(r"[\w.+:@-]+", re.ASCII)
_PACKAGE = re.compile(r"[A-Za-z0-9@][\w.+:=~/@-]*", re.ASCII)
#: NAME:TAG as a registry has them, with a host or without (distribution's reference grammar, not all of it)
_DOCKER_TARGET = re.compile(r"[a-z0-9][a-z0-9._/-]*(:[0-9]+/[a-z0-9._/-]+)?(:\w[\w.-]{0,127})?", re.ASCII)
_PUBLISH_DOCKER = "docker:"


#: The element that sets the root password
ROOT_PASSWORD = "root-passwd"


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

    def exists(self, directory: Path, image_type: str) -> bool:
        """Whether the image is there already, by TripleO's rule: a file of its name and extension.

        :param image_type: tells the extension, where no key does
        """
        extension = f".{self.values['imageext']}" if "imageext" in self.values else EXTENSIONS.get(image_type, "")
        return (directory / f"{self.name.removesuffix(extension)}{extension}").exists()

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
        if not _NAME.fullmatch(self.name) or self.name.startswith("."):
            hint = "letters, digits and ._+:@-; --output-directory says where it goes"
            yield Problem(f"{self.name!r} is no name of an image", self.where("imagename"), hint)
        for name in self.packages:
            if not _PACKAGE.fullmatch(name):
                yield Problem(
                    f"{name!r} is no name of a package", self.where("packages"), "one in each entry of the list"
                )
        yield from self._wrong_variables()
        yield from (Problem(message, self.where("options"), hint) for message, hint in self._arguments.problems)
        targets = {self.docker_target, *filter(None, [self.values.get("docker_target")])} - {None}
        if len(self.values.get("publish", ())) > 1 or len(targets) > 1:
            yield Problem("an image goes to one docker target", self.where("publish"))
        elif self.docker_target is not None and not _DOCKER_TARGET.fullmatch(self.docker_target):
            where = self.where("publish" if "publish" in self.values else "docker_target")
            yield Problem(
                f"{self.docker_target!r} is no name of a container image", where, "NAME:TAG, in small letters"
            )

    def _wrong_variables(self) -> Iterator[Problem]:
        where = self.where("environment")
        for name, value in self.environment.items():
            if not _VARIABLE.fullmatch(name):
                yield Problem(f"{name!r} is no name of a variable", where)
            elif "\0" in value:
                yield Problem(f"{name} has a character that no variable can have", where)
            elif name in OF_THE_HOST:
                yield Problem(f"{name} is not an image's", where, f"export {name} before calling diskimage-create")
        if "DIB_PASSWORD" in self.environment and self.profile is None and ROOT_PASSWORD not in self.elements:
            yield Problem(f"DIB_PASSWORD needs the element {ROOT_PASSWORD}", where, "add the element, or leave it out")


def as_written(entry: Mapping[str, Any], document: Document, place: Place) -> dict[str, Any]:
    """An entry of a file with its variables, releases and sizes as they are written, and its flags as booleans."""
    made = {key: value in (True, "true") if key in _FLAGS else value for key, value in entry.items()}
    for key in _TEXTS:
        if key in made:
            made[key] = document.texts[(*place, key)]
    for key, value in entry.items():
        if isinstance(value, dict):
            made[key] = {name: document.texts[(*place, key, name)] for name in value}
    return made
