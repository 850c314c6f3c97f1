"""The index of a directory, worked out of files: any files."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contract import schema_errors
from diskimage_create.publish.directory import index

NAMES = ("a.qcow2", "b.qcow2", "b.qcow2.json", "c.raw")


class Files:
    """A place in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name]

    def sizes(self) -> dict[str, int]:
        return {name: len(content) for name, content in self.files.items()}


def complete(name: str, content: bytes, **image: Any) -> dict[str, bytes]:
    """An image with what has to lie beside it."""
    digest = hashlib.sha256(content).hexdigest()
    described = {"profile": "amphora", "arch": "amd64", "os": "debian", "release": "trixie", **image}
    made = {"type": "qcow2", "path": name, "sha256": digest, "bytes": len(content)}
    started = image.get("started", "2026-01-01T00:00:00+00:00")
    record = {"image": described, "artifacts": [made], "started": started, "fingerprint": "sha256:f"}
    return {
        name: content,
        f"{name}.json": json.dumps(record).encode(),
        f"{name}.sha256": f"{digest}  {name}\n".encode(),
    }


images = st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=9), max_size=4)


@given(images, st.data())
def test_it_names_what_is_complete(wanted: dict[str, bytes], data: st.DataObject) -> None:
    files = {name: text for image, content in wanted.items() for name, text in complete(image, content).items()}
    lost = data.draw(st.sets(st.sampled_from(sorted(files)))) if files else set()
    place = Files({name: text for name, text in files.items() if name not in lost})
    found = index.entries(place, place.sizes(), {})
    for name, entry in found.items():
        assert {name, f"{name}.json", f"{name}.sha256"} <= set(place.files)
        for file in entry["files"]:
            assert hashlib.sha256(place.files[file["name"]]).hexdigest() == file["sha256"]
    assert schema_errors(json.loads(index.Index(found).text()), "index") == []


@given(images)
def test_what_an_index_said_spares_reading_and_changes_nothing(wanted: dict[str, bytes]) -> None:
    files = {name: text for image, content in wanted.items() for name, text in complete(image, content).items()}
    place = Files(files)
    found = index.entries(place, place.sizes(), {})
    place.files["index.json"] = index.Index(found).text().encode()
    assert index.stored(place).images == found
    sums = Files({name: text for name, text in files.items() if name.endswith(".sha256")})
    assert index.entries(sums, place.sizes(), found) == found


@given(st.binary(max_size=60))
def test_any_other_file_of_that_name_says_nothing(content: bytes) -> None:
    assert index.stored(Files({"index.json": content})) == index.Index()
    for other in (b"{}", b"[]", b'{"schema": 2}', b'{"schema": 1, "images": 3}', b'{"schema": 1, "images": [3]}'):
        assert index.stored(Files({"index.json": other})) == index.Index()


@given(st.binary(max_size=60), st.sampled_from(["a.qcow2.json", "a.qcow2.sha256"]))
def test_anything_may_lie_there(content: bytes, name: str) -> None:
    place = Files({**complete("a.qcow2", b"x"), name: content})
    assert index.entries(place, place.sizes(), {}) == {}


def test_damage_is_seen() -> None:
    place = Files({**complete("a.qcow2", b"x"), "a.qcow2": b"xy"})
    assert index.entries(place, place.sizes(), {}) == {}


def test_the_oldest_of_a_kind_retire() -> None:
    files: dict[str, bytes] = {}
    for number in range(5):
        started = f"2026-01-0{9 - number}T00:00:00+00:00"
        files |= complete(f"v{number}", bytes(number), started=started)
    files |= complete("arm", b"", arch="arm64", started="2020-01-01T00:00:00+00:00")
    place = Files(files)
    found = index.entries(place, place.sizes(), {})
    assert index.retired(found, "v0", 3) == ["v3", "v4"]
    assert index.retired(found, "v4", 1) == ["v0", "v1", "v2", "v3"]  # it has just been published
    assert index.retired(found, "v0", None) == []
