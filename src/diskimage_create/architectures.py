"""Architectures: their names, and whose programs this machine runs, as far as its files say. No tool is run."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

#: ELF's ``e_machine`` and bits per word -> the names of the architecture, Debian's (the one that we use) first
NAMES: Mapping[tuple[int, int], tuple[str, ...]] = {
    (62, 64): ("amd64", "x86_64"),
    (3, 32): ("i386",),
    (183, 64): ("arm64", "aarch64"),
    (40, 32): ("armhf",),
    (21, 64): ("ppc64le", "ppc64el"),
}
_USUAL = {name: names[0] for names in NAMES.values() for name in names}

#: QEMU's names, where they differ
_EMULATORS = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "arm"}

#: What processors run besides their own programs. Not armhf on arm64: many servers cannot.
_ALSO: Mapping[str, tuple[str, ...]] = {"amd64": ("i386",)}

#: Where the kernel's handlers of programs are, if it is mounted (Documentation/admin-guide/binfmt-misc.rst)
BINFMT_MISC = Path("/proc/sys/fs/binfmt_misc")


class Runs(StrEnum):
    """How programs of an architecture run."""

    NATIVE = "natively"
    EMULATED = "emulated"


def usual_name(arch: str) -> str:
    """The one of an architecture's names that all others are compared by."""
    return _USUAL.get(arch, arch)


def native(arch: str) -> tuple[str, ...]:
    """The architectures whose programs a processor runs itself, its own first."""
    own = usual_name(arch)
    return (own, *_ALSO.get(own, ()))


def emulator(arch: str) -> str:
    """QEMU's name of an architecture, after which Debian names the handler of its programs."""
    return _EMULATORS.get(usual_name(arch), usual_name(arch))


def emulated(directory: Path = BINFMT_MISC) -> tuple[str, ...]:
    """The architectures whose programs the kernel hands to an emulator, in a chroot too."""
    if not _is_enabled(directory / "status"):
        return ()
    handlers = [handler for path in directory.iterdir() if (handler := _usable(path))]
    return tuple(
        names[0] for kind, names in NAMES.items() if any(_takes(handler, _program(*kind)) for handler in handlers)
    )


def _is_enabled(status: Path) -> bool:
    """The file is there only where the file system is mounted."""
    try:
        return status.read_text().strip() == "enabled"
    except OSError:
        return False


def _usable(path: Path) -> dict[str, str] | None:
    """A handler that is enabled and whose interpreter the kernel holds open (F): a chroot has no file of that name."""
    if path.name in ("register", "status"):
        return None
    try:
        first, *lines = path.read_text().splitlines()
    except (OSError, ValueError):
        return None
    handler = {key.rstrip(":"): value for key, _, value in (line.partition(" ") for line in lines)}
    return handler if first == "enabled" and "F" in handler.get("flags", "") else None


def _takes(handler: Mapping[str, str], program: bytes) -> bool:
    """Whether a handler's magic number is found in a program."""
    if "magic" not in handler:  # it goes by the names of files
        return False
    magic, offset = bytes.fromhex(handler["magic"]), int(handler.get("offset", "0"))
    mask = bytes.fromhex(handler["mask"]) if "mask" in handler else b"\xff" * len(magic)
    start = program[offset : offset + len(magic)]
    if len(start) < len(magic):
        return False
    return all((byte ^ wanted) & care == 0 for byte, wanted, care in zip(start, magic, mask, strict=True))


def _program(machine: int, bits: int) -> bytes:
    """How programs begin, by elf(5): e_ident (all of NAMES are little-endian), e_type, e_machine, e_version."""
    return b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9) + struct.pack("<HHI", 2, machine, 1)
