"""Initrds compared by their members: the time stamps in an archive do not count, anything else does."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from diskimage_create import process
from diskimage_create.diff import ignore
from diskimage_create.diff.files import compare_trees
from diskimage_create.diff.model import Kind
from diskimage_create.validate.formats.initrd import read_initrd

Files = dict[str, bytes]

INITRD = "boot/initrd.img-6.1.0"
FILES = {".": b"", "init": b"#!/bin/sh\n", "etc": b"", "etc/initiatorname.iscsi": b"InitiatorName=iqn.1:a\n"}


def cpio(files: Files, *, mtime: int = 0, mode: int = 0o100755) -> bytes:
    """A newc archive."""
    archive = b""
    for inode, (name, content) in enumerate({**files, "TRAILER!!!": b""}.items()):
        fields = (inode, mode, 0, 0, 1, mtime, len(content), 8, 1, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return archive + bytes(-len(archive) % 512)


def names(content: bytes) -> list[str]:
    return [member.name for member in read_initrd(content)]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_every_archive_of_an_initrd_is_read(compress: Callable[[bytes], bytes]) -> None:
    microcode = cpio({"kernel/x86/microcode.bin": b"code"})
    initrd = microcode + compress(cpio(FILES))
    assert names(initrd) == ["kernel/x86/microcode.bin", *FILES]
    assert [member.content for member in read_initrd(initrd)][1:] == list(FILES.values())


@pytest.mark.subprocess("zstd")
def test_an_initrd_compressed_with_zstd(tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    (tmp_path / "cpio").write_bytes(cpio(FILES))
    process.run(["zstd", "-q", tmp_path / "cpio"])
    packed = (tmp_path / "cpio.zst").read_bytes()
    assert names(cpio({"early": b""}) + packed) == ["early", *FILES]
    assert names(packed) == list(FILES)


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        cpio(FILES)[:200],
        cpio(FILES)[:-400],
        b"070701" + b"z" * 200,
        gzip.compress(b"no archive"),
        gzip.compress(cpio(FILES))[:40],
        gzip.compress(cpio(FILES)) * 2,
        b"\xfd7zXZ" + bytes(100),
        cpio(FILES) + b"rest",
    ],
    ids=range(9),
)
def test_what_is_no_initrd_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        names(content)


def compared(tmp_path: Path, a: bytes, b: bytes) -> dict[str, Kind]:
    trees = []
    for side, content in (("a", a), ("b", b)):
        path = tmp_path / side / INITRD
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        trees.append(tmp_path / side)
    return {change.name: change.kind for change in compare_trees(trees[0], trees[1], ignore.load())}


def test_time_stamps_and_made_up_names_do_not_count(tmp_path: Path) -> None:
    other = {**FILES, "etc/initiatorname.iscsi": b"InitiatorName=iqn.1:bcd\n"}
    assert compared(tmp_path, gzip.compress(cpio(FILES)), gzip.compress(cpio(other, mtime=99))) == {}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (cpio({**FILES, "init": b"#!/bin/bash\n"}), {f"/{INITRD}:/init": Kind.CHANGED}),
        (cpio({**FILES, "new": b""}), {f"/{INITRD}:/new": Kind.ADDED}),
        (cpio({"init": FILES["init"], "etc": b"", ".": b""}), {f"/{INITRD}:/etc/initiatorname.iscsi": Kind.REMOVED}),
        (cpio(FILES, mode=0o100644), {f"/{INITRD}:/{name}": Kind.CHANGED for name in FILES}),
        (b"not an archive", {f"/{INITRD}": Kind.CHANGED}),
    ],
    ids=["content", "added", "removed", "mode", "unreadable"],
)
def test_what_changed_in_an_initrd_is_named(tmp_path: Path, other: bytes, expected: dict[str, Kind]) -> None:
    assert compared(tmp_path, cpio(FILES), other) == expected
