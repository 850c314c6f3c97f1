"""Which firmware a disk needs, and where this host has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diskimage_create.errors import HostError
from diskimage_create.validate.formats.disk import BIOS_BOOT, BOOT_CODE_BYTES, EFI_SYSTEM, Disk

#: Where distributions describe their firmware (QEMU's docs/interop/firmware.json); what comes first wins
_DESCRIPTIONS = (Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware"))
#: Where firmware is that nobody describes: code and variables
_KNOWN = {
    "x86_64": (("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
               ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd")),
    "aarch64": (("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),),
    "arm": (("/usr/share/AAVMF/AAVMF32_CODE.fd", "/usr/share/AAVMF/AAVMF32_VARS.fd"),),
}  # fmt: skip
_PACKAGES = {"x86_64": "ovmf (edk2-ovmf)", "aarch64": "qemu-efi-aarch64 (edk2-aarch64)", "arm": "qemu-efi-arm"}


@dataclass(frozen=True)
class Uefi:
    """A UEFI firmware: its code, and the template of the variables that it keeps."""

    code: Path
    variables: Path


def needs_uefi(disk: Disk, system: str) -> bool:
    """Whether a PC without UEFI could not boot this disk.

    :param system: QEMU's name of the architecture. ARM machines have no other firmware, POWER has its own.
    """
    if system in ("aarch64", "arm"):
        return True
    if system not in ("x86_64", "i386"):
        return False
    types = {partition.type for partition in disk.partitions}
    bios = bool(disk.boot_code[:BOOT_CODE_BYTES].strip(b"\0")) and (disk.table != "gpt" or BIOS_BOOT in types)
    return not bios and EFI_SYSTEM in types


def find_uefi(system: str, descriptions: tuple[Path, ...] = _DESCRIPTIONS) -> Uefi:
    """The UEFI firmware of this host for an architecture, without Secure Boot: images need not be signed.

    :raises HostError: there is none
    """
    described = (found for directory in descriptions for found in _described(directory, system))
    known = (Uefi(Path(code), Path(variables)) for code, variables in _KNOWN.get(system, ()))
    for uefi in (*described, *known):
        if uefi.code.is_file() and uefi.variables.is_file():
            return uefi
    package = _PACKAGES.get(system, "OVMF")
    raise HostError(f"there is no UEFI firmware for {system}, which the image needs", f"install {package}")


def _described(directory: Path, system: str) -> Iterator[Uefi]:
    for path in sorted(directory.glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            mapping = data["mapping"]
            fits = any(target["architecture"] == system for target in data["targets"])
            if not fits or "uefi" not in data["interface-types"] or mapping["device"] != "flash":
                continue
            if not {"secure-boot", "requires-smm"} & set(data["features"]):
                code, variables = mapping["executable"], mapping["nvram-template"]
                if code["format"] == variables["format"] == "raw":
                    yield Uefi(Path(code["filename"]), Path(variables["filename"]))
        except (OSError, ValueError, LookupError, TypeError):
            continue  # written by somebody else, for other versions of QEMU
