"""What /etc/sudoers and the files in /etc/sudoers.d allow without a password (sudoers(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from diskimage_create.validate.root import ImageRoot

_TAG = re.compile(r"\b(NO)?PASSWD:\s*")
_NO_AUTHENTICATION = re.compile(r"^Defaults.*(?<![\w!])!authenticate\b")

#: Programs that run any other
_ANYTHING = re.compile(r"^(?:ALL|/\S*/(?:(?:ba|da|z|k|c|tc)?sh|su|sudo|env|python[\d.]*|perl|vim?|less|find|awk)\b.*)$")


@dataclass(frozen=True)
class Rule:
    """Commands that somebody may run without a password."""

    file: str
    who: str
    """As written: a user, ``%group``, an alias, or ALL"""
    commands: tuple[str, ...]

    @property
    def everything(self) -> bool:
        """Whether it makes them root for all purposes: any command, or one that runs any other."""
        return any(_ANYTHING.match(command) for command in self.commands)


def passwordless_rules(root: ImageRoot) -> Iterator[Rule]:
    """The rules of an image; of names with a dot, or ``~`` at the end, sudo takes no notice."""
    names = [name for name in root.listdir("/etc/sudoers.d") if "." not in name and not name.endswith("~")]
    for name in ["/etc/sudoers", *(f"/etc/sudoers.d/{name}" for name in names)]:
        for who, commands in parse_sudoers(root.read_text(name) or ""):
            yield Rule(name, who, commands)


def parse_sudoers(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Who may run which commands without a password."""
    for line in text.replace("\\\n", " ").splitlines():
        rule = re.sub(r"(?:^|\s)#(?!\d).*", "", line).strip()
        if _NO_AUTHENTICATION.match(rule):
            yield "everybody", ("ALL",)
        elif "NOPASSWD:" in rule and "=" in rule:
            who = rule.split()[0].strip('"')
            if commands := tuple(_without_password(rule.partition("=")[2])):
                yield who, commands


def _without_password(specification: str) -> Iterator[str]:
    """The commands behind a NOPASSWD, up to the next PASSWD: a tag holds until the other one."""
    free = False
    for part in re.split(r"(?<!\\),", specification):
        for tag in _TAG.finditer(part):
            free = bool(tag[1])
        command = re.sub(r"\b[A-Z_]+:\s*", "", re.sub(r"\([^()]*\)", "", part)).strip()
        if free and command:
            yield command
