"""Published images are compared by the records that were published with them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from diskimage_create import cli
from publishing import file_image, record_beside, tar_image
from registry_servers import Server, registry

pytestmark = pytest.mark.xdist_group("published")

OLD, NEW = ("2.6.12-1", "2.6.12-1+deb12u1")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def image(path: Path, version: str, arch: str = "amd64") -> Path:
    """An image whose record names a package, and all else that records are compared in."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(f"{version} {arch}".encode())
    packages = [{"package": "haproxy", "version": version, "architecture": arch}]
    more: dict[str, Any] = {"packages": packages, "resolved_elements": [], "inputs": {}, "tools": {}}
    return record_beside(path, "qcow2", arch, **more)


def publish(server: Server, made: Path, *places: str) -> None:
    insecure = ["--insecure-registry", server.host] if server.host in places[0] else []
    assert cli.main(["publish", str(made), *places, *insecure]) == 0


def diff(server: Server, *arguments: str) -> int:
    return cli.main(["diff", *arguments, "--insecure-registry", server.host])


def test_what_an_upgrade_of_a_published_image_changes(
    stored: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = image(tmp_path / "old/x.qcow2", OLD), image(tmp_path / "new/x.qcow2", NEW)
    before, after = f"oci://{stored.host}/x:old", f"oci://{stored.host}/x:new"
    publish(stored, old, before)
    publish(stored, new, after)
    capsys.readouterr()
    assert diff(stored, before, after) == 1
    out = capsys.readouterr().out
    assert f"upgraded  haproxy:amd64: {OLD} -> {NEW}" in out
    assert out.rstrip().splitlines()[-1].startswith(f"{before}, {after}: ")
    assert diff(stored, before, f"{old}.json") == 0
    capsys.readouterr()
    assert diff(stored, before, f"{new}.json", "--format", "json") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["a"], said["b"]) == (before, f"{new}.json")


@pytest.mark.parametrize("name", ["x.qcow2", "x.qcow2.json"])
def test_what_lies_behind_a_url(name: str, stored: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = f"memory://{tmp_path}"
    try:
        publish(stored, image(tmp_path / "old/x.qcow2", OLD), f"{place}/")
        new = image(tmp_path / "new/x.qcow2", NEW)
        capsys.readouterr()
        assert diff(stored, f"{place}/{name}", f"{new}.json") == 1
        assert f"upgraded  haproxy:amd64: {OLD} -> {NEW}" in capsys.readouterr().out
    finally:
        MemoryFileSystem.store.clear()


def test_a_directory_by_its_url(stored: Server, tmp_path: Path) -> None:
    made = image(tmp_path / "a name/x.qcow2", OLD)
    assert diff(stored, f"file://{tmp_path}/a%20name/x.qcow2.json", f"{made}.json") == 0


def test_one_architecture_of_several_is_named_by_its_digest(
    stored: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"oci://{stored.host}/several:1"
    for arch in ("amd64", "arm64"):
        publish(stored, image(tmp_path / arch / "x.qcow2", OLD, arch), place)
    capsys.readouterr()
    record = str(tmp_path / "arm64/x.qcow2.json")
    assert diff(stored, place, record) == 2
    err = capsys.readouterr().err
    assert "several architectures" in err
    pinned = next(word for word in err.replace("hint: name one of ", "").split() if stored.host in word and "@" in word)
    with_arm64 = err.split(" (arm64)")[0].split()[-1]
    assert pinned != with_arm64
    assert diff(stored, with_arm64, record) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="root makes archives")
def test_a_container_image_has_no_record(stored: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = f"oci://{stored.host}/container:1"
    publish(stored, tar_image(tmp_path / "x.tar"), place)
    capsys.readouterr()
    assert diff(stored, place, place) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "it is a container image" in err


BAD = {
    "oci://{host}/none:1": (6, "has no such image"),
    "oci://127.0.0.1:1/x:1": (6, "cannot be reached"),
    "oci://name-only": (2, "names no registry"),
    "oci://{host}/X:1": (2, "not in lower case"),
    "foo://bucket/x.qcow2": (2, "foo:// is no place"),
    "memory://nowhere/x.qcow2": (6, "there is no such file"),
    "s3://user:very-secret@bucket/x.qcow2": (2, "a password has no place in a URL"),
    "file:///nowhere/x.qcow2": (2, "there is no such image or record"),
}


@pytest.mark.parametrize("place", BAD)
def test_what_cannot_be_fetched(place: str, stored: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, message = BAD[place]
    record = f"{file_image(tmp_path / 'x.qcow2', b'x')}.json"
    assert diff(stored, place.format(host=stored.host), record) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "very-secret" not in err
