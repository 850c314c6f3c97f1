"""The users of an image, and who of them has a password: passwd(5), shadow(5)."""

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


def parse_shadow(text: str) -> dict[str, str]:
    """User -> password field."""
    rows = [line.split(":") for line in text.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) > 1 and row[0]}


def can_log_in(password: str) -> bool:
    """Whether a password field lets anyone in: an empty one lets in everybody."""
    return not password.startswith(("!", "*"))


def password_fields(root: ImageRoot) -> dict[str, str]:
    """The password field of every user, whichever file it is in."""
    passwords = parse_shadow(root.read_text("/etc/shadow") or "")
    for user, field in parse_shadow(root.read_text("/etc/passwd") or "").items():
        if field != "x":
            passwords[user] = field
    return passwords
