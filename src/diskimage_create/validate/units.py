"""systemd's view of an image: which units there are, and which are enabled."""

from __future__ import annotations

from diskimage_create.validate.root import ImageRoot

_ADMIN = "/etc/systemd/system"
_UNIT_DIRECTORIES = (_ADMIN, "/usr/lib/systemd/system", "/lib/systemd/system")


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
