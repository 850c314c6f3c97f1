"""What SOURCE_DATE_EPOCH does to a plan, and what hooks of the element ``reproducible`` do to a target."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import hooks
import pytest
import yaml
from hooks import plain_sudo
from hypothesis import given
from hypothesis import strategies as st
from samples import plan, read

from diskimage_create.errors import InputError
from diskimage_create.model import Source
from diskimage_create.reproducible import LAST_EPOCH, is_epoch, with_fixed_uuids

EPOCH = "SOURCE_DATE_EPOCH"
DEBIAN = {"os": "debian"}
TREE: list[dict[str, Any]] = [
    {"local_loop": {"name": "image0"}},
    {
        "partitioning": {
            "base": "image0",
            "label": "gpt",
            "partitions": [
                {"name": "ESP", "mkfs": {"type": "vfat", "mount": {"mount_point": "/boot/efi"}}},
                {"name": "root", "mkfs": {"type": "ext4"}},
                {"name": "var", "mkfs": {"type": "xfs", "uuid": "mine"}},
            ],
        }
    },
    {"mkfs": {"name": "mkfs_home", "base": "home", "type": "ext4"}},
    {"mkfs": {"name": "mkfs_srv", "base": "srv", "type": "ext4"}},
]


def root_uuid(options: dict[str, Any], environ: dict[str, str]) -> str | None:
    layout = yaml.safe_load(plan({**DEBIAN, **options}, environ).environment["DIB_BLOCK_DEVICE_CONFIG"].value)
    return layout[1]["partitioning"]["partitions"][0]["mkfs"].get("uuid")


@given(st.integers(0, LAST_EPOCH))
def test_every_second_that_32_bits_hold_is_a_time(seconds: int) -> None:
    assert is_epoch(str(seconds))


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e9", "007", " 1", "1\n", "0x10", "yesterday", "٣", "4294967296"])
def test_anything_else_is_bad_input(text: str) -> None:
    for environ, options in (({EPOCH: text}, {}), ({}, {"env": (f"{EPOCH}={text}",)})):
        with pytest.raises(InputError) as caught:
            read(options, environ)
        (problem,) = caught.value.problems
        assert (problem.where, "seconds since 1970" in str(problem.hint)) == (EPOCH, True)


def test_it_is_an_input_that_the_plan_shows() -> None:
    made = plan(DEBIAN, {EPOCH: "1700000000"})
    assert made.inputs["root"][f"environment:{EPOCH}"] == "1700000000"
    assert made.environment[EPOCH].source is Source.ENVIRONMENT
    assert made.fingerprint not in (plan(DEBIAN).fingerprint, plan(DEBIAN, {EPOCH: "1700000001"}).fingerprint)
    assert plan({**DEBIAN, "env": (f"{EPOCH}=5",)}, {EPOCH: "1700000000"}).environment[EPOCH].value == "5"
    assert EPOCH not in plan(DEBIAN).environment


def test_without_it_no_uuid_is_fixed() -> None:
    assert root_uuid({}, {}) is None


def test_the_root_file_system_has_a_uuid_of_its_image() -> None:
    images: list[tuple[dict[str, Any], str]] = [
        ({}, "1"),
        ({}, "2"),
        ({"release": "bookworm"}, "1"),
        ({"size": "9"}, "1"),
        ({"package": ("strace",)}, "1"),
    ]
    found = [root_uuid(options, {EPOCH: epoch}) for options, epoch in images]
    assert len(set(found)) == len(found)
    assert found == [root_uuid({**options, "output": "/tmp/other"}, {EPOCH: epoch}) for options, epoch in images]
    assert all(str(uuid.UUID(str(each))) == each for each in found)


def test_every_file_system_of_a_layout_has_its_own_uuid() -> None:
    made = with_fixed_uuids(TREE, read(DEBIAN, {EPOCH: "1"}))
    partitions = {each["name"]: each["mkfs"] for each in made[1]["partitioning"]["partitions"]}
    assert "uuid" not in partitions["ESP"]
    assert partitions["var"]["uuid"] == "mine"
    uuids = [partitions["root"]["uuid"], made[2]["mkfs"]["uuid"], made[3]["mkfs"]["uuid"]]
    assert len(set(uuids)) == 3
    assert with_fixed_uuids(TREE, read(DEBIAN)) == TREE


def test_a_layout_of_the_user_keeps_the_uuid_that_it_names() -> None:
    mine = "0c5f9c4e-0a5e-4a5a-8a52-6b1c3f6d7e88"
    layout = yaml.safe_dump([{"local_loop": {"name": "d", "mkfs": {"name": "mkfs_root", "uuid": mine}}}])
    made = plan(DEBIAN, {EPOCH: "1", "DIB_BLOCK_DEVICE_CONFIG": layout})
    assert mine in made.environment["DIB_BLOCK_DEVICE_CONFIG"].value


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A directory that stands for the target, beside a sudo that just runs its command."""
    plain_sudo(tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    return target


def run_hook(hook: str, target: Path, **variables: str) -> None:
    places = {"TARGET_ROOT": target, "TMP_BUILD_DIR": target.parent, "TMPDIR": target.parent}
    said = {**variables, **{name: str(place) for name, place in places.items()}}
    hooks.run_hook(f"reproducible/{hook}", target.parent / "bin", **said)


@pytest.mark.subprocess("runs a hook")
def test_manifests_say_nothing_of_how_the_build_was_watched(target: Path) -> None:
    manifests = target / "etc/dib-manifests"
    manifests.mkdir(parents=True)
    arguments = "-a amd64 -o amphora -t raw --image-size 5 {}base vm my-o element"
    (manifests / "dib_arguments").write_text(arguments.format("--no-tmpfs -x -x ") + "\n")
    kept = 'declare -x DIB_OTHER="-o keep --no-tmpfs -x this"\n'
    lines = 'declare -x DIB_DEBUG_TRACE="1"\ndeclare -x DIB_NO_TMPFS="1"\n' + kept
    said = arguments.format("--no-tmpfs -x ")
    (manifests / "dib_environment").write_text(f'declare -x DIB_ARGS="{said}"\n{lines}')
    for _ in range(2):
        run_hook("cleanup.d/13-neutral-manifests", target)
    assert {path.name: path.read_text() for path in manifests.iterdir()} == {
        "dib_arguments": arguments.format("") + "\n",
        "dib_environment": f'declare -x DIB_ARGS="{arguments.format("")}"\n{kept}',
    }


@pytest.mark.subprocess("runs a hook")
@pytest.mark.parametrize(("epoch", "day"), [("1700000000", 19675), ("4000000000", 46296), ("", 20778)])
def test_passwords_are_as_old_as_the_epoch(target: Path, epoch: str, day: int) -> None:
    shadow, cache = target / "etc/shadow", target / "var/cache/ldconfig/aux-cache"
    start = target / "var/lib/reproducible-start"
    for path in (shadow, cache, *([start] if epoch else [])):
        path.parent.mkdir(parents=True)
        path.touch()
    if epoch:
        os.utime(start, (20778 * 86400 + 5, 20778 * 86400 + 5))
    text = "root:*:{}:0:99999:7:::\nold:!*:19900::::::\nmust-change:x:0:0:99999:7:::\nageless:x::::::\n"
    shadow.write_text(text.format("20778"))
    shadow.chmod(0o640)
    run_hook("cleanup.d/90-remove-traces", target, SOURCE_DATE_EPOCH=epoch)
    assert shadow.read_text() == text.format(day)
    assert shadow.stat().st_mode & 0o777 == 0o640
    assert not cache.exists()


@pytest.mark.subprocess("runs hooks")
@pytest.mark.parametrize("epoch", ["1700000000", ""])
def test_what_the_build_wrote_has_the_time_of_the_epoch(target: Path, epoch: str) -> None:
    package = target / "usr/package's file"
    for path in (package.parent, target / "var/lib"):
        path.mkdir(parents=True)
    package.touch()
    later = 1_790_000_000
    os.utime(package, (later, later))
    run_hook("root.d/00-note-start", target, SOURCE_DATE_EPOCH=epoch)
    run_hook("root.d/99-keep-start", target, SOURCE_DATE_EPOCH=epoch)
    before = os.stat(target).st_mtime
    start = target / "var/lib/reproducible-start"
    assert start.exists() is bool(epoch)
    if epoch:
        os.utime(start, (later, later))
        os.utime(target.parent / "reproducible-start", (later, later))
    written = target / "written\nby the build"
    written.touch()
    (target / "link").symlink_to(package)
    for path in (written, target / "link"):
        os.utime(path, (later + 1, later + 1), follow_symlinks=False)
    run_hook("cleanup.d/99-set-times", target, SOURCE_DATE_EPOCH=epoch)
    assert not start.exists()
    assert package.stat().st_mtime == later
    expected = float(epoch or later + 1)
    assert (written.stat().st_mtime, (target / "link").lstat().st_mtime) == (expected, expected)
    assert not epoch or before != target.stat().st_mtime == expected
