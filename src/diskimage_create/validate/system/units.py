"""systemd's view of an image: which units there are, and which are enabled."""

from __future__ import annotations

import re
from collections.abc import Container

from diskimage_create.validate.root import ImageRoot

_ADMIN = "/etc/systemd/system"
_UNIT_DIRECTORIES = (_ADMIN, "/usr/lib/systemd/system", "/lib/systemd/system")
_UNIT_TYPES = frozenset(
    ("service", "socket", "target", "timer", "mount", "automount", "path", "slice", "scope", "swap", "device")
)


def unit_file(root: ImageRoot, unit: str) -> str | None:
    """The name of the file that defines a unit; None where there is none, or it is masked."""
    for directory in _UNIT_DIRECTORIES:
        name = f"{directory}/{unit}"
        if root.lstat(name) is not None:
            # /dev/null, or an empty file, masks every later definition.
            status = root.stat(name)
            return name if root.is_file(name) and status is not None and status.st_size else None
    return None


def enabling_links(root: ImageRoot, unit: str) -> list[str]:
    """The links by which other units (mostly targets) pull this one in at boot."""
    links = []
    for directory in _UNIT_DIRECTORIES[:2]:
        for kind in ("wants", "requires"):
            links += root.glob(f"{directory}/*.{kind}/{unit}")
    return links


def is_enabled(root: ImageRoot, unit: str) -> bool:
    """Whether the unit exists and something starts it at boot."""
    return unit_file(root, unit) is not None and bool(enabling_links(root, unit))


def unit_states(root: ImageRoot) -> dict[str, str]:
    """The state of every unit that has a file or that something starts, in systemd's words.

    ``enabled``: something starts it at boot; ``disabled``: nothing does; ``masked``: nothing can;
    ``not-found``: something would, but there is no such unit.
    """
    defined = {name for directory in _UNIT_DIRECTORIES for name in root.listdir(directory) if _is_unit(name)}
    links = [link for directory in _UNIT_DIRECTORIES[:2] for link in _links_in(root, directory)]
    wanted = {link.rpartition("/")[2] for link in links}
    return {unit: _state(root, unit, wanted) for unit in sorted(defined | wanted)}


def started_units(root: ImageRoot) -> list[str]:
    """The units that exist and that something starts at boot."""
    links = [link for directory in _UNIT_DIRECTORIES[:2] for link in _links_in(root, directory)]
    wanted = {link.rpartition("/")[2] for link in links}
    return [unit for unit in sorted(wanted) if _state(root, unit, wanted) == "enabled"]


def _is_unit(name: str) -> bool:
    return name.rpartition(".")[2] in _UNIT_TYPES


def _links_in(root: ImageRoot, directory: str) -> list[str]:
    return [link for kind in ("wants", "requires") for link in root.glob(f"{directory}/*.{kind}/*")]


def _state(root: ImageRoot, unit: str, wanted: Container[str]) -> str:
    # getty@tty1.service is an instance of what getty@.service defines.
    template = re.sub(r"@[^.]+\.", "@.", unit)
    if unit_file(root, unit) is None and (template == unit or unit_file(root, template) is None):
        return "masked" if _is_masked(root, unit) else "not-found"
    return "enabled" if unit in wanted else "disabled"


def _is_masked(root: ImageRoot, unit: str) -> bool:
    return any(root.lstat(f"{directory}/{unit}") is not None for directory in _UNIT_DIRECTORIES)
