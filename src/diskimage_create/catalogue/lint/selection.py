"""Which elements, and which images, lint looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diskimage_create import elements
from diskimage_create.catalogue import Catalogue, Entry
from diskimage_create.catalogue.lint.model import Image

_SYSTEM = "operating-system"
#: What disk-image-create adds differs in the partition layout only
_ANY_ARCH = "amd64"


@dataclass(frozen=True)
class Selection:
    """What is checked."""

    catalogue: Catalogue
    entries: tuple[Entry, ...]
    images: tuple[Image, ...] = ()


def of_names(catalogue: Catalogue, names: Sequence[str], *, own_directories: bool, everything: bool) -> Selection:
    """The elements of these names, as an image too where they can be one; without names, those that the user can mend.

    :param own_directories: directories were named: only their elements, and not the project's
    :param everything: without names, all elements
    :raises InputError: there is no element of a name
    """
    if names:
        found = elements.expand([*names, *elements.implied(names, _ANY_ARCH)], catalogue.elements)
        is_image = _SYSTEM in found.provider
        images = (Image("the image", tuple(found.present)),) if is_image else ()
        return Selection(catalogue, tuple(catalogue.get(names)), images)
    chosen = tuple(
        entry
        for entry in catalogue.used.values()
        if everything or (entry.place.variable == "--path" if own_directories else entry.own)
    )
    return Selection(catalogue, chosen)


def of_image(catalogue: Catalogue, wanted: Sequence[str], title: str, *, everything: bool) -> Selection:
    """The elements of an image that the user can mend, or all of them, and the image."""
    found = elements.expand(wanted, catalogue.elements)
    entries = (catalogue.used[name] for name in found.present)
    chosen = tuple(entry for entry in entries if everything or entry.own)
    return Selection(catalogue, chosen, (Image(title, tuple(found.present)),))
