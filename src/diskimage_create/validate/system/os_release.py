"""What a system calls itself: os-release(5)."""

from __future__ import annotations

import re


def parse_os_release(text: str) -> dict[str, str]:
    """The fields of an os-release file."""
    pairs = re.findall(r"^([A-Z_0-9]+)=(.*)$", text, re.MULTILINE)
    return {key: value.strip().strip("\"'") for key, value in pairs}
