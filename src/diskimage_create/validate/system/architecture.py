"""Architectures: their names, and that of an image by its programs."""

from __future__ import annotations

from diskimage_create.validate.formats.executables import parse_elf_machine
from diskimage_create.validate.root import ImageRoot

# ELF e_machine, with the bits per word, of each architecture name that we take.
_MACHINES = {
    (62, 64): ("amd64", "x86_64"),
    (3, 32): ("i386",),
    (183, 64): ("arm64", "aarch64"),
    (40, 32): ("armhf",),
    (21, 64): ("ppc64le", "ppc64el"),
}

#: Every such name
ARCHITECTURES = tuple(name for names in _MACHINES.values() for name in names)

# Programs that every image has one of.
_PROGRAMS = ("/usr/bin/dpkg", "/usr/bin/rpm", "/bin/sh", "/sbin/init")


def foreign_machine(machine: int, bits: int, arch: str | None) -> str | None:
    """Why a program is not for an architecture, by its ELF header; None where it is, or any will do."""
    names = machine_names(machine, bits)
    return None if arch is None or arch in names else f"of {names[0]} instead of {arch}"


def machine_names(machine: int, bits: int) -> tuple[str, ...]:
    """The architecture of programs with such an ELF header, by each of its names; the usual one first."""
    return _MACHINES.get((machine, bits), (f"machine {machine}",))


def machine(root: ImageRoot) -> tuple[int, int] | None:
    """``e_machine`` and the bits per word of a program that every image has; None where none can be read."""
    for program in _PROGRAMS:
        if found := parse_elf_machine(root.read_bytes(program, limit=20) or b""):
            return found
    return None
