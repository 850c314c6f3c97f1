"""What a system calls itself: os-release(5)."""

from __future__ import annotations

import re
import shlex

from diskimage_create.validate.root import ImageRoot

_ASSIGNMENT = re.compile(r"^([A-Z_0-9]+)=(.*)$", re.MULTILINE)


def read_os_release(root: ImageRoot) -> dict[str, str]:
    """The fields, of whichever file there is; empty without any."""
    return parse_os_release(root.read_text("/etc/os-release") or root.read_text("/usr/lib/os-release") or "")


def parse_os_release(text: str) -> dict[str, str]:
    """The fields of an os-release file, as a shell would read them."""
    return {name: _unquoted(value) for name, value in _ASSIGNMENT.findall(text)}


def _unquoted(value: str) -> str:
    try:
        return " ".join(shlex.split(value))
    except ValueError:
        return value.strip()
