"""Checks of the installed system as a whole."""

from __future__ import annotations

import re

from diskimage_create.model import Expectation
from diskimage_create.validate.image import ImageView
from diskimage_create.validate.packages import read_packages
from diskimage_create.validate.registry import Outcome, check, listed, skipped, verdict
from diskimage_create.validate.root import ImageRoot

# Releases whose name moves on: it says nothing about the content of the image.
_MOVING_RELEASES = frozenset({"stable", "testing", "unstable", "sid", "oldstable", "devel", "rawhide"})

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


@check("os-release", "The distribution and release are those asked for")
def os_release(view: ImageView, expectation: Expectation) -> Outcome:
    """``ID`` in /etc/os-release is the distribution, and the code name or version is the release asked for."""
    text = view.root.read_text("/etc/os-release")
    if text is None:
        return verdict(["there is no /etc/os-release"], "")
    fields = parse_os_release(text)
    found = fields.get("PRETTY_NAME", fields.get("ID", "unknown"))
    problems = []
    if expectation.distribution and fields.get("ID") != expectation.distribution:
        problems.append(f"it is {fields.get('ID')!r} instead of {expectation.distribution!r}")
    elif expectation.release and not _is_release(fields, expectation.release):
        problems.append(f"it is {found} instead of release {expectation.release}")
    return verdict(problems, found)


def parse_os_release(text: str) -> dict[str, str]:
    """The fields of an os-release file."""
    pairs = re.findall(r"^([A-Z_0-9]+)=(.*)$", text, re.MULTILINE)
    return {key: value.strip().strip("\"'") for key, value in pairs}


def _is_release(fields: dict[str, str], release: str) -> bool:
    version = fields.get("VERSION_ID", "")
    # CentOS says 10-stream for what calls itself version 10; minor versions (10.1) come with time.
    wanted = release.removesuffix("-stream")
    names = (fields.get("VERSION_CODENAME", ""), fields.get("UBUNTU_CODENAME", ""), version, version.split(".")[0])
    return release in _MOVING_RELEASES or wanted in names


@check("architecture", "Programs are of the architecture asked for")
def architecture(view: ImageView, expectation: Expectation) -> Outcome:
    """The ELF header of a program that every image has names the architecture asked for."""
    found = machine(view.root)
    if found is None:
        return verdict(["no program was found whose ELF header could be read"], "")
    name = _machine_names(*found)[0]
    if expectation.arch is None:
        return skipped(f"{name}; no architecture is known to compare with")
    problem = foreign_machine(*found, expectation.arch)
    return verdict([f"programs are {problem}"] if problem else [], name)


def foreign_machine(machine: int, bits: int, arch: str | None) -> str | None:
    """Why a program is not for an architecture, by its ELF header; None where it is, or any will do."""
    names = _machine_names(machine, bits)
    return None if arch is None or arch in names else f"of {names[0]} instead of {arch}"


def _machine_names(machine: int, bits: int) -> tuple[str, ...]:
    return _MACHINES.get((machine, bits), (f"machine {machine}",))


def parse_elf_machine(start: bytes) -> tuple[int, int] | None:
    """``e_machine`` and the bits per word from the first 20 bytes of an ELF file."""
    if len(start) < 20 or start[:4] != b"\x7fELF":
        return None
    order = "little" if start[5] == 1 else "big"
    return int.from_bytes(start[18:20], order), 64 if start[4] == 2 else 32  # type: ignore[arg-type]


def machine(root: ImageRoot) -> tuple[int, int] | None:
    """The same of a program that every image has; None where there is none that can be read."""
    for program in _PROGRAMS:
        if found := parse_elf_machine(root.read_bytes(program, limit=20) or b""):
            return found
    return None


@check("packages", "All required packages are installed, none is half-installed")
def packages(view: ImageView, expectation: Expectation) -> Outcome:
    """The package database has every package that the elements ask for, and no interrupted installation."""
    database = read_packages(view)
    problems = list(database.unfinished)
    if missing := database.missing(expectation.packages):
        problems.append(f"not installed: {listed(missing)}")
    return verdict(problems, f"{len(database.installed)} installed, {len(expectation.packages)} required")
