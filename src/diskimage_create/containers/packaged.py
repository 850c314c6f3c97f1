"""The files of tripleo-common: which images there are, and what they are called unless somebody says otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from diskimage_create import places
from diskimage_create.errors import HostError

TABLE = "tripleo_containers.yaml.j2"
DEFAULTS = "container_image_prepare_defaults.yaml"

#: Below a prefix's ``share``: where pip puts them, and where RDO's package does
_BELOW = ("tripleo-common/container-images", "openstack-tripleo-common/container-images")


def find(name: str, option: str, prefixes: Iterable[Path] | None = None) -> Path:
    """Where a file of tripleo-common is.

    :param option: what could name another one
    :param prefixes: directories with a ``share``, the first winning; by default those of this Python and of the system
    :raises HostError: tripleo-common is not installed
    """
    roots = places.shares() if prefixes is None else prefixes
    for path in (root / "share" / below / name for root in roots for below in _BELOW):
        if path.is_file():
            return path
    hint = f"'pip install --no-deps tripleo-common' brings it, or name a file with {option}"
    raise HostError(f"{name} is not installed", hint)
