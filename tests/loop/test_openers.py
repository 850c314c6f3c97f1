"""Every way to look into an image shows the same to every check."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import opening_images as images
import pytest

from diskimage_create import mounts
from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.model import Expectation, Report, Status
from diskimage_create.validate import How, opening, to_json, validate
from diskimage_create.validate.formats.disk import EFI_SYSTEM, Partition
from diskimage_create.validate.image import open_image
from diskimage_create.validate.opening import fat, fuse
from diskimage_create.validate.root import Entry, walk

pytestmark = pytest.mark.loop

ImageMaker = Callable[..., Path]
LABEL = "img-rootfs"


@pytest.fixture(params=["loop", "fuse"])
def backend(request: pytest.FixtureRequest) -> str:
    if lacking := opening.missing(request.param):
        pytest.skip(f"missing: {lacking}")
    return str(request.param)


def results(report: Report) -> dict[str, Status]:
    return {finding.id: finding.status for finding in report.findings if finding.id != "image-access"}


def without_sizes_of_directories(entries: tuple[Entry, ...]) -> list[Entry]:
    return sorted(entry._replace(size=0) if stat.S_ISDIR(entry.mode) else entry for entry in entries)


def odd_names(tree: Path) -> None:
    """Files that a listing could mistake: names that are no text, owners and links of all kinds."""
    odd = os.fsencode(tree) + b"/odd"
    os.mkdir(odd)
    for name in (b"new\nline", b"\xff\xfe", b"quo\"te'", b"blank ", b"\\134", b"carriage\r\nreturn", b"-n", b"\x1b[2J"):
        os.makedirs(odd + b"/" + name)
        Path(os.fsdecode(odd + b"/" + name + b"/file")).write_text("x")
    owned = tree / "odd/owned"
    owned.write_text("four")
    os.chown(owned, 70_000, 80_000)
    owned.chmod(0o4755)
    os.link(owned, tree / "odd/second")
    os.mkfifo(tree / "odd/pipe")
    (tree / "odd/link").symlink_to("/etc")
    for number in range(700):  # more than one block of a directory
        (tree / f"odd/a-rather-long-name-of-an-empty-file-{number}").touch()


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vhd", "tar", "tgz", "squashfs"])
def test_every_check_says_the_same(make_image: ImageMaker, expectation: Expectation, backend: str, kind: str) -> None:
    if backend == "fuse" and kind == "squashfs" and (lacking := images.missing("squashfuse")):
        pytest.skip(lacking)
    image = make_image(kind)
    report = validate(image, expectation, How(backend=backend))
    assert report.ok
    assert results(report) == results(validate(image, expectation))


def test_listing_is_that_of_a_walk(tree: Path, make_image: ImageMaker, backend: str, tmp_path: Path) -> None:
    odd_names(tree)
    image = make_image()
    for way in ("loop", backend):
        (tmp_path / way).mkdir(exist_ok=True)
    with open_image(image, workspace=tmp_path / "loop", backend="loop") as view:
        walked = without_sizes_of_directories(tuple(walk(view.root.path)))
        inodes = {entry.name: entry.inode for entry in walked}
        if backend == "loop":
            assert without_sizes_of_directories(view.root.entries) == walked
            assert inodes["/odd/owned"] == inodes["/odd/second"]
    if backend != "loop":
        with open_image(image, workspace=tmp_path / backend, backend=backend) as view:
            assert without_sizes_of_directories(view.root.entries) == walked


@pytest.mark.parametrize("table", ["dos", "gpt"])
def test_boot_and_efi_partitions_are_where_fstab_has_them(
    tree: Path, expectation: Expectation, tmp_path: Path, backend: str, table: str
) -> None:
    if lacking := images.missing("mkfs.vfat", "mcopy"):
        pytest.skip(lacking)
    for name in ("boot", "boot/efi"):
        (tree / name).mkdir(exist_ok=True)
    boot, efi = tmp_path / "boot-tree", tmp_path / "efi-tree"
    (efi / "EFI/BOOT").mkdir(parents=True)
    (efi / "EFI/BOOT/BOOTX64.EFI").write_bytes(b"MZ")
    with (tree / "etc/fstab").open("a") as file:
        file.write("LABEL=boot /boot ext4 defaults 0 2\nLABEL=ESP /boot/efi vfat defaults 0 2\n")
    (tree / "boot").rename(boot)
    (tree / "boot").mkdir()
    (tree / "boot/hidden").touch()
    kinds = {"dos": ("ef", "83", "83, bootable"), "gpt": ("U", "L", "L")}[table]
    parts = [
        images.file_system("vfat", tmp_path / "efi.fat", efi, "ESP", mib=34),
        images.file_system("ext4", tmp_path / "boot.ext4", boot, "boot", mib=128),
        images.file_system("ext4", tmp_path / "root.ext4", tree, LABEL, mib=64),
    ]
    image = images.partitioned(tmp_path / "image.raw", table, list(zip(kinds, parts, strict=True)))
    workspace = tmp_path / "work"
    workspace.mkdir()
    with open_image(image, workspace=workspace, backend=backend) as view:
        assert view.disk.root is not None
        assert view.disk.root.number == 3  # the smaller one
        assert view.root.is_file("/boot/grub/grub.cfg")
        assert view.root.read_bytes("/boot/efi/EFI/BOOT/BOOTX64.EFI") == b"MZ"
        assert not view.root.exists("/boot/hidden")
        assert view.root.read_text("/boot/efi/../../etc/fstab") == (tree / "etc/fstab").read_text()
        names = [entry.name for entry in view.root.entries]
        assert {"/boot/grub/grub.cfg", "/boot/efi/EFI/BOOT/BOOTX64.EFI"} <= set(names)
        assert "/boot/hidden" not in names
        assert len(names) == len(set(names))
        assert sorted(view.root.files_below("/boot/efi")) == ["/boot/efi/EFI/BOOT/BOOTX64.EFI"]
        assert sorted(set(view.root.files_below("/boot"))) == sorted(view.root.files_below("/boot"))
    found = results(validate(image, replace(expectation, size_gib=None), How(backend=backend)))
    for check in ("kernel", "initrd", "fstab", "os-release", "filesystem-clean"):
        assert found[check] is Status.PASS


def test_efi_partition_that_claims_too_much(tmp_path: Path) -> None:
    """One content under many names fills the disk of whoever copies it."""
    if lacking := images.missing("mkfs.vfat", "mcopy"):
        pytest.skip(lacking)
    files = tmp_path / "files"
    files.mkdir()
    (files / "LARGE.EFI").write_bytes(b"MZ" + bytes(2**20))
    image = images.file_system("vfat", tmp_path / "efi.fat", files, "ESP", mib=34)
    whole = Partition(number=1, start=0, size=34 * images.MIB, type=EFI_SYSTEM, bootable=False)
    (tmp_path / "copy").mkdir()
    assert fat.copied(image, whole, tmp_path / "copy").listing() == [
        Entry("/LARGE.EFI", 0o100755, 0, 0, 2**20 + 2, 1, ANY)
    ]
    content = image.read_bytes()
    entry = content.index(b"LARGE   EFI")
    with image.open("r+b") as file:
        for number in range(40):  # the directory has room for 512, of 32 bytes each
            file.seek(entry + 32 * number)
            file.write(b"F%07dEFI" % number + content[entry + 11 : entry + 32])
    (tmp_path / "again").mkdir()
    with pytest.raises(CommandFailed, match="larger than the partition"):
        fat.copied(image, whole, tmp_path / "again")
    assert list((tmp_path / "again").iterdir()) == []


def test_secrets_in_further_partitions(tree: Path, expectation: Expectation, tmp_path: Path, backend: str) -> None:
    boot = tmp_path / "boot-tree"
    (tree / "boot").rename(boot)
    (tree / "boot").mkdir()
    (boot / "note").write_text("the canary-5c1b\n")
    with (tree / "etc/fstab").open("a") as file:
        file.write("PARTUUID=00000001-02 /boot ext4 defaults 0 2\n")
    parts = [
        images.file_system("ext4", tmp_path / "root.ext4", tree, LABEL, mib=64),
        images.file_system("ext4", tmp_path / "boot.ext4", boot, "boot", mib=64),
    ]
    image = images.partitioned(tmp_path / "image.raw", "dos\nlabel-id: 0x00000001", [("83", part) for part in parts])
    wanted = replace(expectation, secrets={"canary": "canary-5c1b"})
    report = validate(image, wanted, How(deep=True, backend=backend))
    assert [f.message for f in report.findings if f.id == "secrets"] == ["canary is in /boot/note"]


def test_damaged_boot_partition(tree: Path, expectation: Expectation, tmp_path: Path, backend: str) -> None:
    boot = tmp_path / "boot-tree"
    (tree / "boot").rename(boot)
    (tree / "boot").mkdir()
    with (tree / "etc/fstab").open("a") as file:
        file.write("LABEL=boot /boot ext4 defaults 0 2\n")
    root = images.file_system("ext4", tmp_path / "root.ext4", tree, LABEL, mib=64)
    second = images.file_system("ext4", tmp_path / "boot.ext4", boot, "boot", mib=64)
    with second.open("r+b") as file:  # the descriptors of its groups
        file.seek(1024 + 4)
        file.write(b"\xff" * 4)
    image = images.partitioned(tmp_path / "image.raw", "dos", [("83, bootable", root), ("83", second)])
    report = validate(image, expectation, How(backend=backend))
    message = next(finding.message for finding in report.findings if finding.id == "filesystem-clean")
    assert message.startswith("it cannot be mounted: what is to be mounted at /boot: ")


@pytest.mark.parametrize(("kind", "subvolume"), [("xfs", ""), ("btrfs", ""), ("btrfs", "@"), ("btrfs", "root")])
def test_other_file_systems(tree: Path, expectation: Expectation, tmp_path: Path, kind: str, subvolume: str) -> None:
    if lacking := images.missing(f"mkfs.{kind}"):
        pytest.skip(lacking)
    (tree / "etc/fstab").write_text(f"LABEL={LABEL} / {kind} defaults 0 1\n")
    part = images.file_system(kind, tmp_path / "root.part", tree, LABEL, mib=320, subvolume=subvolume)
    image = images.partitioned(tmp_path / "image.raw", "dos", [("83, bootable", part)])
    before = image.read_bytes()
    report = validate(image, replace(expectation, size_gib=None), How(backend="loop"))
    found = results(report)
    for check in ("fstab", "haproxy", "os-release", "free-space", "packages"):
        assert found[check] is Status.PASS, check
    assert image.read_bytes() == before
    with pytest.raises(HostError, match=kind):
        validate(image, expectation, How(backend="fuse"))


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "squashfs"])
def test_damaged_file_systems_are_findings(
    tree: Path, make_image: ImageMaker, expectation: Expectation, tmp_path: Path, backend: str, kind: str
) -> None:
    if lacking := images.missing({"squashfs": "squashfuse"}.get(kind, f"mkfs.{kind}")):
        pytest.skip(lacking)
    if backend == "fuse" and kind in ("xfs", "btrfs"):
        pytest.skip("only the kernel and libguestfs read it")
    if kind == "squashfs":
        image = make_image(kind)
        size = image.stat().st_size
        holes = [(size // 2, size // 2 - 100)]
    else:
        part = images.file_system(kind, tmp_path / "root.part", tree, LABEL, mib=320)
        image = images.partitioned(tmp_path / "image.raw", "dos", [("83, bootable", part)])
        holes = [(2**20 + offset, 2**20) for offset in (2**17, 5 * 2**20, 20 * 2**20, 40 * 2**20, 160 * 2**20)]
        holes.append((2**20 + 4096, 60_000))
    with image.open("r+b") as file:
        for offset, length in holes:
            file.seek(offset)
            file.write(b"\xa5" * length)
    assert not validate(image, expectation, How(backend=backend)).ok


def guestfs_or_skip() -> None:
    if lacking := opening.missing("guestfs") or images.missing("guestfish"):
        pytest.skip(lacking)


def test_logical_volumes_by_libguestfs(tree: Path, expectation: Expectation, tmp_path: Path) -> None:
    guestfs_or_skip()
    (tree / "bin").symlink_to("usr/bin")
    try:
        image = images.volumes(tmp_path / "image.raw", tree, LABEL, mib=256)
    except AssertionError as error:
        pytest.skip(f"libguestfs does not work here: {error}")
    report = validate(image, replace(expectation, size_gib=None))
    assert next(f for f in report.findings if f.id == "image-access").status is Status.PASS
    found = results(report)
    for check in ("kernel", "haproxy", "os-release", "packages", "root-password"):
        assert found[check] is Status.PASS, check


# What runs as an ordinary user, who may not enter this process' directories.
_BY_USER = """
import json, sys
from pathlib import Path
from diskimage_create.validate import How, from_json, validate
wanted = from_json(json.loads(sys.argv[2]))
print(json.dumps(validate(Path(sys.argv[1]), wanted, How(backend=sys.argv[3])).as_json()))
"""
NOBODY = 65534


def command_of_nobody(*argv: str | Path) -> list[str | Path]:
    """A Python of an ordinary user who has no sudo."""
    program = shutil.which("python3", path="/usr/bin") or ""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not program or version not in subprocess.run([program, "-V"], capture_output=True, text=True).stdout:
        pytest.skip(f"no Python {version} that every user may start")
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", program, *argv]


def by_nobody(home: Path) -> dict[str, Any]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": path, "HOME": str(home), "TMPDIR": str(home)}
    return {"env": environment, "cwd": "/", "text": True}


def as_nobody(*argv: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command_of_nobody(*argv), **by_nobody(home), capture_output=True, check=False)


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of nobody's, which nobody else's directories hide."""
    if lacking := opening.missing("fuse") or images.missing("setpriv"):
        pytest.skip(lacking)
    place = Path(tempfile.mkdtemp(dir="/tmp", prefix="by-nobody-"))  # not below pytest's, which is root's alone
    os.chown(place, NOBODY, NOBODY)
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("kind", ["raw", "qcow2", "tgz", "squashfs"])
def test_an_ordinary_user_without_sudo(
    tree: Path, make_image: ImageMaker, expectation: Expectation, home: Path, kind: str
) -> None:
    if kind == "squashfs" and (lacking := images.missing("squashfuse")):
        pytest.skip(lacking)
    os.chown(tree / "var/lib/dpkg", 5, 5)
    (tree / "etc/shadow").chmod(0)  # as of the redhat family
    (tree / "srv").mkdir(mode=0o500)
    (tree / "srv/file").touch()
    image = home / "image"
    images.run("cp", "--sparse=always", make_image(kind), image)
    image.chmod(0o444)
    done = as_nobody("-c", _BY_USER, image, json.dumps(to_json(expectation)), "auto", home=home)
    assert done.returncode == 0, done.stderr
    by_user = {finding["id"]: finding["status"] for finding in json.loads(done.stdout)["checks"]}
    by_root = {name: str(status.value) for name, status in results(validate(image, expectation)).items()}
    assert {name: status for name, status in by_user.items() if name != "image-access"} == by_root
    assert [entry.name for entry in home.iterdir()] == ["image"]


def left_of(home: Path) -> list[str]:
    """Mounts and daemons that belong to files below a directory."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found = [mount for mount in mounts if mount.startswith(str(home))]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if Path(os.fsdecode(command[0])).name in ("fuse2fs", "qemu-storage-daemon") and str(home) in str(command):
            found.append(str(command))
    return found


# Stops in the middle of the checks, until it is killed.
_WAITING = """
import sys, time
from pathlib import Path
from diskimage_create import cli
from diskimage_create.validate.image import open_image
from diskimage_create.workspace import workspace
cli.stop_on_signals()
with workspace() as work, open_image(Path(sys.argv[1]), workspace=work.tmp, backend="fuse") as view:
    view.root.read_text("/etc/fstab")
    print("opened", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_command_leaves_no_mount(
    make_image: ImageMaker, expectation: Expectation, home: Path, signum: signal.Signals
) -> None:
    image = home / "image"
    shutil.copy(make_image("qcow2"), image)
    image.chmod(0o444)
    with subprocess.Popen(command_of_nobody("-c", _WAITING, image), **by_nobody(home), stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "opened"
        assert len(left_of(home)) == 4
        child.send_signal(signum)
        child.wait(60)
    if signum is signal.SIGKILL:  # the next command of this user cleans up
        again = as_nobody("-c", _BY_USER, image, json.dumps(to_json(expectation)), "fuse", home=home)
        assert again.returncode == 0, again.stderr
    assert left_of(home) == []
    assert [entry.name for entry in home.iterdir()] == ["image"]


def test_a_reader_that_hangs_is_ended(
    make_image: ImageMaker, expectation: Expectation, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """Stopped, as one that a damaged file system leads in circles: the checks get an error and go on."""
    if backend == "loop":
        pytest.skip("the kernel is no program that could hang")
    monkeypatch.setattr(fuse, "DEADLINE_SECONDS", 1.0)
    image = make_image()
    with tempfile.TemporaryDirectory() as place, open_image(image, workspace=Path(place), backend=backend) as view:
        pid = next(pid for pid, name in mounts._exporters(place + "/").items() if name == "fuse2fs")
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(OSError, match=r"not connected|abort"):
            view.root.read_bytes("/var/lib/dpkg/status")
