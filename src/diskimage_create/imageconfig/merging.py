"""How entries of one image's name become one image. Plain data, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: TripleO's files (tripleo-common, image/base.py): of these keys later entries add to the list ...
_EXTENDED = frozenset({"elements", "options", "packages"})
#: ... and of these to the mapping, the later one winning
_UPDATED = frozenset({"environment"})


def merge(entries: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Image name -> its entries as one, TripleO's way: of any other key the first value stays."""
    images: dict[str, dict[str, Any]] = {}
    for entry in entries:
        image = images.setdefault(entry["imagename"], {})
        for key, value in entry.items():
            if key in _EXTENDED:
                image[key] = [*image.get(key, ()), *value]
            elif key in _UPDATED:
                image[key] = {**image.get(key, {}), **value}
            else:
                image.setdefault(key, value)
    return images


def merge_builders(entries: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same, diskimage-builder's way (``diskimage_builder.py``): of a plain value the last one wins.

    An entry without a name belongs to the one before.
    """
    images: dict[str, dict[str, Any]] = {}
    name = "image"
    for entry in entries:
        name = entry.get("imagename", name)
        image = images.setdefault(name, {})
        for key, value in entry.items():
            if isinstance(value, list):
                image[key] = [*image.get(key, ()), *value]
            elif isinstance(value, Mapping):
                image[key] = {**image.get(key, {}), **value}
            else:
                image[key] = value
        image["imagename"] = name
    return images
