"""Disks with further partitions and other file systems, for the tests of the ways to look into an image."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

MIB = 2**20
SECTOR = 512
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def run(*argv: str | Path, stdin: str = "", env: dict[str, str] | None = None) -> str:
    """Run a program; what it prints.

    :raises AssertionError: it failed
    """
    environment = {**os.environ, "PATH": _PATH, "LC_ALL": "C", **(env or {})}
    done = subprocess.run(argv, input=stdin, text=True, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def missing(*programs: str) -> str:
    """Those that are not installed, as the reason for a skip."""
    lacking = [program for program in programs if not shutil.which(program, path=_PATH)]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


def partitioned(path: Path, table: str, contents: Sequence[tuple[str, Path]]) -> Path:
    """A raw disk whose partitions hold these files, each with its type as sfdisk names it."""
    lines, start = [f"label: {table}"], 2048
    places = []
    for kind, content in contents:
        sectors = -(-content.stat().st_size // SECTOR)
        lines.append(f"start={start}, size={sectors}, type={kind}")
        places.append((start * SECTOR, content))
        start += -(-sectors // 2048) * 2048
    with path.open("wb") as disk:
        disk.truncate((start + 2048) * SECTOR)
    run("sfdisk", "--quiet", "--no-reread", path, stdin="\n".join(lines) + "\n")
    for offset, content in places:
        run("dd", f"if={content}", f"of={path}", "bs=1M", "oflag=seek_bytes", f"seek={offset}", "conv=notrunc,sparse")
    return path


def file_system(kind: str, path: Path, tree: Path, label: str, *, mib: int, subvolume: str = "") -> Path:
    """A file with a file system that holds a tree; Btrfs' in a subvolume where one is named."""
    with path.open("wb") as file:
        file.truncate(mib * MIB)
    if kind == "vfat":
        run("mkfs.vfat", "-n", label, path)
        run("mcopy", "-s", "-i", path, *tree.iterdir(), "::/")
    elif kind == "ext4":
        run("mkfs.ext4", "-q", "-F", "-L", label, "-d", tree, path)
    else:
        run(f"mkfs.{kind}", "-q", "-f", "-L", label, path)
        with loop_mounted(path) as place:
            if subvolume:
                run("btrfs", "subvolume", "create", place / subvolume)
            run("cp", "-a", f"{tree}/.", place / subvolume)
    return path


@contextmanager
def loop_mounted(path: Path) -> Iterator[Path]:
    """A file system in a file, mounted to be written to."""
    place = path.with_name(path.name + ".mounted")
    place.mkdir()
    run("mount", "-o", "loop", path, place)
    try:
        yield place
    finally:
        run("umount", place)
        place.rmdir()


def volumes(path: Path, tree: Path, label: str, *, mib: int) -> Path:
    """A raw disk whose root file system is on a logical volume; made in libguestfs' machine."""
    with path.open("wb") as file:
        file.truncate(mib * MIB)
    archive = path.with_name("tree.tar")
    run("tar", "-cf", archive, "-C", tree, ".")
    commands = f"""run
part-init /dev/sda mbr
part-add /dev/sda p 2048 -2048
part-set-bootable /dev/sda 1 true
pvcreate /dev/sda1
vgcreate vg /dev/sda1
lvcreate-free root vg 100
mkfs ext4 /dev/vg/root label:{label}
mount /dev/vg/root /
tar-in {archive} /
"""
    environment = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    run("guestfish", "--format=raw", "-a", path, stdin=commands, env=environment)
    return path
