"""The defaults of ``ContainerImagePrepare``, to begin an environment file with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diskimage_create.containers import entries, packaged
from diskimage_create.containers.environment import Section

_LOGIN = "ContainerImageRegistryLogin"


def sections(path: Path | None, *, local: bool, login: bool) -> list[Section]:
    """The parameters of an environment file.

    :param path: a file with other defaults than tripleo-common's
    :param local: images are copied to the undercloud's registry
    :param login: nodes log in to registries
    :raises InputError: the file has no defaults
    :raises HostError: tripleo-common is not installed
    """
    environment = entries.read_defaults(path or packaged.find(packaged.DEFAULTS, "--defaults"))
    given: list[dict[str, Any]] = []
    for number, entry in enumerate(environment.get(entries.PARAMETER)):
        written = {**entry, "set": environment.written(entries.PARAMETER, number, "set")} if "set" in entry else entry
        given.append(written | ({"push_destination": True} if local else {}))
    found = [Section("Which images are used, and where they are copied to", {entries.PARAMETER: given})]
    if login:
        found.append(Section("Nodes log in with ContainerImageRegistryCredentials", {_LOGIN: True}))
    return found
