"""Architectures: their names, and that of an image by its programs."""

from __future__ import annotations

from diskimage_create.architectures import NAMES
from diskimage_create.validate.formats.executables import parse_elf_machine
from diskimage_create.validate.root import ImageRoot

#: Every name of an architecture that we take
ARCHITECTURES = tuple(name for names in NAMES.values() for name in names)

# Programs that every image has one of.
_PROGRAMS = ("/usr/bin/dpkg", "/usr/bin/rpm", "/bin/sh", "/sbin/init")


def foreign_machine(machine: int, bits: int, arch: str | None) -> str | None:
    """Why a program is not for an architecture, by its ELF header; None where it is, or any will do."""
    names = machine_names(machine, bits)
    return None if arch is None or arch in names else f"of {names[0]} instead of {arch}"


def machine_names(machine: int, bits: int) -> tuple[str, ...]:
    """The architecture of programs with such an ELF header, by each of its names; the usual one first."""
    return NAMES.get((machine, bits), (f"machine {machine}",))


def machine(root: ImageRoot) -> tuple[int, int] | None:
    """``e_machine`` and the bits per word of a program that every image has; None where none can be read."""
    for program in _PROGRAMS:
        if found := parse_elf_machine(root.read_bytes(program, limit=20) or b""):
            return found
    return None
