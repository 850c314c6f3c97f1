"""What the ways to look into an image are told by other programs, and which of them is taken."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create import process
from diskimage_create.errors import HostError
from diskimage_create.validate import opening
from diskimage_create.validate.formats.disk import EFI_SYSTEM, HEAD_BYTES, Disk, FileSystem, Partition, parse_superblock
from diskimage_create.validate.opening.listing import by_find, parse_debugfs, parse_mtree
from diskimage_create.validate.root import Entry, ImageRoot, Tree, walk
from diskimage_create.validate.system.fstab import parse_fstab, partition_of
from diskimage_create.validate.system.packages import no_database

NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name)
REAL = NAMES.filter(lambda name: name not in (b".", b".."))
NUMBER = st.integers(0, 2**32 - 1)
ENTRY = st.tuples(
    NUMBER.filter(bool), st.sampled_from([0o100644, 0o104755, 0o040755, 0o010600]), NUMBER, NUMBER, REAL, NUMBER
)


@given(st.lists(st.tuples(NUMBER, st.lists(ENTRY, max_size=5)), max_size=5))
def test_directories_as_debugfs_lists_them(
    directories: list[tuple[int, list[tuple[int, int, int, int, bytes, int]]]],
) -> None:
    printed = b""
    for number, entries in directories:
        printed += b"debugfs: ls -p <%d>\n/%d/040755/0/0/.//\n/2/040755/0/0/..//\n/0/000000/0/0//0/\n" % (
            number,
            number,
        )
        for inode, mode, uid, gid, name, size in entries:
            printed += b"/%d/%06o/%d/%d/%s/%d/\n" % (inode, mode, uid, gid, name, size)
        printed += b"\n"
    expected = [
        (number, [(*entry[:4], os.fsdecode(entry[4]), entry[5]) for entry in entries])
        for number, entries in directories
    ]
    assert parse_debugfs(printed) == expected


def test_a_name_with_a_slash_is_damage() -> None:
    with pytest.raises(OSError, match="names that no file can have"):
        parse_debugfs(b"debugfs: ls -p <2>\n/12/100644/0/0/a/../../etc/x/5/\n")


@given(st.dictionaries(REAL, st.tuples(st.integers(0, 0o7777), NUMBER, NUMBER), max_size=8))
def test_owners_as_an_archive_has_them(files: dict[bytes, tuple[int, int, int]]) -> None:
    lines = [b"#mtree", b"/. mode=755 gid=0 uid=0 type=dir"]
    for name, (mode, uid, gid) in files.items():
        escaped = b"".join(b"%c" % byte if chr(byte).isalnum() and byte < 128 else b"\\%03o" % byte for byte in name)
        lines.append(b"./d/%s mode=%o gid=%d uid=%d type=file" % (escaped, mode, gid, uid))
    found = parse_mtree(b"\n".join(lines) + b"\n")
    expected = {f"/d/{os.fsdecode(name)}": facts for name, facts in files.items()}
    assert {name: (mode, uid, gid) for name, (mode, uid, gid) in found.items() if name != "/"} == {
        name: (int(f"{mode:o}", 8), uid, gid) for name, (mode, uid, gid) in expected.items()
    }


USUAL = [b"usr", b"etc", b"-n"]


@pytest.mark.subprocess("find lists a tree")
@pytest.mark.parametrize(
    "names",
    [
        [],
        [b"usr"],
        [b"etc"],
        USUAL,
        [*USUAL, b"new\nline", b"\xff", b"r\r\n", b"a b"],
        [*USUAL, *map(b"%d".__mod__, range(1500))],
    ],
    ids=["empty", "usr alone", "no usr", "usual", "odd", "many"],
)
def test_find_lists_what_a_walk_finds(tmp_path: Path, names: list[bytes]) -> None:
    for name in names:
        (tmp_path / os.fsdecode(name)).mkdir()
        (tmp_path / os.fsdecode(name) / "file").write_text("content")
    if len(names) > 1:
        (tmp_path / "link").symlink_to("nowhere")
        os.mkfifo(tmp_path / "pipe")
    assert sorted(by_find(tmp_path)) == sorted(walk(tmp_path))


def test_further_file_systems_hide_what_is_below(tmp_path: Path) -> None:
    root, boot = tmp_path / "root", tmp_path / "boot"
    (root / "boot").mkdir(parents=True)
    (root / "boot/hidden").touch()
    (root / "link").symlink_to("boot")
    boot.mkdir()
    (boot / "kernel").write_text("content")
    (boot / "up").symlink_to("../etc")  # in the image: /etc; on the host it leads nowhere
    (root / "etc").mkdir()
    (root / "etc/file").touch()
    image = ImageRoot(root, {"/boot": Tree(boot, lambda: walk(boot))})
    assert image.read_text("/link/kernel") == "content"
    assert image.is_file("/boot/up/file")
    assert image.listdir("/boot") == ["kernel", "up"]
    assert image.glob("/b*/k*") == ["/boot/kernel"]
    assert image.canonical("/link/../boot/./kernel") == "/boot/kernel"
    assert sorted(image.files_below("/")) == ["/boot/kernel", "/boot/up", "/etc/file"]
    assert sorted(entry.name for entry in image.entries) == [
        "/boot", "/boot/kernel", "/boot/up", "/etc", "/etc/file", "/link",
    ]  # fmt: skip


def test_what_a_listing_says_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/shadow").write_text("x")
    entries = [Entry("/etc", stat.S_IFDIR | 0o755, 0, 0, 0, 2, 1), Entry("/etc/shadow", stat.S_IFREG, 5, 42, 1, 1, 2)]
    image = ImageRoot(Tree(tmp_path, lambda: entries, listed=True))
    status = image.lstat("/etc/../etc/shadow")
    assert status is not None
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_size) == (5, 42, 0, 1)
    assert image.lstat("/etc/none") is None
    assert image.stat("/etc/shadow/none") is None


def partition(number: int, **facts: object) -> Partition:
    known: dict[str, object] = {"start": number * 2**20, "size": 2**20, "type": "83", "bootable": False, **facts}
    return Partition(number=number, **known)  # type: ignore[arg-type]


DISK = Disk(
    virtual_size=2**30, table="gpt", boot_code=b"", second_stage=b"", identifier="0x0a0b0c0d",
    partitions=(
        partition(1, type=EFI_SYSTEM, uuid="ABCD-1", name="ESP part"),
        partition(2, filesystem=FileSystem("ext4", "boot", "11111111-2222", True)),
        partition(3, size=2**29, filesystem=FileSystem("xfs", "root", "33333333-4444", None)),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("LABEL=boot /boot ext4 defaults 0 2", 2),
        ('LABEL="boot" /boot ext4', 2),
        ("UUID=33333333-4444 / xfs", 3),
        ("PARTUUID=abcd-1 /boot/efi vfat umask=0077", 1),
        ("UUID=AAAA-BBBB /boot/efi vfat", 1),
        ("PARTUUID=0a0b0c0d-02 /boot ext4", 2),
        ("/dev/vda2 /boot ext4", 2),
        ("/dev/sdb2 /boot ext4", None),
        ("LABEL=other /srv ext4", None),
        ("LABEL= /srv ext4", None),
        ("tmpfs /tmp tmpfs", None),
    ],
)
def test_partition_that_fstab_means(line: str, number: int | None) -> None:
    (mount,) = parse_fstab(f"# LABEL=no /no ext4\n\n{line}\nshort line\n")
    found = partition_of(mount, DISK)
    assert (found.number if found else None) == number


def test_fields_of_fstab() -> None:
    (mount,) = parse_fstab(r"LABEL=root /with\040blank btrfs rw,subvol=@home,noatime 0 0")
    assert (mount.place, mount.subvolume) == ("/with blank", "@home")


def test_superblock_of_btrfs() -> None:
    start = bytearray(HEAD_BYTES)
    start[65536 + 64 : 65536 + 72] = b"_BHRfS_M"
    start[65536 + 0x12B : 65536 + 0x12B + 5] = b"label"
    start[65536 + 32 : 65536 + 48] = bytes(range(16))
    assert parse_superblock(bytes(start)) == FileSystem("btrfs", "label", "00010203-0405-0607-0809-0a0b0c0d0e0f", None)


def test_the_way_that_this_user_can_go(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = {"fuse2fs", "debugfs", "qemu-storage-daemon", "fusermount3", "guestmount"}
    monkeypatch.setattr(process, "is_root", lambda: False)
    monkeypatch.setattr(process, "which", lambda name: name if name in programs else None)
    assert opening.choose("auto") == "fuse"
    assert opening.choose("guestfs") == "guestfs"
    with pytest.raises(HostError, match="only root"):
        opening.choose("loop")
    programs.discard("fuse2fs")
    assert opening.choose("auto") == "guestfs"
    with pytest.raises(HostError, match=r"fuse2fs \(package fuse2fs\)"):
        opening.choose("fuse")
    programs.clear()
    with pytest.raises(HostError) as refused:
        opening.choose("auto")
    assert refused.value.hint is not None
    for name in ("sudo", "fuse2fs", "guestmount", "fusermount3"):
        assert name in refused.value.hint
    monkeypatch.setattr(process, "is_root", lambda: True)
    assert opening.choose("auto") == "loop"


@pytest.mark.parametrize(
    ("name", "form"), [("var/lib/rpm/Packages", "Berkeley DB"), ("usr/lib/sysimage/rpm/Packages.db", "ndb")]
)
def test_package_databases_that_are_not_read(tmp_path: Path, name: str, form: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.touch()
    assert (
        no_database(ImageRoot(tmp_path)) == f"/{name} is an rpm database of the form {form}; only SQLite is read here"
    )


def test_no_package_database(tmp_path: Path) -> None:
    assert "no package database" in no_database(ImageRoot(tmp_path))
