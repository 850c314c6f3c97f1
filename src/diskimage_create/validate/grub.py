"""What GRUB will boot: the entries of its configuration, and of the boot loader specification's files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from diskimage_create.validate.root import ImageRoot

_CONFIGS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")


@dataclass(frozen=True)
class BootEntry:
    """What a boot loader entry loads."""

    kernel: str
    initrds: tuple[str, ...]
    arguments: str

    @property
    def root(self) -> str | None:
        """The value of ``root=``."""
        found = re.search(r"(?:^|\s)root=(\S+)", self.arguments)
        return found[1] if found else None


def grub_config(root: ImageRoot) -> str | None:
    """The name of GRUB's configuration; None where there is none."""
    return next((name for name in _CONFIGS if root.exists(name)), None)


def boot_entries(root: ImageRoot, config: str) -> Iterator[BootEntry]:
    """All entries of GRUB's configuration, those in the boot loader specification's files included."""
    text = root.read_text(config) or ""
    yield from parse_grub_config(text)
    if re.search(r"^\s*blscfg\b", text, re.MULTILINE):
        environment = root.read_text(config.rpartition("/")[0] + "/grubenv") or ""
        defaults = re.search(r"^kernelopts=(.*)$", environment, re.MULTILINE)
        for name in root.glob("/boot/loader/entries/*.conf"):
            if "0-rescue" not in name:
                yield parse_bls_entry(root.read_text(name) or "", defaults[1] if defaults else "")


def parse_grub_config(text: str) -> Iterator[BootEntry]:
    """The ``linux`` and ``initrd`` commands of each menu entry."""
    for block in re.split(r"^\s*menuentry\s", text, flags=re.MULTILINE)[1:]:
        linux = re.search(r"^\s*linux(?:16|efi)?\s+(\S+)(.*)$", block, re.MULTILINE)
        if linux is None:
            continue
        initrds = re.search(r"^\s*initrd(?:16|efi)?\s+(.*)$", block, re.MULTILINE)
        yield BootEntry(linux[1], tuple(initrds[1].split()) if initrds else (), linux[2].strip())


def parse_bls_entry(text: str, kernelopts: str) -> BootEntry:
    """An entry of the boot loader specification (Fedora and its family)."""
    fields = dict(re.findall(r"^(\S+)[ \t]+(.*)$", text, re.MULTILINE))
    initrds = tuple(name for name in fields.get("initrd", "").split() if not name.startswith("$"))
    options = fields.get("options", "").replace("$kernelopts", kernelopts)
    return BootEntry(fields.get("linux", ""), initrds, options)
