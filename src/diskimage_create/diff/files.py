"""Two directory trees, compared file by file: type, mode, owner, extended attributes, content. Not time stamps."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from diskimage_create.diff.ignore import NOTHING, IgnoreList
from diskimage_create.diff.model import Aspect, Change, Kind, compare_values
from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.validate.formats.initrd import read_initrd

# Readers wait for the export of a qcow2 more than they compute.
_READERS = 4
# Files that a reader takes at once: most are small, and handing over costs as much as reading one.
_BATCH = 64
_CHUNK_BYTES = 2**20

# mke2fs makes it in every file system; what is in there fsck found, and no build put there.
_NOT_THE_TREES = "/lost+found"

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True)
class _File:
    """A file on one side."""

    path: str
    status: os.stat_result

    @property
    def type(self) -> str:
        return _TYPES.get(stat.S_IFMT(self.status.st_mode), "unknown")

    @property
    def description(self) -> str:
        return f"link to {os.readlink(self.path)}" if self.type == "link" else self.type


@dataclass(frozen=True)
class _Pair:
    """A file by its name in the images, and what it is on each side."""

    name: str
    a: _File | None
    b: _File | None


def compare_trees(a: Path, b: Path, ignore: IgnoreList = NOTHING) -> tuple[Change, ...]:
    """What differs between two trees, in the order of the names.

    :param a: directory that is the first tree's root
    :param b: directory that is the second one's
    :raises OSError: a file cannot be read: the file system is damaged
    """
    changes: dict[str, Change] = {}
    same_size: list[_Pair] = []
    for pair in _walk(os.fspath(a), os.fspath(b)):
        if change := _change(pair):
            changes[pair.name] = change
        if pair.a and pair.b and _same_size(pair.a, pair.b):
            same_size.append(pair)
    for pair in _with_other_content(same_size):
        assert pair.a is not None
        size = f"{pair.a.status.st_size} bytes"
        known = changes.get(pair.name, Change(pair.name, Kind.CHANGED)).aspects
        changes[pair.name] = Change(pair.name, Kind.CHANGED, aspects=(*known, Aspect("content", size, size)))
    return tuple(left for name in sorted(changes) for left in _unless_ignored(changes[name], a, b, ignore))


def _walk(a: str, b: str) -> Iterator[_Pair]:
    """Both trees in lock-step, without following any link."""
    pending = [("", True, True)]
    while pending:
        name, in_a, in_b = pending.pop()
        pair = _Pair(name or "/", _file(a + name) if in_a else None, _file(b + name) if in_b else None)
        yield pair
        below_a, below_b = _names_below(pair.a), _names_below(pair.b)
        pending += [
            (below, entry in below_a, entry in below_b)
            for entry in below_a | below_b
            if (below := f"{name}/{entry}") != _NOT_THE_TREES
        ]


def _file(path: str) -> _File:
    return _File(path, os.lstat(path))


def _names_below(file: _File | None) -> frozenset[str]:
    return frozenset(os.listdir(file.path)) if file and file.type == "directory" else frozenset()


def _change(pair: _Pair) -> Change | None:
    """How a file differs, but for the content of files of one size."""
    if pair.a is None or pair.b is None:
        old, new = (file.description if file else None for file in (pair.a, pair.b))
        return Change(pair.name, Kind.ADDED if old is None else Kind.REMOVED, old, new)
    aspects = tuple(_aspects(pair.a, pair.b))
    return Change(pair.name, Kind.CHANGED, aspects=aspects) if aspects else None


def _aspects(a: _File, b: _File) -> Iterator[Aspect]:
    old, new = _facts(a), _facts(b)
    for what in [*old, *(name for name in new if name not in old)]:
        if old.get(what) != new.get(what):
            yield Aspect(what, old.get(what), new.get(what))
    # A file system may have any size for a directory, and for a link that of its target.
    if a.type == b.type == "file" and a.status.st_size != b.status.st_size:
        yield Aspect("content", f"{a.status.st_size} bytes", f"{b.status.st_size} bytes")


def _facts(file: _File) -> dict[str, str]:
    """What can be told of a file without reading its content."""
    status = file.status
    facts = {"type": file.type, "owner": f"{status.st_uid}:{status.st_gid}"}
    if file.type == "link":
        facts["target"] = os.readlink(file.path)  # its mode means nothing
    else:
        facts["mode"] = f"{stat.S_IMODE(status.st_mode):04o}"
    if file.type.endswith("device"):
        facts["device"] = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return facts | {f"xattr {name}": value for name, value in sorted(_extended_attributes(file.path).items())}


def _extended_attributes(path: str) -> dict[str, str]:
    """Name -> value, in hexadecimal. File capabilities, ACLs and SELinux' labels are kept as such."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: "0x" + os.getxattr(path, name, follow_symlinks=False).hex() for name in names}
    except OSError as error:
        if error.errno == errno.ENOTSUP:  # a file system without any
            return {}
        raise


def _same_size(a: _File, b: _File) -> bool:
    return a.type == b.type == "file" and a.status.st_size == b.status.st_size > 0


def _with_other_content(pairs: list[_Pair]) -> list[_Pair]:
    """Those files of one size whose bytes differ."""
    # In this order most files were written, and lie on the disk: half the time of the order of names.
    pairs = sorted(pairs, key=lambda pair: pair.a.status.st_ino if pair.a else 0)
    batches = [pairs[start : start + _BATCH] for start in range(0, len(pairs), _BATCH)]
    with ThreadPoolExecutor(_READERS) as pool:
        return [pair for found in pool.map(_differing, batches) for pair in found]


def _differing(pairs: list[_Pair]) -> list[_Pair]:
    return [pair for pair in pairs if pair.a and pair.b and not _same_bytes(pair.a.path, pair.b.path)]


def _same_bytes(a: str, b: str) -> bool:
    """Whether two files of one size are equal; reads no further than they are."""
    with open(a, "rb", buffering=0) as file_a, open(b, "rb", buffering=0) as file_b:
        while chunk := file_a.read(_CHUNK_BYTES):
            if chunk != file_b.read(_CHUNK_BYTES):
                return False
    return True


def _unless_ignored(change: Change, a: Path, b: Path, ignore: IgnoreList) -> tuple[Change, ...]:
    """What is left of a change without that which may differ."""
    name = change.name
    if ignore.everything(name):
        return ()
    if not any(aspect.what == "content" for aspect in change.aspects):
        return (change,)
    # Found by the walk to be a regular file on both sides, and no link on the way was followed.
    old, new = Path(f"{a}{name}"), Path(f"{b}{name}")
    inside: tuple[Change, ...] | None = None
    if ignore.content(name) or (ignore.texts(name) and _blank(name, old, ignore) == _blank(name, new, ignore)):
        inside = ()
    elif ignore.initrd(name):
        inside = _compare_initrds(name, old, new, ignore)
    if inside is None:
        return (change,)
    others = tuple(aspect for aspect in change.aspects if aspect.what != "content")
    return (*([replace(change, aspects=others)] if others else []), *inside)


def _blank(name: str, path: Path, ignore: IgnoreList) -> bytes:
    return ignore.blank_bytes(name, path.read_bytes())


def _compare_initrds(name: str, a: Path, b: Path, ignore: IgnoreList) -> tuple[Change, ...] | None:
    """What differs among the members of two initrds; None where they cannot be read here."""
    try:
        old, new = (_members(name, path, ignore) for path in (a, b))
    except (ValueError, CommandFailed, HostError):
        return None
    return compare_values(old, new)


def _members(initrd: str, path: Path, ignore: IgnoreList) -> dict[str, str]:
    found: dict[str, str] = {}
    for member in read_initrd(path.read_bytes()):
        name = f"{initrd}:/{member.name}"
        # An archive in front may have directories of the same name.
        already = f"{found[name]}; " if name in found else ""
        found[name] = already + member.describe(ignore.blank_bytes(name, member.content))
    return found
