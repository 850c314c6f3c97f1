"""What an image holds, in numbers that fit on a page: packages with their sizes, and where the space goes.

A tree of any size becomes a bounded list: the directories that hold most are looked into first, and what is small is
put together under its directory.
"""

from __future__ import annotations

import heapq
import stat
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.model import Content, Heavy, Node, SizedPackage
from diskimage_create.validate.root import Entry
from diskimage_create.validate.system.inventory import sized_packages
from diskimage_create.validate.system.os_release import read_os_release
from diskimage_create.validate.view import ImageView, Unavailable

#: What an image answers that cannot be read, or not here
_UNREADABLE = (Unavailable, OSError, CommandFailed, HostError)
#: Names on a page: in all, and of one directory; no directory deeper than this is looked into
_NODES, _CHILDREN, _DEPTH = 3000, 40, 32
#: What holds less than this part of everything is not named
_LEAST = 1 / 20_000
_LARGEST_FILES = 30
_PACKAGES = 20_000
#: Characters of a name: those of an image may be as long as its maker likes
_LONG = 300


def content_of(view: ImageView) -> Content:
    """What an opened image holds; what cannot be read here is left out."""
    try:
        sizes = _sizes(view.root.entries)
    except _UNREADABLE:
        sizes = {}
    return Content(
        kind=view.kind,
        file_bytes=view.path.stat().st_size,
        disk_bytes=_disk_bytes(view),
        system=_system(view),
        packages=_packages(view),
        tree=tuple(tree_of(sizes)) if sizes else (),
        largest=tuple(_largest(sizes)),
    )


def to_json(content: Content) -> dict[str, Any]:
    """The content, so that it fits through a pipe."""
    return asdict(content)


def from_json(data: Mapping[str, Any]) -> Content:
    """What :func:`to_json` made."""
    return Content(
        kind=data["kind"],
        file_bytes=data["file_bytes"],
        disk_bytes=data["disk_bytes"],
        system=data["system"],
        packages=tuple(SizedPackage(**each) for each in data["packages"]),
        tree=tuple(Node(**each) for each in data["tree"]),
        largest=tuple(Heavy(**each) for each in data["largest"]),
    )


def _disk_bytes(view: ImageView) -> int | None:
    try:
        return view.disk.virtual_size
    except _UNREADABLE:
        return None


def _system(view: ImageView) -> str:
    """What the image calls itself."""
    try:
        fields = read_os_release(view.root)
    except _UNREADABLE:
        return ""
    return fields.get("PRETTY_NAME", "")[:_LONG]


def _packages(view: ImageView) -> tuple[SizedPackage, ...]:
    try:
        return tuple(
            SizedPackage(each.name[:_LONG], each.version[:_LONG], each.architecture[:_LONG], each.bytes)
            for each in sized_packages(view)[:_PACKAGES]
        )
    except _UNREADABLE:
        return ()


def _sizes(entries: Iterable[Entry]) -> dict[str, int]:
    """Name -> bytes of every plain file; content that has several names counts for the first of them."""
    found, seen = {}, set()
    for entry in entries:
        if not stat.S_ISREG(entry.mode):
            continue
        if entry.links > 1:
            if entry.inode in seen:
                continue
            seen.add(entry.inode)
        found[entry.name] = entry.size
    return found


def _largest(sizes: Mapping[str, int]) -> list[Heavy]:
    names = heapq.nlargest(_LARGEST_FILES, sizes, key=lambda name: (sizes[name], name))
    return [Heavy(name[:_LONG], sizes[name]) for name in names]


@dataclass
class _Directory:
    """A directory while the sizes below it are added up."""

    bytes: int
    files: int
    children: dict[str, _Directory]
    is_file: bool = False


def tree_of(sizes: Mapping[str, int]) -> list[Node]:
    """The tree as a list, parents first; those that hold most are looked into first, until there is no more room.

    :param sizes: name from ``/`` -> bytes of every file
    """
    top = _added_up(sizes)
    least = top.bytes * _LEAST
    nodes = [Node("/", -1, top.bytes, top.files, "directory")]
    waiting: list[tuple[int, int, int, _Directory]] = [(-top.bytes, 0, 0, top)]
    while waiting:
        _, index, depth, directory = heapq.heappop(waiting)
        # One more for what is put together.
        room = min(_CHILDREN, _NODES - len(nodes) - 1)
        ordered = sorted(directory.children.items(), key=lambda each: (-each[1].bytes, each[0]))
        shown = [each for each in ordered[:room] if each[1].bytes > least] if room > 0 else []
        for name, child in shown:
            kind = "file" if child.is_file else "directory"
            nodes.append(Node(name[:_LONG], index, child.bytes, child.files, kind))
            if child.children and depth < _DEPTH:
                heapq.heappush(waiting, (-child.bytes, len(nodes) - 1, depth + 1, child))
        rest = [child for _, child in ordered[len(shown) :]]
        if shown and (left := sum(child.bytes for child in rest)):
            nodes.append(Node("", index, left, sum(child.files for child in rest), "rest"))
    return nodes


def _added_up(sizes: Mapping[str, int]) -> _Directory:
    top = _Directory(0, 0, {})
    for name, size in sizes.items():
        here = top
        here.bytes += size
        here.files += 1
        parts = name.strip("/").split("/")
        for part in parts:
            here = here.children.setdefault(part, _Directory(0, 0, {}))
            here.bytes += size
            here.files += 1
        here.is_file = True
    return top
