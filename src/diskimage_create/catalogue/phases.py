"""The phases of a build, and which files of a phase run, in which order (diskimage_builder/lib, version 3.43)."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Sourced before the hooks of every phase
ENVIRONMENT = "environment"
#: In the order in which disk-image-create comes to them; a test compares with its own scripts
PHASES = (
    *("root", "extra-data", "pre-install", "install", "post-install", "post-root"),
    *("block-device", "pre-finalise", "finalise", "cleanup"),
)
#: Those whose hooks run inside of the image
IN_TARGET = frozenset({"pre-install", "install", "post-install", "finalise"})

#: dib-run-parts runs no file of another name
_HOOK_NAME = re.compile(r"[0-9A-Za-z_-]+")
#: and sources none of another name
_ENVIRONMENT_NAME = re.compile(r"[0-9A-Za-z_.-]+")
_NUMBER = re.compile(r"(-?)(\d*)")


def is_run(phase: str, name: str) -> bool:
    """Whether dib-run-parts takes a file of this name in the phase."""
    pattern = _ENVIRONMENT_NAME if phase == ENVIRONMENT else _HOOK_NAME
    return pattern.fullmatch(name) is not None


def in_order(phase: str, names: Iterable[str]) -> list[str]:
    """Names in the order in which dib-run-parts takes them.

    Both are sorted with ``sort -n``, hooks by their names; environment files by their paths, where every number is
    a zero because a slash comes first, so that it is the order of the bytes.
    """
    return sorted(names, key=str.encode if phase == ENVIRONMENT else _numeric)


def _numeric(name: str) -> tuple[int, bytes]:
    match = _NUMBER.match(name)
    assert match is not None
    number = int(match[2] or 0)
    return (-number if match[1] else number, name.encode(errors="surrogateescape"))
