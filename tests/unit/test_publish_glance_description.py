"""What Glance is told of an image, and who uploads it: no Glance is asked."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create.publish.glance import describe, parse, publisher
from diskimage_create.publish.model import Glance
from diskimage_create.publish.source import Source

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def source(image_type: str = "qcow2", record: dict[str, Any] | None = None, **image: Any) -> Source:
    described = {"profile": "amphora", "arch": "amd64", "os": "debian", "release": "trixie", "size_gib": 5, **image}
    made = {"image": described, "fingerprint": "sha256:f", "environment": {}, **(record or {})}
    return Source(Path(f"amphora.{image_type}"), made, image_type, 64 * "a", 1)


@pytest.mark.parametrize(
    ("arch", "expected"),
    [("amd64", "x86_64"), ("arm64", "aarch64"), ("aarch64", "aarch64"), ("i386", "i686"), ("ppc64le", "ppc64le")],
)
def test_architectures(arch: str, expected: str) -> None:
    assert describe.attributes(source(arch=arch), Glance())["hw_architecture"] == expected


@pytest.mark.parametrize(
    ("release", "expected"),
    [("trixie", "13"), ("noble", "24.04"), ("10-stream", "10"), ("10", "10"), ("42", "42")],
)
def test_versions(release: str, expected: str) -> None:
    assert describe.attributes(source(release=release), Glance())["os_version"] == expected


@pytest.mark.parametrize(
    ("arch", "record", "expected"),
    [
        ("amd64", {}, "bios"),
        ("amd64", {"elements": ["block-device-mbr"]}, "bios"),
        ("amd64", {"expectation": {"elements": ["block-device-efi"]}}, "uefi"),
        ("amd64", {"environment": {"DIB_BLOCK_DEVICE_CONFIG": "- {name: ESP, type: 'EF00'}"}}, "uefi"),
        ("arm64", {}, "uefi"),
    ],
)
def test_firmware(arch: str, record: dict[str, Any], expected: str) -> None:
    assert describe.attributes(source(arch=arch, record=record), Glance())["hw_firmware_type"] == expected


def test_a_kernel_is_no_disk() -> None:
    said = describe.attributes(source("kernel"), Glance())
    assert (said["disk_format"], said["container_format"]) == ("aki", "aki")
    assert not {"hw_disk_bus", "hw_firmware_type", "min_disk"} & set(said)


def test_what_the_user_says_wins() -> None:
    properties = {"hw_disk_bus": "scsi", "min_disk": "20", "hw_scsi_model": "virtio-scsi"}
    said = describe.attributes(source(), Glance(properties=properties, visibility="public"))
    assert {**said, **properties, "min_disk": 20, "visibility": "public"} == said


@pytest.mark.parametrize(
    ("profile", "tags", "expected"),
    [
        ("amphora", (), ("amphora",)),
        ("base", (), ()),
        (None, (), ()),
        ("amphora", ("arm", "arm", "b"), ("arm", "b")),
        ("base", ("golden",), ("golden",)),
    ],
)
def test_tags(profile: str | None, tags: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert describe.tags(source(profile=profile), Glance(tags=tags)) == expected


def test_all_that_is_wrong_at_once() -> None:
    properties = {"name": "x", "min_ram": "much", "diskimage_create_sha256": "0", "p" * 256: "", "fine": "x"}
    found = describe.problems(source("tar"), Glance(properties=properties, tags=("a/b", "")))
    assert [problem.where for problem in found] == ["amphora.tar", *["--property"] * 4, "--tag", "--tag"]
    assert all(problem.hint for problem in found[:4])


@pytest.mark.parametrize("name", ["x" * 256, "a\nb", "/x", "in:x"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ValueError, match="name of an image"):
        parse(f"glance:{name}")


def test_this_process_lives() -> None:
    assert not publisher.is_gone(publisher.myself(), NOW - timedelta(days=9), NOW)


def test_a_process_that_ended() -> None:
    here, pid, started = publisher.myself().split(":")
    assert publisher.is_gone(f"{here}:{pid}:{int(started) - 1}", NOW, NOW)  # another one has its number now
    assert publisher.is_gone(f"{here}:{2**22 + 1}:{started}", NOW, NOW)  # more than there can be


@pytest.mark.parametrize("who", ["", "elsewhere:1:1", "x", "::"])
def test_nobody_knows(who: str) -> None:
    """What another machine does is given a day."""
    assert not publisher.is_gone(who, NOW - timedelta(hours=23), NOW)
    assert publisher.is_gone(who, NOW - timedelta(hours=25), NOW)


@given(st.integers(min_value=2, max_value=50))
def test_identifiers_are_uuids(count: int) -> None:
    made = [publisher.new_identifier() for _ in range(count)]
    assert len(set(made)) == count
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in made} == {(7, uuid.RFC_4122)}
    times = [uuid.UUID(each).int >> 80 for each in made]
    assert times == sorted(times)
