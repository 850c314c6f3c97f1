"""What the headers and the framing of boot files tell: whether they are whole, and for which machine they are."""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import struct
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create import process
from diskimage_create.validate.formats import gpt
from diskimage_create.validate.formats.executables import HEADER_BYTES, parse_elf, parse_pe
from diskimage_create.validate.formats.framing import CutShort, require_end
from diskimage_create.validate.formats.kernels import missing_bytes
from diskimage_create.validate.system.grub import core_image_problem, searched_for
from made_files import pe

# Content that does not compress away: a cut anywhere hits something.
CONTENT = b"".join(zlib.crc32(number.to_bytes(4)).to_bytes(4) for number in range(20_000)) + bytes(200_000)


def is_whole(content: bytes) -> bool:
    try:
        require_end(io.BytesIO(content), len(content))
    except CutShort:
        return False
    return True


@given(st.integers(1, 80_000), st.booleans())
def test_every_cut_of_gzip_and_xz_is_found(cut: int, gzipped: bool) -> None:
    content = GZIP if gzipped else XZ
    assert is_whole(content)
    assert not is_whole(content[: -min(cut, len(content) - 8)])


GZIP, XZ = gzip.compress(CONTENT), lzma.compress(CONTENT)


@pytest.mark.subprocess("the programs that pack initrds")
@pytest.mark.parametrize("pack", [("zstd", "--check"), ("zstd", "--no-check"), ("lz4", "-l"), ("lz4",)])
def test_every_cut_of_what_programs_pack_is_found(pack: tuple[str, ...], tmp_path: Path) -> None:
    if shutil.which(pack[0]) is None:
        pytest.skip(f"{pack[0]} is not installed")
    plain, packed = tmp_path / "initrd", tmp_path / "packed"
    plain.write_bytes(CONTENT)
    process.run([*pack, "-q", "-f", plain, packed] if pack[0] == "lz4" else [*pack, "-q", plain, "-o", packed])
    content = packed.read_bytes()
    assert is_whole(content)
    assert is_whole(content + bytes(512)) or pack == ("lz4", "-l")
    for cut in [*range(1, 20), *range(20, len(content) - 8, 4999)]:
        assert not is_whole(content[:-cut]), cut


@given(
    st.binary(), st.sampled_from([b"", b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\xfd7zXZ", b"\x02\x21\x4c\x18", b"070701"])
)
def test_any_bytes_are_whole_or_not(content: bytes, magic: bytes) -> None:
    is_whole(magic + content)


def test_a_pe_file_says_where_it_ends() -> None:
    plain, signed = parse_pe(pe()), parse_pe(pe(signature=1000))
    assert plain is not None
    assert signed is not None
    assert (plain.machine, plain.least_bytes) == (0x8664, 512 + 2 * 4096)
    assert signed.least_bytes == 512 + 2 * 4096 + 1000
    assert missing_bytes(pe(), 512 + 2 * 4096 - 7) == 7
    assert missing_bytes(pe(), 512 + 2 * 4096) == 0
    assert parse_pe(b"MZ" + bytes(4096)) is None


def test_an_elf_file_says_where_it_ends_and_what_loads_it() -> None:
    program = Path(sys.executable).resolve()
    with program.open("rb") as file:
        start = file.read(HEADER_BYTES)
        elf = parse_elf(start)
        assert elf is not None
        assert elf.interpreter is not None
        file.seek(elf.interpreter[0])
        loader = file.read(elf.interpreter[1]).rstrip(b"\0").decode()
    assert Path(loader).is_file()
    assert 0 < elf.least_bytes <= program.stat().st_size
    assert missing_bytes(start, elf.least_bytes - 1) == 1


@given(st.binary(max_size=300))
def test_any_bytes_are_some_program_or_none(content: bytes) -> None:
    for magic in (b"", b"MZ", b"\x7fELF\x02\x01", b"\x7fELF\x01\x01"):
        parse_elf(magic + content)
        parse_pe(magic + content)
        missing_bytes(magic + content, 100)


SECTORS = 100


def gpt_disk() -> bytes:
    """A disk of 100 sectors with a GPT of one partition."""
    entries = struct.pack("<16s16sQQQ", b"T" * 16, b"U" * 16, 40, 50, 0).ljust(128 * 128, b"\0")

    def header(own: int, other: int, at: int) -> bytes:
        fields = (b"EFI PART", 0x10000, 92, 0, 0, own, other, 34, 66, b"D" * 16, at, 128, 128, zlib.crc32(entries))
        blank = struct.pack("<8sIIIIQQQQ16sQIII", *fields)
        return (blank[:16] + struct.pack("<I", zlib.crc32(blank)) + blank[20:]).ljust(512, b"\0")

    mbr = (
        bytes(446)
        + struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0xEE, 255, 255, 255, 1, SECTORS - 1)
        + bytes(48)
        + b"\x55\xaa"
    )
    disk = mbr + header(1, SECTORS - 1, 2) + entries
    return disk.ljust((SECTORS - 33) * 512, b"\0") + entries + header(SECTORS - 1, 1, SECTORS - 33)


def problems(disk: bytes) -> list[str]:
    return gpt.table_problems(io.BytesIO(disk), len(disk))


def test_a_gpt_and_its_backup() -> None:
    assert gpt.announces_gpt(gpt_disk()[:512])
    assert problems(gpt_disk()) == []
    # Grown by a sector after partitioning: the backup is not at the end any more.
    assert problems(gpt_disk() + bytes(512)) == ["its backup at the end of the disk: there is none"]
    assert len(problems(bytes(SECTORS * 512))) == 2


@given(st.sampled_from([512, (SECTORS - 1) * 512]), st.integers(0, 91), st.integers(1, 255))
def test_every_damage_to_a_header_is_found(start: int, at: int, bits: int) -> None:
    disk = bytearray(gpt_disk())
    disk[start + at] ^= bits
    assert len(problems(bytes(disk))) == 1


@given(st.sampled_from([1024, (SECTORS - 33) * 512]), st.integers(0, 128 * 128 - 1), st.integers(1, 255))
def test_every_damage_to_the_entries_is_found(start: int, at: int, bits: int) -> None:
    disk = bytearray(gpt_disk())
    disk[start + at] ^= bits
    (problem,) = problems(bytes(disk))
    assert problem.endswith("the checksum of its partitions is wrong")


def test_what_grub_searches_for() -> None:
    text = (
        "search --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1 7263969d-7556-49f6-a371-9530c9832413\n"
        "  search --label cloudimg-rootfs --set root\n"
        "search.fs_uuid 0a1b root hd0,gpt1\n"
        "search --file /boot/grub/x\nsearch --fs-uuid ${boot_uuid}\nsearch -u --set=dev ABCD-1234\n"
    )
    assert searched_for(text) >= {"7263969d-7556-49f6-a371-9530c9832413", "0a1b"}
    assert not {"/boot/grub/x", "${boot_uuid}", "ABCD-1234"} & searched_for(text)


def test_the_core_image_on_the_disk_is_the_one_of_boot() -> None:
    core = bytes(range(256)) * 20
    boot_code = bytes(0x5C) + struct.pack("<Q", 1) + bytes(340)
    # On installing, the list of blocks and the redundancy are written.
    first = core[:500] + struct.pack("<QHH", 2, 9, 0x820)
    disk = bytes(512) + first + core[512:520] + b"\xff\xff" + core[522:] + bytes(2048)
    assert core_image_problem(io.BytesIO(disk), boot_code, core) is None
    for at in (512 + 3, 512 + 1024, 512 + 4000):
        damaged = disk[:at] + bytes(512) + disk[at + 512 :]
        assert core_image_problem(io.BytesIO(damaged), boot_code, core) is not None
