"""Every type of output is made of a real raw image, and is found as good as that one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from diskimage_create.convert import convert
from diskimage_create.host import HostFacts
from diskimage_create.model import DISK_TYPES, Expectation, ImageSpec, Status
from diskimage_create.validate import validate
from diskimage_create.validate.image import open_image

ImageMaker = Callable[..., Path]
HOST = HostFacts(arch="amd64", distribution="", codename="", device_mapper=False, vfat=False, memory_bytes=2**34)


@pytest.fixture
def spec(tmp_path: Path) -> ImageSpec:
    from diskimage_create.config import read
    from diskimage_create.request import Request

    return read(Request({"output": str(tmp_path / "made")}, {}, {}, HOST))


def make(raw: Path, image_type: str, spec: ImageSpec, workspace: Path) -> Path:
    target = spec.path_of(image_type)
    workspace.mkdir()
    with open_image(raw, workspace=workspace) as view:
        convert(raw, image_type, target, spec, view.root.path)
    return target


@pytest.mark.parametrize("image_type", sorted({*DISK_TYPES} - {"docker"}))
def test_a_good_image_is_good_in_every_type(
    make_image: ImageMaker, expectation: Expectation, spec: ImageSpec, tmp_path: Path, image_type: str
) -> None:
    made = make(make_image("raw"), image_type, spec, tmp_path / "work")
    report = validate(made, expectation)
    bad = [f"{finding.id}: {finding.message}" for finding in report.findings if finding.status is Status.FAIL]
    assert bad == []
    assert {finding.status for finding in report.findings if finding.id == "haproxy"} == {Status.PASS}


@pytest.mark.parametrize(
    ("choice", "compression"),
    [({}, "zstd"), ({"compat_compression": True}, "zlib"), ({"compressed": False}, "zlib")],
)
def test_the_compression_of_a_qcow2(
    make_image: ImageMaker, spec: ImageSpec, tmp_path: Path, choice: dict[str, bool], compression: str
) -> None:
    made = make(make_image("raw"), "qcow2", replace(spec, **choice), tmp_path / "work")
    printed = subprocess.run(["qemu-img", "info", made], capture_output=True, text=True, check=True).stdout
    assert f"compression type: {compression}" in printed


def test_a_tar_keeps_capabilities_and_leaves_the_kernels_files_out(
    make_image: ImageMaker, tree: Path, spec: ImageSpec, tmp_path: Path
) -> None:
    (tree / "usr/bin/ping").write_bytes(b"x")
    for name in ("proc", "sys", "lost+found"):
        (tree / name).mkdir(exist_ok=True)
    capability = b"\x01\x00\x00\x02\x00 \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    os.setxattr(tree / "usr/bin/ping", "security.capability", capability)
    made = make(make_image("raw"), "tar", spec, tmp_path / "work")
    listed = subprocess.run(["tar", "--list", "--file", made], capture_output=True, text=True, check=True).stdout
    assert "./lost+found/" not in listed.splitlines()
    assert {"./proc/", "./sys/"} <= set(listed.splitlines())
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    command = ["tar", "-xf", made, "-C", unpacked, "--xattrs", "--xattrs-include=*", "./usr/bin/ping"]
    subprocess.run(command, check=True)
    assert os.getxattr(unpacked / "usr/bin/ping", "security.capability") == capability


def test_autoclear_lets_a_loop_device_go_with_its_last_user(make_image: ImageMaker) -> None:
    raw = make_image("raw")
    attach = ["losetup", "--find", "--show", "--offset", str(2**20), str(raw)]
    device = subprocess.run(attach, capture_output=True, text=True, check=True).stdout.strip()
    mark = [sys.executable, "-m", "diskimage_create.autoclear"]
    backing = Path("/sys/block", Path(device).name, "loop/backing_file")
    with open(device, "rb"):
        subprocess.run([*mark, "on", device], check=True)
        subprocess.run([*mark, "off", device], check=True)
    assert backing.exists()
    with open(device, "rb"):
        subprocess.run([*mark, "on", device], check=True)
        assert backing.exists()
    subprocess.run(["udevadm", "settle"], check=False, capture_output=True)
    assert not backing.exists()
