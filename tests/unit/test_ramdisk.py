"""A ramdisk is two files: a kernel and an initramfs. What they are told by, looked into, and checked for."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from samples import HOST, plan, read

from diskimage_create import requirements
from diskimage_create.convert import convert
from diskimage_create.errors import HostError
from diskimage_create.model import Expectation, Status
from diskimage_create.validate.checks.disk import image_intact
from diskimage_create.validate.checks.leftovers import build_dependencies
from diskimage_create.validate.checks.ramdisk import ramdisk
from diskimage_create.validate.checks.system import os_release
from diskimage_create.validate.image import open_image
from diskimage_create.validate.opening.kinds import image_kind
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.view import Damaged, ImageView, Unavailable

pytestmark = pytest.mark.subprocess("bsdtar unpacks, cp copies")
needs_bsdtar = pytest.mark.skipif(shutil.which("bsdtar") is None, reason="bsdtar (libarchive-tools) is not installed")
REGULAR, DIRECTORY, LINK = 0o100000, 0o040000, 0o120000
FILES: Mapping[str, tuple[int, bytes]] = {
    "etc": (DIRECTORY | 0o755, b""),
    "etc/os-release": (REGULAR | 0o644, b"ID=debian\nVERSION_CODENAME=bookworm\n"),
    "sbin": (DIRECTORY | 0o755, b""),
    "sbin/init": (REGULAR | 0o755, b"#!/bin/sh\n"),
    "init": (LINK | 0o777, b"./sbin/init"),
}


def cpio(files: Mapping[str, tuple[int, bytes]] = FILES) -> bytes:
    """An archive in the format newc: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst."""
    archive = b""
    for number, (name, (mode, content)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        fields = (number, mode, os.getuid(), os.getgid(), 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        archive += b"\0" * (-len(archive) % 4) + content
        archive += b"\0" * (-len(archive) % 4)
    return archive


def bz_image(*, setup_sectors: int = 4, paragraphs: int = 64, cut: int = 0) -> bytes:
    """What the header of a kernel for PCs says (Documentation/arch/x86/boot.rst), and as many bytes."""
    image = bytearray((setup_sectors + 1) * 512 + paragraphs * 16)
    image[0x1F1] = setup_sectors
    image[0x1F4:0x1F8] = paragraphs.to_bytes(4, "little")
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x202:0x206] = b"HdrS"
    return bytes(image[: len(image) - cut])


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def workspace(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (cpio(), "initramfs"),
        (gzip.compress(cpio()), "initramfs"),
        (lzma.compress(cpio()), "initramfs"),
        (lzma.compress(cpio(), format=lzma.FORMAT_ALONE), "initramfs"),
        (bz_image(), "kernel"),
        (b"MZ" + b"\0" * 54 + b"ARM\x64" + b"\0" * 2048, "kernel"),
        (b"\0" * 510 + b"\x55\xaa" + b"\0" * 2048, "raw"),
    ],
    ids=["cpio", "gzip", "xz", "lzma", "bzImage", "arm64", "a disk"],
)
def test_they_are_told_by_their_content(tmp_path: Path, content: bytes, kind: str) -> None:
    assert image_kind(written(tmp_path / "x", content)) == kind


def test_an_archive_of_tar_is_no_initramfs(tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(written(tmp_path / "init", b"x"))
    assert image_kind(path) == "tar"


@needs_bsdtar
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress], ids=["no", "gzip", "xz", "bzip2"])
def test_an_initramfs_is_looked_into_however_it_is_compressed(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    path = written(tmp_path / "x", pack(cpio()))
    with open_image(path, workspace=workspace(tmp_path)) as view:
        assert ramdisk(view, Expectation()).status is Status.PASS
        assert image_intact(view, Expectation()).status is Status.PASS
        assert os_release(view, Expectation(distribution="debian", release="bookworm")).status is Status.PASS
        with pytest.raises(Unavailable, match="has no disk"):
            assert view.disk


@needs_bsdtar
def test_of_devices_only_the_directory_is_unpacked(tmp_path: Path) -> None:
    """Nobody but root can make them."""
    file = (REGULAR | 0o644, b"x")
    for dot in ("", "./"):
        path = written(tmp_path / "x", gzip.compress(cpio({f"{dot}dev/null": file, f"{dot}usr/dev/null": file})))
        place = tmp_path / f"work{len(dot)}"
        place.mkdir()
        with open_image(path, workspace=place) as view:
            assert [name for name in ("/dev/null", "/usr/dev/null") if view.root.exists(name)] == ["/usr/dev/null"]


@needs_bsdtar
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, Status.PASS),
        ({"init": (REGULAR | 0o755, b"#!/bin/sh\n")}, Status.PASS),
        ({"init": (REGULAR | 0o644, b"#!/bin/sh\n")}, Status.FAIL),
        ({"init": (LINK | 0o777, b"/gone")}, Status.FAIL),
        ({"init": (LINK | 0o777, b"/bin/../../../../../../../../bin/sh")}, Status.FAIL),
    ],
    ids=["a link", "a file", "not executable", "dangling", "out of the tree"],
)
def test_the_kernel_finds_what_it_starts(tmp_path: Path, changes: dict[str, tuple[int, bytes]], status: Status) -> None:
    path = written(tmp_path / "x", gzip.compress(cpio({**FILES, **changes})))
    with open_image(path, workspace=workspace(tmp_path)) as view:
        assert ramdisk(view, Expectation()).status is status


@needs_bsdtar
@pytest.mark.parametrize("cut", [1, 40, 0.5])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_initramfs_that_is_cut_short_is_damaged(tmp_path: Path, pack: object, cut: float) -> None:
    assert callable(pack)
    whole = pack(cpio({**FILES, "large": (REGULAR | 0o644, os.urandom(5000))}))
    # Without its last member, zeros and "TRAILER!!!", a plain archive still says all that it held.
    path = written(tmp_path / "x", whole[: int(len(whole) * cut)] if cut < 1 else whole[: -int(cut) - 200])
    with pytest.raises(Damaged), open_image(path, workspace=workspace(tmp_path)):
        pass


@needs_bsdtar
def test_nothing_is_written_outside_of_the_tree(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    evil = {
        "link": (LINK | 0o777, str(outside).encode()),
        "link/through-a-link": (REGULAR | 0o644, b"x"),
        "../outside/upwards": (REGULAR | 0o644, b"x"),
        f"{outside}/absolute": (REGULAR | 0o644, b"x"),
    }
    path = written(tmp_path / "x", gzip.compress(cpio({**FILES, **evil})))
    try:
        with open_image(path, workspace=workspace(tmp_path)):
            pass
    except Damaged:
        pass
    assert [*outside.iterdir()] == []


@pytest.mark.parametrize(("cut", "problem"), [(0, None), (1, "1 bytes are missing"), (900, "900 bytes are missing")])
def test_a_kernel_is_as_long_as_it_says(tmp_path: Path, cut: int, problem: str | None) -> None:
    path = written(tmp_path / "x", bz_image(cut=cut))
    with open_image(path, workspace=workspace(tmp_path)) as view:
        outcome = ramdisk(view, Expectation())
        assert (outcome.status is Status.PASS) is (problem is None)
        assert problem is None or problem in outcome.message
        with pytest.raises(Unavailable, match="a kernel has no files"):
            assert view.root


def test_both_files_are_taken_from_where_the_build_left_them(tmp_path: Path) -> None:
    made = written(tmp_path / "ironic-python-agent.initramfs", b"the archive")
    written(tmp_path / "ironic-python-agent.kernel", b"the kernel")
    spec = read({"profile": "ironic-python-agent", "output": str(tmp_path / "x")})
    assert spec.built_type == "initramfs"
    assert read().built_type == "raw"
    for kind in spec.types:
        convert(made, kind, spec.path_of(kind), spec, None)
    assert (tmp_path / "x.initramfs").read_bytes() == b"the archive"
    assert (tmp_path / "x.kernel").read_bytes() == b"the kernel"


@pytest.mark.parametrize(("device_mapper", "refused"), [(False, True), (True, False)])
def test_logical_volumes_need_device_mapper(tmp_path: Path, device_mapper: bool, refused: bool) -> None:
    layout = "[{local_loop: {name: image0}}, {lvm: {name: lvm, base: [root]}}]"
    host = replace(HOST, device_mapper=device_mapper)
    made = plan({"profile": "base", "env": (f"DIB_BLOCK_DEVICE_CONFIG={layout}",)}, host=host)
    problems = ""
    try:
        requirements.require(made, host, tmp_path)
    except HostError as error:  # whatever else is missing where the tests run
        problems = error.message
    assert ("no logical volumes" in problems) is refused


@pytest.mark.parametrize(
    ("asked", "status"),
    [((), Status.FAIL), (("curl",), Status.FAIL), (("curl", "gcc"), Status.PASS), (("dkms",), Status.PASS)],
)
def test_a_compiler_that_belongs_to_the_image_brings_its_tools(
    tmp_path: Path, asked: tuple[str, ...], status: Status
) -> None:
    """Ironic's agent builds drivers; an amphora does not."""
    root = tmp_path / "root"
    (root / "var/lib/dpkg").mkdir(parents=True)
    packages = ("gcc-12", "cpp", "libc6-dev", "bash")
    text = "".join(f"Package: {name}\nStatus: install ok installed\nVersion: 1\n\n" for name in packages)
    (root / "var/lib/dpkg/status").write_text(text)
    view = ImageView(tmp_path, "initramfs", tmp_path, _root=ImageRoot(root))
    assert build_dependencies(view, Expectation(packages=asked)).status is status
