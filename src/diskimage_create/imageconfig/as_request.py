"""From an image of configuration files to a request as the command line makes one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from diskimage_create import profiles
from diskimage_create.imageconfig.image import ROOT_PASSWORD, ConfiguredImage
from diskimage_create.model import DISK_TYPES, Source
from diskimage_create.profiles import Profile
from diskimage_create.request import Request

#: Keys that are options of the command line by the same name
_OPTIONS = (
    *("arch", "os", "release", "size", "backend", "kernel", "snapshot", "git_branch", "enforce_mac", "cpu_pinning"),
    *("no_sshd", "package_agent", "fips", "uncompressed", "compat_compression", "no_tmpfs", "docker_target"),
)
#: Options of the command line that add to what the files say
_ADDED = ("element", "package", "env", "ca_certificate")
#: Options that would give several images one name, or one kind
NOT_WITH_CONFIG = ("output", "logfile", "docker_target", "profile", "os")


def request(image: ConfiguredImage, command_line: Request, directory: Path) -> Request:
    """What the files ask for, with what the command line says besides; that wins.

    :param command_line: options that hold for all images, and the environment that they share
    :param directory: where the finished image goes
    """
    options = _options(image)
    given = {name: value for name, value in command_line.options.items() if value not in (None, False, (), 0)}
    for name in _ADDED:
        options[name] = (*options.get(name, ()), *given.pop(name, ()))
    options["output"] = str(directory / image.name)
    sources = {**dict.fromkeys(options, Source.CONFIG), **command_line.sources}
    variables, environ = image.environment, dict(command_line.environ)
    if image.profile is None:
        # They would replace what makes the image what it is.
        for name in ("DIB_ELEMENTS", "DIB_LOCAL_ELEMENTS"):
            environ.pop(name, None)
    environ |= variables
    if ROOT_PASSWORD in image.elements:
        options["root_password"] = environ.get("DIB_PASSWORD", "")
    elif "DIB_PASSWORD" in variables:
        options["root_password"] = variables["DIB_PASSWORD"]
    return replace(
        command_line,
        options={**options, **given},
        sources={name: source for name, source in sources.items() if name in {*options, *given}},
        environ=environ,
        variables=variables,
        places={**_places(image), "output": "--output-directory", "root_password": image.where("elements")},
        kind=_kind(image) if image.profile is None else None,
        asked=tuple(image.command(command_line.host.arch, str(directory))) if image.profile is None else (),
        validate=image.values.get("validate", True),
    )


def _options(image: ConfiguredImage) -> dict[str, Any]:
    options = {**image.settings, **{name: image.values[name] for name in _OPTIONS if name in image.values}}
    options["package"] = image.packages
    if image.arch:
        options["arch"] = image.arch
    if image.docker_target:
        options["docker_target"] = image.docker_target
    if image.profile is not None:
        options |= {"profile": _beside(image, image.profile), "element": image.elements}
    if image.profile is None or "type" in image.values or "publish" in image.values:
        options["type"] = image.type
    if files := image.values.get("ca_certificate"):
        options["ca_certificate"] = [
            str(_directory(image, "ca_certificate") / path) for path in ([files] if isinstance(files, str) else files)
        ]
    return options


def _places(image: ConfiguredImage) -> dict[str, str]:
    """Option -> the line that says it; what ``options`` say has none of its own."""
    by_options = {name: image.where("options") for name in image.settings}
    return {**by_options, **image.places, "element": image.where("elements"), "package": image.where("packages")}


def _beside(image: ConfiguredImage, profile: str) -> str:
    """The name of a profile; of its file, which is looked for beside the one that names it."""
    return (
        str(_directory(image, "profile") / profile)
        if os.sep in profile or profile.endswith((".yaml", ".yml"))
        else profile
    )


def _directory(image: ConfiguredImage, key: str) -> Path:
    """Where the file is that has the key."""
    return Path(image.where(key).rpartition(":")[0]).absolute().parent


def _kind(image: ConfiguredImage) -> Profile:
    """An image that names all its elements is a kind of its own."""
    system = _system(image)
    password: list[Mapping[str, Any]] = [{"names": [ROOT_PASSWORD], "when": {"root_password": True}}]
    elements = [name for name in image.elements if name != ROOT_PASSWORD]
    options = image.settings.get("mkfs_options")
    return Profile(
        name=image.name,
        title=image.name,
        output=image.name,
        default_os=system["element"],
        operating_systems={system["element"]: system},
        elements=[{"names": elements}, *(password if ROOT_PASSWORD in image.elements else ())],
        size_gib=None,
        types=DISK_TYPES,
        arguments=[{"names": ["--mkfs-options", options]}] if options else (),
        environment=[{"name": "DIB_RELEASE", "value": "{release}", "option": "release", "when": {"release": True}}],
    )


def _system(image: ConfiguredImage) -> dict[str, Any]:
    """What is known of the distribution; of one that nobody knows, the name of its element."""
    for name in image.elements:
        for known_as, system in profiles.operating_systems().items():
            if name in (known_as, system["element"]):
                return {**{key: system[key] for key in ("distribution", "family")}, "element": name, "release": ""}
    return {"element": image.values.get("distro", ""), "distribution": "", "family": "", "release": ""}
