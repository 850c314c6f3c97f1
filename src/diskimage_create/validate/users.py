"""The users of an image, from its /etc/passwd."""

from __future__ import annotations

from dataclasses import dataclass

from diskimage_create.validate.root import ImageRoot


@dataclass(frozen=True)
class User:
    """A line of passwd(5)."""

    name: str
    uid: int
    home: str
    shell: str


def read_users(root: ImageRoot) -> dict[str, User]:
    """Name -> user; lines that make no sense are left out."""
    rows = [line.split(":") for line in (root.read_text("/etc/passwd") or "").splitlines()]
    return {row[0]: User(row[0], int(row[2]), row[5], row[6]) for row in rows if len(row) == 7 and row[2].isdigit()}
