"""What is in a tree, listed at once by programs that are made for it.

A file by file look at tens of thousands of files takes seconds: in the kernel for Python's sake,
and through FUSE for the way of each question.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from diskimage_create import process
from diskimage_create.validate.root import Entry

_TYPES = {
    "f": stat.S_IFREG, "d": stat.S_IFDIR, "l": stat.S_IFLNK,
    "c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO, "s": stat.S_IFSOCK,
}  # fmt: skip
_FIELDS = ("%H", "%P", "%y", "%m", "%U", "%G", "%s", "%n", "%i")

#: A listing that takes longer is of a file system that leads in circles; in seconds
DEADLINE_SECONDS = 300.0

_MOST_NAMES = 1000

# The inode of the root directory (lib/ext2fs/ext2_fs.h).
_EXT_ROOT = 2
# debugfs repeats each request, then has a line an entry: inode, mode, uid, gid, name, size. No name has a slash; an
# empty slot has the inode 0.
_EXT_REQUEST = re.compile(rb"\n*(?:debugfs: +)?ls -p <(\d+)>\n")
_EXT_ENTRY = re.compile(rb"/(\d+)/(\d+)/(\d+)/(\d+)/([^/]*)/(\d*)/\n")

# mtree(5), as bsdtar writes it: the name, and the keywords that were asked for.
_MTREE_LINE = re.compile(rb"^(\S+)((?: [a-z]+=\S*)+)$", re.MULTILINE)
_MTREE_OCTAL = re.compile(rb"\\([0-7]{3})")


def by_find(top: Path) -> list[Entry]:
    """Everything below a mounted directory: find(1) asks the kernel.

    /usr has most of it. Two processes wait less for a disk that is unpacked while it is read.

    :raises CommandFailed: a directory cannot be read
    """
    names = os.listdir(top)
    others = [name for name in names if name != "usr"]
    # A command line has an end.
    parts = [["usr"], others] if "usr" in names and 0 < len(others) < _MOST_NAMES else [[""]]
    with ThreadPoolExecutor(len(parts)) as pool:
        return [entry for found in pool.map(partial(_found, top), parts) for entry in found]


def _found(top: Path, names: Sequence[str]) -> list[Entry]:
    """These entries of a directory, and everything below them; an empty name is the directory, without itself."""
    command = ["find", *(f"{top}/{name}" for name in names), "-printf", r"\0".join(_FIELDS) + r"\0"]
    fields = os.fsdecode(_output(command)).split("\0")
    starts, paths, types, modes, *numbers = (fields[place :: len(_FIELDS)] for place in range(len(_FIELDS)))
    cut = len(os.fspath(top))
    return [
        Entry(
            f"{start[cut:].rstrip('/')}/{path}" if path else start[cut:],
            _TYPES.get(kind, 0) | int(mode, 8),
            *(int(uid), int(gid), int(size), int(links), int(inode)),
        )
        for start, path, kind, mode, uid, gid, size, links, inode in zip(
            starts, paths, types, modes, *numbers, strict=False
        )
        if path or start[cut:] != "/"
    ]


def by_debugfs(device: str) -> list[Entry]:
    """Everything in an ext file system, directory by directory, without mounting it.

    Directories have the size 0, because debugfs does not tell.

    :param device: as debugfs understands it: a file, and ``?offset=BYTES``
    :raises OSError: the directories make no sense
    """
    found: list[tuple[str, int, int, int, int, int]] = []
    names, pending = {_EXT_ROOT: ""}, [_EXT_ROOT]
    while pending:
        answers = _ext_directories(device, pending)
        pending = []
        for directory, entries in answers:
            for inode, mode, uid, gid, last, size in entries:
                name = f"{names[directory]}/{last}"
                found.append((name, mode, uid, gid, size, inode))
                if stat.S_ISDIR(mode) and inode not in names:
                    names[inode] = name
                    pending.append(inode)
    links = Counter(inode for *_, inode in found)
    below = Counter(name.rpartition("/")[0] for name, mode, *_ in found if stat.S_ISDIR(mode))
    return [
        Entry(name, mode, uid, gid, size, 2 + below[name] if stat.S_ISDIR(mode) else links[inode], inode)
        for name, mode, uid, gid, size, inode in found
    ]


_Answer = tuple[int, int, int, int, str, int]


def _ext_directories(device: str, inodes: Sequence[int]) -> list[tuple[int, list[_Answer]]]:
    requests = "".join(f"ls -p <{inode}>\n" for inode in inodes)
    return parse_debugfs(_output(["debugfs", "-f", "-", device], requests))


def parse_debugfs(text: bytes) -> list[tuple[int, list[_Answer]]]:
    """What debugfs answered to many ``ls -p <INODE>``: inode, mode, uid, gid, name and size of all in each directory.

    :raises OSError: it says something else: a damaged directory has names with a slash
    """
    answers: list[tuple[int, list[_Answer]]] = []
    place = 0
    while place < len(text):
        if found := _EXT_ENTRY.match(text, place):
            inode, mode, uid, gid, name, size = found.groups()
            if int(inode) and name not in (b".", b"..") and answers:
                entry = (int(inode), int(mode, 8), int(uid), int(gid), os.fsdecode(name), int(size or 0))
                answers[-1][1].append(entry)
        elif found := _EXT_REQUEST.match(text, place):
            answers.append((int(found[1]), []))
        elif text[place:].strip():
            raise OSError(errno.EUCLEAN, "a directory holds names that no file can have")
        else:
            break
        place = found.end()
    return answers


def by_headers(archive: Path, top: Path) -> list[Entry]:
    """Everything that was unpacked of an archive, with the owners and modes that the archive has.

    :raises CommandFailed: the archive cannot be read
    :raises HostError: bsdtar is not installed
    """
    command = ["bsdtar", "-cf", "-", "--format=mtree", "--options=!all,uid,gid,mode,type", f"@{archive.resolve()}"]
    recorded = parse_mtree(_output(command))
    unpacked = by_find(top)
    return [
        entry._replace(mode=stat.S_IFMT(entry.mode) | facts[0], uid=facts[1], gid=facts[2])
        if (facts := recorded.get(entry.name))
        else entry
        for entry in unpacked
    ]


def parse_mtree(text: bytes) -> dict[str, tuple[int, int, int]]:
    """Name, from ``/`` -> mode, uid and gid."""
    found = {}
    for line in _MTREE_LINE.finditer(text):
        facts = dict(word.split(b"=", 1) for word in line[2].split())
        name = os.path.normpath(b"/" + _MTREE_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), line[1]))
        if {b"mode", b"uid", b"gid"} <= facts.keys():
            found[os.fsdecode(name.replace(b"//", b"/"))] = (
                int(facts[b"mode"], 8), int(facts[b"uid"]), int(facts[b"gid"]),
            )  # fmt: skip
    return found


def _output(command: Sequence[str], text: str = "") -> bytes:
    """What a program prints, byte for byte: file names are no text."""
    with tempfile.TemporaryFile() as file:
        process.run(command, input=text, stdout=file, timeout=DEADLINE_SECONDS)
        file.seek(0)
        return file.read()
