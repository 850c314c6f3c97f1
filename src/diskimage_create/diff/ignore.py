"""What two builds of one image may differ in: ``ignore.yaml``, read for ``diff --ignore``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_LIST = Path(__file__).with_name("ignore.yaml")


@dataclass(frozen=True)
class Pattern:
    """One entry of the list. It is about files (``path``), or about a property of the disk (``disk``)."""

    reason: str
    path: str | None = None
    """Names of files: ``*`` and ``?`` stand for anything but a slash, ``**`` for anything."""
    text: str | None = None
    """Only what this regular expression matches in the content may differ."""
    everything: bool = False
    """The file may be missing too, and may have another mode or owner; otherwise it is its content that may differ."""
    initrd: bool = False
    """The file is an initrd: instead of its content, that of its members is compared, without their time stamps."""
    disk: str | None = None

    def covers(self, name: str) -> bool:
        """Whether the pattern is about the file of that name."""
        return self.path is not None and _matcher(self.path).fullmatch(name) is not None


@dataclass(frozen=True)
class IgnoreList:
    """Patterns, asked by whoever found a difference."""

    patterns: tuple[Pattern, ...] = ()

    def everything(self, name: str) -> bool:
        """Whether a file may differ in any way."""
        return any(pattern.everything and pattern.covers(name) for pattern in self.patterns)

    def content(self, name: str) -> bool:
        """Whether the content of a file may be any other."""
        whole = (pattern for pattern in self.patterns if pattern.text is None and not pattern.initrd)
        return any(pattern.covers(name) for pattern in whole)

    def initrd(self, name: str) -> bool:
        """Whether the members of a file are to be compared instead of its content."""
        return any(pattern.initrd and pattern.covers(name) for pattern in self.patterns)

    def texts(self, name: str) -> list[str]:
        """The regular expressions for what may differ in the content of a file."""
        return [pattern.text for pattern in self.patterns if pattern.text is not None and pattern.covers(name)]

    def blank(self, name: str, content: str) -> str:
        """The content of a file without what may differ in it."""
        for text in self.texts(name):
            content = re.sub(text, "*", content, flags=re.MULTILINE)
        return content

    def blank_bytes(self, name: str, content: bytes) -> bytes:
        """The same of content that need not be text."""
        if not self.texts(name):
            return content
        return self.blank(name, content.decode(errors="surrogateescape")).encode(errors="surrogateescape")

    def disk(self, name: str) -> bool:
        """Whether a property of the disk may differ."""
        return any(pattern.disk is not None and _matcher(pattern.disk).fullmatch(name) for pattern in self.patterns)


NOTHING = IgnoreList()


def load() -> IgnoreList:
    """The list that is shipped."""
    import yaml

    entries: Iterable[dict[str, Any]] = yaml.safe_load(_LIST.read_text(encoding="utf-8"))
    return IgnoreList(tuple(Pattern(**entry) for entry in entries))


@cache
def _matcher(pattern: str) -> re.Pattern[str]:
    wild = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    return re.compile("".join(wild.get(part, re.escape(part)) for part in parts), re.DOTALL)
