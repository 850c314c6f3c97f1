"""``SHA256SUMS`` of a directory, as coreutils writes and checks it."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

NAME = "SHA256SUMS"
#: sha256sum(1): a backslash first where the name has backslashes and line ends written out
_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+)")


def parse(text: str) -> dict[str, str]:
    """Name -> digest in hex. Lines that are no sums are left out."""
    found = {}
    for line in text.split("\n"):
        if match := _LINE.fullmatch(line):
            found[_unescaped(match[3]) if match[1] else match[3]] = match[2].lower()
    return found


def as_text(sums: Mapping[str, str], others: Iterable[str] = ()) -> str:
    """The file, in the order of the names.

    :param others: lines that are no sums, which come first
    """
    return "".join([*(f"{line}\n" for line in others), *(_line(name, sums[name]) for name in sorted(sums))])


def other_lines(directory: Path) -> list[str]:
    """What somebody else has written into the file: comments, sums in another form.

    :raises OSError: it cannot be read
    """
    return [line for line in _text(directory).split("\n") if line and not _LINE.fullmatch(line)]


def read(directory: Path) -> dict[str, str]:
    """The sums in a directory; none where it has no such file.

    :raises OSError: it cannot be read
    """
    return parse(_text(directory))


def _text(directory: Path) -> str:
    try:
        return (directory / NAME).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other builds that write to the same directory from changing its sums while the block runs."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _line(name: str, digest: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def _unescaped(name: str) -> str:
    return re.sub(r"\\([\\nr])", lambda match: {"\\": "\\", "n": "\n", "r": "\r"}[match[1]], name)
