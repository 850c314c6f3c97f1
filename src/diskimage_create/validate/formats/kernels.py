"""What the headers of a kernel say of its file."""

from __future__ import annotations

from diskimage_create.validate.formats.executables import parse_elf, parse_pe


def is_kernel(start: bytes) -> bool:
    """Whether a file that starts like this is a kernel: bzImage, or arm64's Image.

    Source: the kernel's Documentation/arch/x86/boot.rst and Documentation/arch/arm64/booting.rst
    """
    return start[0x202:0x206] == b"HdrS" or start[56:60] == b"ARM\x64"


def missing_bytes(start: bytes, size: int) -> int:
    """How many bytes a kernel's file lacks, by its own headers; 0 where it is whole, or they do not say.

    A kernel is what UEFI starts as well (PE), and so says where its last section or its
    signature ends; those for PCs have a header besides (Documentation/arch/x86/boot.rst),
    those of POWER are ELF files.

    :param start: at least the first 4 KiB
    :param size: of the whole file
    """
    least = 0
    if start[0x202:0x206] == b"HdrS":
        least = (start[0x1F1] + 1) * 512 + int.from_bytes(start[0x1F4:0x1F8], "little") * 16
    for parsed in (parse_pe(start), parse_elf(start)):
        least = max(least, parsed.least_bytes if parsed else 0)
    return max(0, least - size)
