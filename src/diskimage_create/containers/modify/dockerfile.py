"""A Dockerfile of the user's, made to build upon another image."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FROM = re.compile(
    r"^[ \t]*FROM[ \t]+(?:--platform=\S+[ \t]+)?(?P<image>[^\s#]\S*)(?P<name>[ \t]+AS[ \t]+\S+)?[ \t]*$",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"^[ \t]*(#.*)?$")
#: A directive of the parser, in the comments at the top (Dockerfile reference, "Parser directives")
_ESCAPE = re.compile(r"^#[ \t]*escape[ \t]*=[ \t]*`[ \t]*$", re.IGNORECASE)


class NoFrom(ValueError):
    """A Dockerfile that builds upon nothing that we could replace."""


def rebased(text: str, source: str, append_tag: str) -> str:
    """The text with the image of its last ``FROM`` replaced, and the label ``modified_append_tag`` after it.

    The last one is what the image is built upon: the others are stages that files are copied from.

    :raises NoFrom: there is no ``FROM``
    """
    lines = text.splitlines()
    last = None
    for start, end in _instructions(lines):
        joined = " ".join(line.rstrip("\\`").strip() for line in lines[start:end] if not _COMMENT.match(line))
        if found := _FROM.match(joined):
            last = (start, end, found)
    if last is None:
        raise NoFrom("it has no FROM")
    start, end, found = last
    label = f"LABEL modified_append_tag={_quoted(append_tag)}"
    made = [*lines[:start], f"FROM {source}{found['name'] or ''}", label, *lines[end:]]
    return "\n".join(made) + "\n"


def _instructions(lines: list[str]) -> Iterator[tuple[int, int]]:
    """From which line to which every instruction goes: a line that ends with a backslash goes on."""
    escape = "`" if any(_ESCAPE.match(line) for line in lines[:1]) else "\\"
    index = 0
    while index < len(lines):
        start = index
        if not _COMMENT.match(lines[index]):
            # Comments and empty lines do not end an instruction that goes on.
            while index + 1 < len(lines) and (
                lines[index].rstrip().endswith(escape) or (index > start and _COMMENT.match(lines[index]))
            ):
                index += 1
            yield start, index + 1
        index += 1


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
