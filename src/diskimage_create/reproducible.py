"""The same image from the same inputs: what ``SOURCE_DATE_EPOCH`` means to a plan. See docs/reproducible.md."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from diskimage_create.model import ImageSpec

#: https://reproducible-builds.org/specs/source-date-epoch/
VARIABLE = "SOURCE_DATE_EPOCH"
#: The last second that 32 bits hold, which is what SquashFS and Python's byte code have for a time (in the year 2106)
LAST_EPOCH = 2**32 - 1
#: Made up for this purpose; to change it is to change every reproducible image
_NAMESPACE = uuid.UUID("4a91c972-d950-4e17-82d6-8077bb9e107e")
#: They have no UUID that mkfs could be told
_WITHOUT_UUID = frozenset({"fat", "vfat"})


def is_epoch(text: str) -> bool:
    """Whether a text is whole seconds since 1970. A leading zero is refused: to a shell it would make it octal."""
    return re.fullmatch(r"0|[1-9][0-9]{0,9}", text, re.ASCII) is not None and int(text) <= LAST_EPOCH


def with_fixed_uuids(layout: Sequence[Mapping[str, Any]], spec: ImageSpec) -> list[Mapping[str, Any]]:
    """A disk's layout in which no file system's UUID is left to chance, when ``SOURCE_DATE_EPOCH`` is set.

    Each is made from the epoch, what the image is, and the name of its place in the layout, so
    that different images have different ones; a UUID that the layout names stays. Without
    ``SOURCE_DATE_EPOCH`` the layout is returned as it is, and every build gets UUIDs of its own.
    """
    epoch = spec.environment.get(VARIABLE)
    if epoch is None:
        return list(layout)
    what = (spec.profile, spec.os, spec.release, spec.arch, spec.backend, spec.size_gib, spec.elements, spec.packages)
    seed = json.dumps([epoch.value, *what])
    return [_fixed(node, seed, "") for node in layout]


def _fixed(node: Any, seed: str, place: str) -> Any:
    """The node, and all below it, with a UUID in every ``mkfs``. In a tree the place is the device around it."""
    if isinstance(node, list):
        return [_fixed(each, seed, place) for each in node]
    if not isinstance(node, dict):
        return node
    place = str(node.get("name", node.get("base", place)))
    node = {key: _fixed(value, seed, place) for key, value in node.items()}
    mkfs = node.get("mkfs")
    if isinstance(mkfs, dict) and mkfs.get("type") not in _WITHOUT_UUID:
        where = str(mkfs.get("base", place))
        node["mkfs"] = {"uuid": str(uuid.uuid5(_NAMESPACE, f"{where} {seed}")), **mkfs}
    return node
