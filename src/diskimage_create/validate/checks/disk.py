"""Checks of the image file, its disk and its file system."""

from __future__ import annotations

import json
import os
import re
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

from diskimage_create import process
from diskimage_create.model import Expectation
from diskimage_create.validate.formats.disk import BIOS_BOOT, EFI_SYSTEM, PREP_BOOT, Disk, Partition
from diskimage_create.validate.record import recorded_artifact
from diskimage_create.validate.registry import Outcome, check, listed, passed, skipped, verdict
from diskimage_create.validate.view import ImageView

GIB = 2**30
LEAST_FREE = 0.15

# Of real images it takes less than a second.
_FSCK_SECONDS = 300.0
# e2fsck(8), exit code
_FSCK_FOUND_ERRORS = 4
# What it says beside what it found: its passes, that the file system is mounted, the summary. And what it would ask.
_FSCK_QUESTION = re.compile(r"\s*[^.?]*\? no$")
_FSCK_ELSE = re.compile(r"$|Pass \d|Warning! .* is mounted|.*: \*{10} WARNING|.*: \d+/\d+ files \(")

#: MBR types of partitions that hold others
_EXTENDED = ("5", "f", "85")


@check("image-intact", "The image file is whole and consistent")
def image_intact(view: ImageView, expectation: Expectation) -> Outcome:
    """The file has all its bytes, and the tables of its format agree with each other.

    An interrupted copy or upload leaves a file that still opens. A qcow2 file is compared
    with its own tables (to the last byte) and by ``qemu-img check``; the other formats must
    end as they do when complete; and if the record of the build lies beside the image, its
    size must be the recorded one.
    """
    problems = []
    size = view.path.stat().st_size
    recorded = recorded_artifact(view.path)
    if recorded and recorded.get("bytes") not in (None, size):
        problems.append(f"the file has {size} bytes, the record says {recorded['bytes']}")
    if not _ends_as_it_must(view.path, view.kind, size):
        problems.append(f"the file has {size} bytes, and does not end like a whole {view.kind} image")
    if view.kind == "qcow2":
        problems += _qemu_complaints(view)
    return verdict(problems, f"{view.kind}, {size / 2**20:.0f} MiB")


def _ends_as_it_must(path: Path, kind: str, size: int) -> bool:
    """What is known of the end of a file, for the formats that have no check of their own."""
    with path.open("rb") as file:
        start = file.read(48)
        file.seek(max(0, size - 1024))
        end = file.read()
    if kind == "raw":
        return size % 512 == 0
    if kind == "vhd":
        return end[512:].startswith(b"conectix")
    if kind == "squashfs":
        return size >= int.from_bytes(start[40:48], "little")
    if kind == "tar" and not start.startswith(b"\x1f\x8b"):
        return not end.strip(b"\0")
    return True


def _qemu_complaints(view: ImageView) -> list[str]:
    # 2: corrupt; 3: leaked clusters, which cost space only; 1: could not be checked.
    checked = process.run(["qemu-img", "check", "-f", "qcow2", "--output=json", view.path], expect=(0, 1, 2, 3))
    if checked.returncode in (0, 3):
        return []
    try:
        report: dict[str, Any] = json.loads(checked.stdout)
    except ValueError:
        return [f"qemu-img check: {checked.stderr.strip()}"]
    return [f"qemu-img check found {report.get('corruptions', 0)} corruptions, {report.get('check-errors', 0)} errors"]


@check("virtual-size", "The disk has the size asked for")
def virtual_size(view: ImageView, expectation: Expectation) -> Outcome:
    """The virtual size is exactly the one asked for: a flavor with a smaller disk cannot start a larger image."""
    size = view.disk.virtual_size
    if expectation.size_gib is None:
        return skipped(f"{size} bytes; no size is known to compare with")
    wanted = expectation.size_gib * GIB
    problems = [f"{size} bytes instead of {wanted}"] if size != wanted else []
    return verdict(problems, f"{expectation.size_gib} GiB")


@check("partitions", "One bootable partition, all partitions inside the disk, and none in another")
def partitions(view: ImageView, expectation: Expectation) -> Outcome:
    """The partition table has exactly one partition to boot from; none reaches beyond the disk, or into another.

    MBR: one partition with the boot flag. GPT: at most one of each kind that firmware
    boots from (EFI system, BIOS boot, PReP), and at least one. A disk without a table is
    one file system, to be started with a kernel from outside.
    """
    disk = view.disk
    if disk.table is None:
        if disk.root is not None:
            return skipped("the disk is a file system without partitions")
        return verdict(["the disk has no partition table"], "")
    problems = [
        f"partition {part.number} ends {part.end - disk.virtual_size} bytes beyond the disk"
        for part in disk.partitions
        if part.end > disk.virtual_size
    ]
    problems += [
        f"partitions {first.number} and {second.number} overlap"
        for first, second in combinations(disk.partitions, 2)
        if first.start < second.end and second.start < first.end and not _is_inside_extended(disk, first, second)
    ]
    problems += _boot_partition_problems(disk)
    return verdict(problems, f"{disk.table}, {len(disk.partitions)} partition(s)")


def _is_inside_extended(disk: Disk, *pair: Partition) -> bool:
    """Whether one is an extended partition of an MBR: the logical ones are in there."""
    return disk.table == "dos" and any(part.type in _EXTENDED for part in pair)


def _boot_partition_problems(disk: Disk) -> list[str]:
    flagged = [part for part in disk.partitions if part.bootable]
    if disk.table == "dos":
        # PReP firmware, and UEFI with an MBR, look for the type.
        typed = [part for part in disk.partitions if part.type in (EFI_SYSTEM, PREP_BOOT)]
        if len(flagged) > 1 or not (flagged or typed):
            return [f"{len(flagged)} partitions are marked bootable"]
        return []
    kinds = [part.type for part in disk.partitions if part.type in (EFI_SYSTEM, BIOS_BOOT, PREP_BOOT)]
    if not kinds and len(flagged) != 1:
        return ["there is no EFI system, BIOS boot or PReP partition"]
    return [f"{kinds.count(kind)} partitions of the boot type {kind}" for kind in set(kinds) if kinds.count(kind) > 1]


@check("filesystem-clean", "The root file system is clean")
def filesystem_clean(view: ImageView, expectation: Expectation) -> Outcome:
    """The root file system mounts read-only, was unmounted cleanly, needs no recovery, and agrees with itself.

    Kernels mount a file system whose directories or tables are damaged, and find out when they
    first read them: some files are gone then, or all become read-only. So ``e2fsck`` goes
    through those of ext2, ext3 and ext4, without changing anything.
    """
    if view.mount_error:
        return verdict([f"it cannot be mounted: {view.mount_error}"], "")
    disk = view.disk
    if view.tree is None:
        return skipped(view.no_root)
    filesystem = disk.root.filesystem if disk.root else None
    if filesystem is None or filesystem.clean is None:
        return skipped("it mounts; this type of file system does not tell more without a full check")
    if not filesystem.clean:
        return verdict(["it was not unmounted cleanly, or has recorded errors"], "")
    problems = _inconsistencies(view, disk.root) if disk.root and filesystem.type.startswith("ext") else []
    return verdict(problems, f"{filesystem.type}, label {filesystem.label or 'none'}")


def _inconsistencies(view: ImageView, partition: Partition) -> list[str]:
    """What ``e2fsck`` complains of; nothing where there is none, or where it is older than the file system."""
    if not process.which("e2fsck"):
        return []
    with tempfile.TemporaryDirectory(dir=view.workspace) as directory:
        plain = Path(directory, "disk")  # in the image's own name, a question mark would begin options
        plain.symlink_to(view.raw)
        command = ["e2fsck", "-f", "-n", f"{plain}?offset={partition.start}"]
        checked = process.run(command, expect=range(256), timeout=_FSCK_SECONDS)
    if not checked.returncode & _FSCK_FOUND_ERRORS:
        return []
    lines = [_FSCK_QUESTION.sub("", line) for line in checked.stdout.splitlines()]
    lines = [line for line in lines if not _FSCK_ELSE.match(line)]
    return [f"e2fsck found errors: {listed(lines, 3)}"]


@check("free-space", "At least 15 % of the root file system are free")
def free_space(view: ImageView, expectation: Expectation) -> Outcome:
    """Logs and certificates need room, for as long as an instance with the smallest flavor lives."""
    disk, root = view.disk, view.root
    if disk.root is None:
        return skipped("the size of the root file system is not known")
    status = os.statvfs(root.path)
    share = status.f_bavail / max(status.f_blocks, 1)
    if share < LEAST_FREE:
        return verdict([f"only {share:.0%} are free"], "")
    return passed(f"{share:.0%}, {status.f_bavail * status.f_frsize / GIB:.1f} GiB")
