"""``index.json``: the images that a place has, worked out of what lies there.

It is never merged with what it said before. So whoever writes it last, and looks once more, leaves it true.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from diskimage_create import record

INDEX = "index.json"
SCHEMA = 1
_SUM = re.compile(r"([0-9a-f]{64})  (\S.*)\n?")
#: Beside an image X: ``X.json``, ``X.spdx.json``, ``X.sha256``, ``X.json.minisig``, ...
_BESIDE = (".json", ".jsonl", ".sha256", ".minisig", ".sig", ".asc")

Entry = dict[str, Any]


class Readable(Protocol):
    """A place whose small files can be read."""

    def read(self, name: str) -> bytes:
        """The content of a file.

        :raises FileNotFoundError: there is none
        """
        ...


def belongs(name: str, image: str) -> bool:
    """Whether a file lies beside an image and tells of it."""
    return name.startswith(f"{image}.") and name.endswith(_BESIDE)


def order(names: Iterable[str], image: str) -> list[str]:
    """The files of an image as they are written: the checksum last, without which nothing counts as there."""
    last = {image: 0, f"{image}.json": 2, f"{image}.sha256": 3}
    return sorted(names, key=lambda name: (last.get(name, 1), name))


def files_of(image: str, names: Iterable[str]) -> list[str]:
    """An image and what lies beside it, of these files, in that order."""
    return order([name for name in names if name == image or belongs(name, image)], image)


def entries(place: Readable, sizes: Mapping[str, int], before: Mapping[str, Entry]) -> dict[str, Entry]:
    """What lies there, by the image's name.

    :param sizes: of all files there
    :param before: what an index has said, which saves reading what has not changed
    """
    found = {}
    for name in sorted(sizes):
        if f"{name}.json" in sizes and f"{name}.sha256" in sizes:
            try:
                entry = _entry(place, name, sizes, before.get(name))
            except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
                continue  # it is no image of ours, or goes right now
            if entry:
                found[name] = entry
    return found


def _entry(place: Readable, name: str, sizes: Mapping[str, int], before: Entry | None) -> Entry | None:
    content = place.read(f"{name}.sha256")
    match = _SUM.fullmatch(content.decode())
    if not match or match[2] != name:
        return None
    names = files_of(name, sizes)
    if before and _says(before, match[1], {other: sizes[other] for other in names}):
        return before
    said_of = json.loads(place.read(f"{name}.json"))
    made = said_of["artifacts"][0]
    if (made["sha256"].removeprefix("sha256:"), made["bytes"]) != (match[1], sizes[name]):
        return None
    files = [{"name": name, "sha256": match[1], "bytes": sizes[name]}]
    files += [_file(place, other) for other in names[1:]]
    image = said_of["image"]
    known = {key: image.get(key) for key in ("profile", "arch", "os", "release")}
    said = {"type": made["type"], "sha256": match[1], "bytes": sizes[name], **known}
    return {
        "name": name,
        **said,
        "built": record.built(said_of),
        "fingerprint": said_of.get("fingerprint"),
        "files": files,
    }


def _says(entry: Entry, sha256: str, sizes: Mapping[str, int]) -> bool:
    """Whether an entry is of these files, as far as their sizes tell."""
    said = {file["name"]: file["bytes"] for file in entry["files"]}
    return bool(entry["sha256"] == sha256 and said == dict(sizes))


def _file(place: Readable, name: str) -> dict[str, Any]:
    content = place.read(name)
    return {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


@dataclass(frozen=True)
class Index:
    """What an index says."""

    images: Mapping[str, Entry] = field(default_factory=dict)
    retiring: tuple[str, ...] = ()
    """Images that are being removed: whoever comes next completes that"""

    def text(self) -> str:
        """Always the same for the same images."""
        images = [self.images[name] for name in sorted(self.images)]
        document = {"schema": SCHEMA, "images": images, "retiring": sorted(self.retiring)}
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def stored(place: Readable) -> Index:
    """What the index there says; nothing where there is none, or something else of that name."""
    try:
        document = json.loads(place.read(INDEX))
        if document["schema"] != SCHEMA:
            return Index()
        return Index({entry["name"]: entry for entry in document["images"]}, tuple(document["retiring"]))
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return Index()


def retired(found: Mapping[str, Entry], name: str, keep_last: int | None) -> list[str]:
    """The images that are too many beside one: of its profile, system, release, architecture and type, the oldest."""
    if keep_last is None:
        return []
    alike = [entry for entry in found.values() if _kind(entry) == _kind(found[name]) and entry["name"] != name]
    newest = sorted(alike, key=lambda entry: (entry["built"] or "", entry["name"]), reverse=True)
    return [entry["name"] for entry in newest[max(0, keep_last - 1) :]]


def _kind(entry: Entry) -> tuple[Any, ...]:
    return tuple(entry[key] for key in ("profile", "os", "release", "arch", "type"))
