"""What sshd's configuration says (sshd_config(5)): the first value of a keyword counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from diskimage_create.validate.root import ImageRoot

MAIN = "/etc/ssh/sshd_config"
_DEPTH = 4


@dataclass
class SshdSettings:
    """Keyword, in small letters -> value; what is in Match blocks may hold for some connections too."""

    everywhere: dict[str, str] = field(default_factory=dict)
    sometimes: list[tuple[str, str]] = field(default_factory=list)

    def values(self, keyword: str) -> set[str]:
        """All values that can hold for somebody, in small letters."""
        found = {value for name, value in self.sometimes if name == keyword}
        return {value.lower() for value in found | {self.everywhere.get(keyword, "")}} - {""}


def read_sshd_settings(root: ImageRoot) -> SshdSettings:
    """The settings of an image, with those of the files that it includes where they are included."""
    settings, matching = SshdSettings(), False
    for keyword, value in _lines(root, MAIN, _DEPTH):
        if keyword == "match":
            matching = value.lower() != "all"
        elif matching:
            settings.sometimes.append((keyword, value))
        else:
            settings.everywhere.setdefault(keyword, value)
    return settings


def _lines(root: ImageRoot, name: str, depth: int) -> Iterator[tuple[str, str]]:
    for keyword, value in parse_lines(root.read_text(name) or ""):
        if keyword != "include":
            yield keyword, value
        elif depth:
            for pattern in value.split():
                for included in root.glob(pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"):
                    yield from _lines(root, included, depth - 1)


def parse_lines(text: str) -> Iterator[tuple[str, str]]:
    """Keyword, in small letters, and value of each line that has both."""
    for line in text.splitlines():
        if found := re.match(r"\s*([A-Za-z]\w*)(?:\s*=\s*|\s+)(\S.*)", line):
            yield found[1].lower(), found[2].strip().strip('"')
