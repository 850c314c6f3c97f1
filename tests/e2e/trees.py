"""What differs between two images: the disk before its first partition, the file systems' labels, and every file."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diskimage_create.validate.image import ImageView, open_image


def images(a: Path, b: Path) -> list[str]:
    """Whatever differs between two images that hold a disk or an archive: one line each, none when nothing does."""
    with _opened(a) as one, _opened(b) as other:
        return [*_disks(one, other), *trees(one.root.path, other.root.path)]


def trees(a: Path, b: Path) -> list[str]:
    """Whatever differs between two trees of files: one line each."""
    one, other = dict(_walk(a)), dict(_walk(b))
    found = [f"{path}: only in {a if path in one else b}" for path in sorted(one.keys() ^ other.keys())]
    for path in sorted(one.keys() & other.keys()):
        names = [name for name in one[path].keys() | other[path].keys() if one[path].get(name) != other[path].get(name)]
        found += [f"{path}: {name} {one[path].get(name)} and {other[path].get(name)}" for name in sorted(names)]
    return found


@contextmanager
def _opened(image: Path) -> Iterator[ImageView]:
    with TemporaryDirectory() as workspace, open_image(image, workspace=Path(workspace)) as view:
        yield view


def _disks(a: ImageView, b: ImageView) -> list[str]:
    if a.kind not in ("raw", "qcow2", "vhd"):
        return []
    one, other = asdict(a.disk), asdict(b.disk)
    found = [f"disk: {name} {one[name]} and {other[name]}" for name in one if one[name] != other[name]]
    if a.kind == "raw" and a.disk.partitions:
        # Partition table, disk signature and boot loader
        end = min(partition.start for partition in a.disk.partitions)
        with a.path.open("rb") as first, b.path.open("rb") as second:
            head, head_of_other = first.read(end), second.read(end)
        at = [offset for offset in range(end) if head[offset] != head_of_other[offset]]
        if at:
            found.append(f"disk: {len(at)} bytes before the first partition, from {at[0]} to {at[-1]}")
    return found


def _walk(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path -> all that a file is, time stamps left out; hard links by the names they share."""
    links: dict[int, str] = {}
    for directory, names, files in os.walk(root):
        names.sort()
        for name in ["", *sorted([*names, *files])] if directory == str(root) else sorted([*names, *files]):
            path = Path(directory, name)
            status = path.lstat()
            relative = "/" + str(path.relative_to(root)) if name else "/"
            entry: dict[str, Any] = {
                "mode": stat.filemode(status.st_mode),
                "owner": (status.st_uid, status.st_gid),
                "xattrs": {key: os.getxattr(path, key, follow_symlinks=False) for key in _xattrs(path)},
            }
            if stat.S_ISREG(status.st_mode):
                with path.open("rb") as file:
                    entry["content"] = hashlib.file_digest(file, "sha256").hexdigest()
                entry["linked to"] = links.setdefault(status.st_ino, relative)
            elif stat.S_ISLNK(status.st_mode):
                entry["target"] = path.readlink()
            elif not stat.S_ISDIR(status.st_mode):
                entry["device"] = status.st_rdev
            yield relative, entry


def _xattrs(path: Path) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))
