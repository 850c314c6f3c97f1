"""The defaults of ``ContainerImagePrepare``, to begin an environment file with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diskimage_create.containers import entries, packaged
from diskimage_create.containers.environment import Section

_LOGIN = "ContainerImageRegistryLogin"
#: What one may want to change in ``set``; of the other keys, ``prepare`` takes the defaults anyway
_SHOWN = ("namespace", "name_prefix", "name_suffix", "tag", "neutron_driver")
_OF_CEPH = ("ceph_namespace", "ceph_image", "ceph_tag")


def sections(path: Path | None, *, local: bool, login: bool) -> list[Section]:
    """The parameters of an environment file.

    :param path: a file with other defaults than tripleo-common's
    :param local: images are copied to the undercloud's registry
    :param login: nodes log in to registries
    :raises InputError: the file has no defaults
    :raises HostError: tripleo-common is not installed
    """
    environment = entries.read_defaults(path or packaged.find(packaged.DEFAULTS, "--defaults"))
    defaults = environment.written(entries.PARAMETER, 0, "set")
    given: list[dict[str, Any]] = []
    for number, entry in enumerate(environment.get(entries.PARAMETER)):
        values = environment.written(entries.PARAMETER, number, "set") if entry.get("set") else {}
        shown = {key: value for key, value in values.items() if _is_shown(key, value, defaults)}
        given.append({**entry, "set": shown} | ({"push_destination": True} if local else {}))
    found = [Section("Which images are used, and where they are copied to", {entries.PARAMETER: given})]
    if login:
        found.append(Section("Nodes log in with ContainerImageRegistryCredentials", {_LOGIN: True}))
    return found


def _is_shown(key: str, value: Any, defaults: Mapping[str, Any]) -> bool:
    return key in (*_SHOWN, *_OF_CEPH) or defaults.get(key) != value
