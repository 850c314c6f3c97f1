"""Reading an image's files without ever leaving the image.

An image is untrusted: a symbolic link in it may be absolute, climb with ``..`` or loop.
Every name here is resolved as the booted image would resolve it, with the image's root as
``/``; and only regular files are opened, since a pipe or a device of that name would hang
or reach this host.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

# As many as the kernel follows.
MAX_LINKS = 40

# The largest file that a check reads whole; the real ones are a few hundred kilobytes.
MAX_READ = 64 * 2**20


class Entry(NamedTuple):
    """A file, directory or link of an image: its name from ``/``, and what ``lstat`` says of it."""

    name: str
    mode: int
    uid: int
    gid: int
    size: int
    """In bytes"""
    links: int
    inode: int


Listing = Callable[[], Iterable[Entry]]


@dataclass(frozen=True)
class Tree:
    """One file system of an image: a directory of this host, and how all that is in it is listed."""

    path: Path
    listing: Listing
    listed: bool = False
    """Whether the listing is what to ask of a file: through FUSE each question is slow, and what an ordinary user
    unpacked has lost its owners. Directories may have no size then."""


class ImageRoot:
    """The directory tree of an image, addressed by the names that the image itself uses."""

    def __init__(self, tree: Path | Tree, mounted: Mapping[str, Tree] | None = None) -> None:
        """``mounted``: further file systems of the image, each by the directory that the booted image has it at."""
        self._tree = tree if isinstance(tree, Tree) else Tree(tree, lambda: walk(tree))
        self.path = self._tree.path
        self._top = os.fspath(self.path)
        self._mounted = {tuple(_parts(name)): tree for name, tree in (mounted or {}).items()}
        self._directories: dict[str, list[str]] = {}
        self._modes: dict[str, int] = {}
        self._entries: tuple[Entry, ...] | None = None
        self._listing = threading.Lock()

    @property
    def mounted(self) -> dict[str, Tree]:
        """The further file systems, by the directory that the booted image has them at."""
        return {"/" + "/".join(parts): tree for parts, tree in self._mounted.items()}

    def resolve(self, name: str, *, follow: bool = True) -> str:
        """The host path of the file that ``name`` means in the image, free of symbolic links.

        :param follow: whether a link in the last place is followed too
        :raises FileNotFoundError: there is no such file in the image; a loop of links leads to none
        :raises NotADirectoryError: nor can there be
        """
        return self._host(self._resolved(name, follow=follow))

    def canonical(self, name: str) -> str:
        """The name, from ``/``, of the file that ``name`` means, free of links.

        :raises OSError: as :meth:`resolve` does
        """
        return "/" + "/".join(self._resolved(name, follow=True))

    def _resolved(self, name: str, *, follow: bool) -> list[str]:
        if "\0" in name:  # names come from the image's own files: anything is possible
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        done: list[str] = []
        pending = deque(_parts(name))
        links = 0
        while pending:
            part = pending.popleft()
            if part == "..":
                done = done[:-1]
                continue
            here = self._host([*done, part])
            mode = self._mode(here)
            if stat.S_ISLNK(mode) and (follow or pending):
                links += 1
                if links > MAX_LINKS:
                    raise FileNotFoundError(errno.ELOOP, os.strerror(errno.ELOOP), name)
                target = os.readlink(here)
                if target.startswith("/"):
                    done = []
                pending.extendleft(reversed(_parts(target)))
                continue
            if pending and not stat.S_ISDIR(mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
            done.append(part)
        return done

    def _mode(self, path: str) -> int:
        """Of a directory or a link it is remembered: most names lead through the same few."""
        if (mode := self._modes.get(path)) is None:
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
                self._modes[path] = mode
        return mode

    def _host(self, parts: list[str]) -> str:
        """Where the file of this name, free of links, is on the host."""
        if self._mounted:
            for length in range(len(parts), 0, -1):
                if tree := self._mounted.get(tuple(parts[:length])):
                    return os.path.join(tree.path, *parts[length:])
        return "/".join((self._top, *parts))

    def find(self, name: str) -> str | None:
        """The host path of ``name``, or None where the image has no such file."""
        try:
            return self.resolve(name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self, name: str) -> bool:
        """Whether the name leads to anything; a dangling link does not."""
        return self.find(name) is not None

    def lstat(self, name: str) -> os.stat_result | None:
        """The status of ``name`` itself, links in the last place not followed."""
        try:
            return self._status(self._unfollowed(name))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def entry(self, name: str) -> Entry | None:
        """What the listing has of ``name``, a link in the last place not followed: quick for thousands of names."""
        try:
            return self._by_name.get("/" + "/".join(self._unfollowed(name)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _unfollowed(self, name: str) -> list[str]:
        """The parts of a name whose directories are no links; whether there is such a file is not asked."""
        directory, _, last = name.rpartition("/")
        if last in ("", ".", "..") or "\0" in last:
            return self._resolved(name, follow=False)
        return [*self._directory(directory), last]

    def stat(self, name: str) -> os.stat_result | None:
        """The status of the file that the name leads to."""
        try:
            return self._status(self._resolved(name, follow=True))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _status(self, parts: list[str]) -> os.stat_result:
        """What ``lstat`` says of a file whose directories are no links.

        :raises FileNotFoundError: there is none
        """
        if not self._tree.listed or not parts:
            return os.lstat(self._host(parts))
        name = "/" + "/".join(parts)
        if (entry := self._by_name.get(name)) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return os.stat_result((entry.mode, entry.inode, 0, entry.links, entry.uid, entry.gid, entry.size, 0, 0, 0))

    @cached_property
    def _by_name(self) -> dict[str, Entry]:
        return {entry.name: entry for entry in self.entries}

    def is_file(self, name: str) -> bool:
        """Whether the name leads to a regular file."""
        status = self.stat(name)
        return status is not None and stat.S_ISREG(status.st_mode)

    def is_directory(self, name: str) -> bool:
        """Whether the name leads to a directory."""
        status = self.stat(name)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def is_executable(self, name: str) -> bool:
        """Whether the name leads to a regular file that may be executed."""
        status = self.stat(name)
        return status is not None and stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)

    def read_bytes(self, name: str, limit: int = MAX_READ) -> bytes | None:
        """At most ``limit`` bytes of a regular file; None where there is no such file."""
        found = self.find(name)
        if found is None or not stat.S_ISREG(os.lstat(found).st_mode):
            return None
        with open(found, "rb") as file:
            return file.read(limit)

    def read_text(self, name: str) -> str | None:
        """The text of a regular file; None where there is no such file."""
        content = self.read_bytes(name)
        return None if content is None else content.decode("utf-8", errors="replace")

    def interpreter(self, script: str) -> str | None:
        """The program that the first line of a script names; None where it names none, or leaves it to ``env``."""
        first = (self.read_bytes(script, limit=256) or b"").split(b"\n", 1)[0].decode(errors="replace")
        words = first[2:].split() if first.startswith("#!") else []
        return words[0] if words and not words[0].endswith("/env") else None

    def listdir(self, name: str) -> list[str]:
        """The sorted names in a directory; empty where there is no such directory."""
        found = self.find(name)
        if found is None or not os.path.isdir(found):
            return []
        return sorted(os.listdir(found))

    def glob(self, pattern: str) -> list[str]:
        """The names that match, with ``*`` and ``?`` allowed in every part; the last link is not followed."""
        matches = [""]
        for part in _parts(pattern):
            if any(char in part for char in "*?["):
                matches = [
                    f"{name}/{entry}" for name in matches for entry in self.listdir(name) if fnmatchcase(entry, part)
                ]
            else:
                matches = [f"{name}/{part}" for name in matches]
        return [name for name in matches if self.lstat(name) is not None]

    def files_below(self, name: str) -> Iterator[str]:
        """The names of everything but directories below a directory, links not followed.

        :raises OSError: a directory cannot be read
        """
        start = name.rstrip("/")
        for top in (start, *(place for place in self.mounted if place.startswith(f"{start}/"))):
            found = self.find(top)
            if found is None or not os.path.isdir(found):
                continue
            for directory, folders, files in os.walk(found, onerror=_raise):
                prefix = top + directory[len(found) :]
                folders[:] = [folder for folder in folders if f"{prefix}/{folder}" not in self.mounted]
                yield from (f"{prefix}/{file}" for file in sorted(files))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything in the tree but its top, read once for all checks; a name of two links is there twice.

        Inode numbers are unique in all of it, though each file system counts its own.
        """
        with self._listing:  # several checks ask at the same time
            if self._entries is None:
                self._entries = self._listed()
            return self._entries

    def _listed(self) -> tuple[Entry, ...]:
        found = list(self._tree.listing())
        for number, (place, tree) in enumerate(self.mounted.items(), start=1):
            found = [entry for entry in found if not entry.name.startswith(f"{place}/")]  # hidden by the mount
            further = number << 64
            found += (entry._replace(name=place + entry.name, inode=further + entry.inode) for entry in tree.listing())
        return tuple(found)

    def _directory(self, name: str) -> list[str]:
        """The parts of a directory's name, free of links; remembered, because nothing changes in a read-only tree."""
        if name not in self._directories:
            self._directories[name] = self._resolved(name, follow=True)
        return self._directories[name]


def walk(top: Path) -> list[Entry]:
    """Everything below a directory, by looking at each file: for small trees."""
    found = []
    pending = [""]
    while pending:
        directory = pending.pop()
        with os.scandir(os.fspath(top) + directory) as there:
            for each in there:
                name = f"{directory}/{each.name}"
                status = each.stat(follow_symlinks=False)
                owner = (status.st_uid, status.st_gid)
                found.append(Entry(name, status.st_mode, *owner, status.st_size, status.st_nlink, status.st_ino))
                if each.is_dir(follow_symlinks=False):
                    pending.append(name)
    return found


def _raise(error: OSError) -> None:
    raise error


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]
