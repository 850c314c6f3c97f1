"""Loop devices, mounts and exports are taken down whatever happens."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from diskimage_create import mounts
from diskimage_create.errors import CommandFailed

pytestmark = pytest.mark.loop

ImageMaker = Callable[..., Path]
ROOT_OFFSET = 2**20


def attached(image: Path) -> list[Path]:
    return [device for device, backing in mounts._loop_backing_files() if backing == str(image)]


def test_loop_device_shows_a_part_of_the_file(make_image: ImageMaker) -> None:
    image = make_image()
    with mounts.loop_device(image, offset=ROOT_OFFSET, size=2**20) as device:
        assert attached(image) == [device]
        assert device.read_bytes() == image.open("rb").read(2 * 2**20)[ROOT_OFFSET:]
    assert attached(image) == []


def test_loop_device_is_released_when_the_body_fails(make_image: ImageMaker) -> None:
    image = make_image()
    with pytest.raises(KeyboardInterrupt), mounts.loop_device(image):
        raise KeyboardInterrupt
    assert attached(image) == []


def test_mount_of_a_partition(make_image: ImageMaker, tmp_path: Path) -> None:
    image, target = make_image(), tmp_path / "mnt"
    target.mkdir()
    options = mounts.read_only_options("ext4", offset=ROOT_OFFSET)
    with mounts.mounted(image, target, fstype="ext4", options=options):
        assert (target / "etc/fstab").is_file()
    assert not mounts.is_mount_point(target)
    with pytest.raises(RuntimeError), mounts.mounted(image, target, fstype="ext4", options=options):
        raise RuntimeError
    assert not mounts.is_mount_point(target)
    assert attached(image) == []


def test_failed_mount_leaves_nothing(tmp_path: Path) -> None:
    image, target = tmp_path / "empty.raw", tmp_path / "mnt"
    image.write_bytes(bytes(2**20))
    target.mkdir()
    with pytest.raises(CommandFailed), mounts.mounted(image, target, options=("ro", "loop")):
        raise AssertionError("never reached")
    assert attached(image) == []


def test_error_of_the_body_wins_over_that_of_the_clean_up(make_image: ImageMaker, tmp_path: Path) -> None:
    image, target = make_image(), tmp_path / "mnt"
    target.mkdir()
    options = mounts.read_only_options("ext4", offset=ROOT_OFFSET)

    def fail_after_unmounting() -> None:
        with mounts.mounted(image, target, options=options):
            subprocess.run(["umount", target], check=True)
            raise RuntimeError("first")

    with pytest.raises(RuntimeError, match="first") as caught:
        fail_after_unmounting()
    assert "cleaning up failed" in caught.value.__notes__[0]


@pytest.mark.parametrize("part", [{}, {"offset": ROOT_OFFSET, "size": 4096 * 512}])
def test_export_shows_the_raw_disk(make_image: ImageMaker, tmp_path: Path, part: dict[str, int]) -> None:
    image = make_image("qcow2")
    with image.with_suffix(".raw").open("rb") as file:
        raw = file.read(4 * 2**20)
    start, size = part.get("offset", 0), part.get("size", 2**30)
    with mounts.exported(image, tmp_path / "odd, name", driver="qcow2", **part) as disk:
        assert disk.stat().st_size == size
        with disk.open("rb") as file:
            assert file.read(2**21) == raw[start : start + min(size, 2**21)]
    assert not mounts.is_mount_point(tmp_path / "odd, name")


def test_export_ends_when_the_body_fails(make_image: ImageMaker, tmp_path: Path) -> None:
    image = make_image("qcow2")
    with pytest.raises(RuntimeError), mounts.exported(image, tmp_path / "disk", driver="qcow2"):
        raise RuntimeError
    assert not mounts.is_mount_point(tmp_path / "disk")


def test_sweep_takes_down_all_below_a_directory(make_image: ImageMaker, tmp_path: Path) -> None:
    image = make_image()
    work = tmp_path / "work place"
    inner = work / "mnt" / "proc"
    (work / "mnt").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", work / "mnt"], check=True)
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True)
    (work / "disk.raw").write_bytes(bytes(2**20))
    subprocess.run(["losetup", "--find", work / "disk.raw"], check=True)
    (work / "disk.raw").unlink()
    with mounts.loop_device(image) as other:
        done = mounts.sweep(work)
        assert attached(image) == [other], "what is not below the directory stays"
    assert len(done) == 3
    assert done[0] == f"unmounted {inner}"
    assert "disk.raw" in done[2]
    assert mounts.sweep(work) == []


def test_sweep_says_when_an_unmount_was_lazy(tmp_path: Path) -> None:
    target = tmp_path / "mnt"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", target], check=True)
    with (target / "open").open("w"):
        [line] = mounts.sweep(tmp_path)
    assert "lazily" in line


def test_sweep_ends_an_export_whose_starter_was_killed(make_image: ImageMaker, tmp_path: Path) -> None:
    image, work = make_image("qcow2"), tmp_path / "work"
    (work / "root").mkdir(parents=True)
    export = mounts.exported(image, work / "disk", driver="qcow2")
    disk = export.__enter__()
    options = mounts.read_only_options("ext4", offset=ROOT_OFFSET)
    mounts.mounted(disk, work / "root", fstype="ext4", options=options).__enter__()
    done = mounts.sweep(work)
    assert sum("qemu-storage-daemon" in line for line in done) == 1
    assert not any(str(work) in point for point in mounts._mount_points())
    assert mounts._exporters(str(tmp_path)) == {}
