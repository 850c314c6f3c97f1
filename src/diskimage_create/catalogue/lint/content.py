"""The files of an element, read once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from diskimage_create.catalogue import facts, phases

_SHELL = re.compile(r"#!\s*(?:/usr)?(?:/bin/env\s+(?:-\S+\s+)*|/bin/|/sbin/)(bash|sh|dash|ksh)\b")
_INSTALL_TYPE = re.compile(r"install\.d/.+-[a-z]+-install")
#: ``# lint: EL204 why``: the rules that a line, or a file, breaks for a reason
_EXCEPTION = re.compile(r"#\s*lint:\s*(EL\d{3}(?:\s*,\s*EL\d{3})*)\s+\S")
#: What diskimage-builder's own lint has for the same, for a file as a whole
_DIB_EXCEPTION = re.compile(r"^\s*#\s*dib-lint:\s*disable=(.*)", re.MULTILINE)
_DIB_RULES = {"sete": "EL204", "executable": "EL201"}
#: What is no script and no list of packages: larger files are data
_LARGEST = 1 << 20
#: diskimage-builder leaves them out
_SKIPPED = frozenset({"tests", "test-elements", "__pycache__"})


@dataclass(frozen=True)
class File:
    """A file of an element."""

    path: str
    """Relative to the element"""
    executable: bool
    text: str
    """Empty where it is no text"""

    @property
    def name(self) -> str:
        """Without its directory."""
        return self.path.rpartition("/")[2]

    @property
    def directory(self) -> str:
        """Relative to the element; empty for its top."""
        return self.path.rpartition("/")[0]

    @cached_property
    def lines(self) -> list[str]:
        """Without their ends."""
        return self.text.splitlines()

    def line(self, number: int) -> str:
        """A line, from 1; empty behind the end, where shellcheck misses something."""
        return self.lines[number - 1] if number <= len(self.lines) else ""

    @property
    def has_shebang(self) -> bool:
        """Whether it names its interpreter."""
        return self.text.startswith("#!")

    @cached_property
    def shell(self) -> str | None:
        """The shell that its first line names."""
        match = _SHELL.match(self.text)
        return match[1] if match else None

    @property
    def phase(self) -> str | None:
        """The phase that the file belongs to, directly or below an install type's directory."""
        top = self.path.partition("/")[0].removesuffix(".d")
        if self.directory == f"{top}.d" or (top == "install" and _INSTALL_TYPE.fullmatch(self.directory)):
            return top if top == phases.ENVIRONMENT or top in phases.PHASES else None
        return None

    @property
    def is_hook(self) -> bool:
        """Whether a build runs it."""
        phase = self.phase
        return phase not in (None, phases.ENVIRONMENT) and self.executable and phases.is_run(str(phase), self.name)

    def commands(self) -> Iterator[tuple[int, str]]:
        """The lines that are no comments, each with its number, from 1."""
        for number, line in enumerate(self.lines, 1):
            if not line.lstrip().startswith("#"):
                yield number, line

    @cached_property
    def exceptions(self) -> dict[int, set[str]]:
        """Line -> ids of rules that may be broken there; a comment of its own speaks of the line below it."""
        found: dict[int, set[str]] = {}
        if "lint:" not in self.text:
            return found
        for number, line in enumerate(self.lines, 1):
            if match := _EXCEPTION.search(line):
                below = number
                while below <= len(self.lines) and self.lines[below - 1].lstrip().startswith("#"):
                    below += 1
                for each in {number, below}:
                    found.setdefault(each, set()).update(re.findall(r"EL\d{3}", match[1]))
        return found

    def excepts(self, rule: str, line: int | None) -> bool:
        """Whether a comment in the file says why a rule may be broken there."""
        if line is None:
            of_dib = {_DIB_RULES.get(word) for text in _DIB_EXCEPTION.findall(self.text) for word in text.split()}
            return rule in of_dib or any(rule in rules for rules in self.exceptions.values())
        return rule in self.exceptions.get(line, ())


class Content:
    """All files of an element but tests and caches."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = {file.path: file for file in _read(str(directory))}

    @cached_property
    def code(self) -> list[File]:
        """What is neither documentation nor a declaration: scripts, and what they bring along."""
        readme = facts.readme(self.directory)
        return [file for file in self.files.values() if not readme or file.path != readme.name]

    @property
    def top_directories(self) -> list[str]:
        """The names of the directories directly in the element."""
        return sorted({path.partition("/")[0] for path in self.files if "/" in path})

    def mentions(self, file: File) -> bool:
        """Whether another script of the element names the file: it is data then, or called by hand."""
        word = re.compile(rf"(?<![\w.-]){re.escape(file.name)}(?![\w.-])")
        return any(file.name in other.text and word.search(other.text) for other in self.code if other is not file)


def _read(directory: str) -> Iterator[File]:
    # Directly in the element, diskimage-builder follows links to directories; a walk that begins at one does.
    linked = [entry.path for entry in os.scandir(directory) if entry.is_symlink() and entry.is_dir()]
    for top in (directory, *sorted(linked)):
        for root, directories, names in os.walk(top):
            directories[:] = sorted(name for name in directories if name not in _SKIPPED)
            for name in sorted(names):
                path = os.path.join(root, name)
                if os.path.isfile(path):
                    yield File(os.path.relpath(path, directory), os.access(path, os.X_OK), _text(path))


def _text(path: str) -> str:
    with open(path, "rb") as file:
        start = file.read(_LARGEST + 1)
    return "" if len(start) > _LARGEST or b"\0" in start else start.decode("utf-8", "replace")
