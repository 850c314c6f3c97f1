"""Images compared through read-only mounts: equal ones are, and every change is named."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from contract import schema_errors
from diskimage_create import cli, process
from diskimage_create.diff import Aspect, Change, Difference, Kind, compare

pytestmark = pytest.mark.loop

ImageMaker = Callable[..., Path]
# cap_net_raw+ep, as the kernel keeps it (linux/capability.h: vfs_cap_data, version 2).
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
WANTS = "etc/systemd/system/multi-user.target.wants"
# mkfs and sfdisk make these up.
RANDOM = {"disk identifier", "partition 1 file system UUID"}


@pytest.fixture
def make(make_image: ImageMaker, tmp_path: Path) -> ImageMaker:
    """A function that makes the tree, as it is now, into an image of that name."""

    def named(name: str, kind: str = "raw", **how: object) -> Path:
        return make_image(kind, **how).rename(tmp_path / f"{name}.{kind}")

    return named


@pytest.fixture
def rich_tree(tree: Path) -> Path:
    """A tree with everything that a file can have."""
    os.mknod(tree / "etc/node", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    (tree / "dev").mkdir()
    os.mknod(tree / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mkfifo(tree / "etc/pipe")
    os.setxattr(tree / "usr/bin/true", "security.capability", CAPABILITY)
    os.chown(tree / "etc/shadow", 0, 42)
    (tree / "usr/bin/su").write_text("x")
    (tree / "usr/bin/su").chmod(0o4755)
    return tree


def named(found: Difference, group: str) -> dict[str, Change]:
    return {change.name: change for change in found.groups[group]}


def test_two_disks_of_one_tree_differ_in_what_is_random_only(rich_tree: Path, make: ImageMaker) -> None:
    a, b = make("a"), make("b", "qcow2")
    found = compare(a, b)
    assert {name for name, changes in found.groups.items() if changes} == {"boot_loader"}
    assert set(named(found, "boot_loader")) == RANDOM
    assert found.notes == ()
    ignored = compare(a, b, ignore=True)
    assert ignored.empty
    assert set(ignored.groups) == {"files", "packages", "services", "kernel_command_line", "boot_loader"}


@pytest.mark.parametrize("kind", ["tar", "tgz", "squashfs", "vhd"])
def test_the_type_of_an_image_makes_no_difference_to_its_files(rich_tree: Path, make: ImageMaker, kind: str) -> None:
    if kind == "squashfs" and "squashfs" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no squashfs")
    disk = make("a", "qcow2")
    other = disk.with_name(f"b.{kind}")
    if kind in ("tar", "tgz"):
        # As convert.py makes it: with extended attributes.
        command = ["tar", "-c", "--xattrs", "--xattrs-include=*", "-f", other, "-C", rich_tree, "."]
        process.run(command if kind == "tar" else [*command, "--gzip"])
    else:
        make("b", kind)
    found = compare(disk, other)
    assert found.groups["files"] == ()
    assert not found.groups["packages"] + found.groups["services"] + found.groups["kernel_command_line"]
    assert ("boot_loader" in found.groups) is (kind == "vhd")
    assert bool(found.notes) is (kind != "vhd")  # says that there is no disk


def content(tree: Path) -> None:
    (tree / "etc/fstab").write_text("# other\n")


def same_size(tree: Path) -> None:
    path = tree / "usr/sbin/haproxy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def mode(tree: Path) -> None:
    (tree / "usr/bin/su").chmod(0o755)


def owner(tree: Path) -> None:
    os.chown(tree / "etc/shadow", 0, 0)


def capability(tree: Path) -> None:
    os.removexattr(tree / "usr/bin/true", "security.capability")


def device(tree: Path) -> None:
    (tree / "etc/node").unlink()
    os.mknod(tree / "etc/node", stat.S_IFCHR | 0o600, os.makedev(1, 5))


def target(tree: Path) -> None:
    (tree / "etc/os-release").unlink()
    (tree / "etc/os-release").symlink_to("../usr/lib/os-release")


def kind_of_file(tree: Path) -> None:
    (tree / "etc/pipe").unlink()
    (tree / "etc/pipe").mkdir()
    (tree / "etc/pipe/x").touch()


FILES = [
    (content, {"/etc/fstab": Aspect("content", "49 bytes", "8 bytes")}),
    (same_size, {"/usr/sbin/haproxy": Aspect("content", "64 bytes", "64 bytes")}),
    (mode, {"/usr/bin/su": Aspect("mode", "4755", "0755")}),
    (owner, {"/etc/shadow": Aspect("owner", "0:42", "0:0")}),
    (capability, {"/usr/bin/true": Aspect("xattr security.capability", f"0x{CAPABILITY.hex()}", None)}),
    (device, {"/etc/node": Aspect("device", "1:3", "1:5")}),
    (target, {"/etc/os-release": Aspect("target", "/usr/lib/os-release", "../usr/lib/os-release")}),
    (kind_of_file, {"/etc/pipe": Aspect("type", "pipe", "directory"), "/etc/pipe/x": None}),
]


@pytest.mark.parametrize(("change", "expected"), FILES, ids=[change.__name__ for change, _ in FILES])
def test_a_changed_file_is_named_with_what_changed(
    rich_tree: Path, make: ImageMaker, change: Callable[[Path], None], expected: dict[str, Aspect | None]
) -> None:
    a = make("a")
    change(rich_tree)
    found = named(compare(a, make("b"), ignore=True), "files")
    assert found.keys() == expected.keys()
    for name, aspect in expected.items():
        assert aspect is None or found[name].aspects[0] == aspect


def test_packages_services_and_command_line(tree: Path, make: ImageMaker) -> None:
    a = make("a")
    status = tree / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace("haproxy\nStatus: install ok installed\nVersion: 1",
                                                 "haproxy\nStatus: install ok installed\nVersion: 2"))  # fmt: skip
    (tree / WANTS / "ssh.service").unlink()
    grub = tree / "boot/grub/grub.cfg"
    grub.write_text(grub.read_text().replace("console=ttyS0", "quiet"))
    found = compare(a, make("b", "qcow2"), ignore=True)
    assert found.groups["packages"] == (Change("haproxy:", Kind.UPGRADED, "1", "2"),)
    assert found.groups["services"] == (Change("ssh.service", Kind.CHANGED, "enabled", "disabled"),)
    (line,) = found.groups["kernel_command_line"]
    assert (line.old, line.new) == ("root=LABEL=img-rootfs ro console=ttyS0", "root=LABEL=img-rootfs ro quiet")
    assert set(named(found, "files")) == {f"/{WANTS}/ssh.service", "/boot/grub/grub.cfg", "/var/lib/dpkg/status"}


@pytest.mark.parametrize(
    ("offset", "name"),
    [(100, "boot code"), (60 * 512, "gap before the first partition"), (446, "partition 1 boot flag")],
)
def test_the_boot_loader(make: ImageMaker, offset: int, name: str) -> None:
    a = make("a")
    b = Path(shutil.copy(a, a.with_name("b.raw")))
    assert compare(a, b).empty
    with b.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" if name.endswith("flag") else b"!")
    found = compare(a, b, ignore=True)
    assert {name: set(named(found, name)) for name in found.groups if found.groups[name]} == {"boot_loader": {name}}


def test_another_partition_table(make: ImageMaker) -> None:
    found = compare(make("a"), make("b", table="gpt"), ignore=True)
    assert found.groups["files"] == ()
    changes = named(found, "boot_loader")
    assert (changes["partition table"].old, changes["partition table"].new) == ("dos", "gpt")
    assert changes["partition 2 layout"].kind is Kind.ADDED
    assert "partition 2 content" not in changes  # that is the root file system
    assert "partition 1 content" in changes


def efi_disk(path: Path, loader: str, directory: Path) -> Path:
    """A GPT disk with an EFI system partition and a small root."""
    path.write_bytes(b"")
    os.truncate(path, 96 * 2**20)
    script = "label: gpt\nstart=2048, size=32768, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\nstart=36864, type=L\n"
    process.run(["sfdisk", "--quiet", "--no-reread", path], input=script)
    process.run(["mkfs.ext4", "-q", "-F", "-d", directory, "-E", f"offset={36864 * 512}", path, "40000k"])
    fat = path.with_suffix(".fat")
    process.run(["mkfs.vfat", "-C", fat, "16384"])
    (path.parent / "BOOTX64.EFI").write_text(loader)
    process.run(["mmd", "-i", fat, "::EFI"])
    process.run(["mcopy", "-i", fat, path.parent / "BOOTX64.EFI", "::EFI/BOOTX64.EFI"])
    with path.open("r+b") as disk:
        disk.seek(2**20)
        disk.write(fat.read_bytes())
    return path


def test_an_efi_system_partition_is_compared_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing := [tool for tool in ("mkfs.vfat", "mcopy") if process.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    root = tmp_path / "small"
    (root / "etc").mkdir(parents=True)
    a, b, c = (
        efi_disk(tmp_path / f"{name}.raw", loader, root) for name, loader in (("a", "1"), ("b", "1"), ("c", "22"))
    )
    assert compare(a, b, ignore=True).empty  # although the file systems' serial numbers differ
    found = compare(a, c, ignore=True)
    assert found.groups["boot_loader"] == (
        Change(
            "partition 1:/EFI/BOOTX64.EFI", Kind.CHANGED, aspects=(Aspect("content", "1 bytes", "2 bytes"),)
        ),
    )  # fmt: skip
    which = process.shutil.which
    monkeypatch.setattr(process.shutil, "which", lambda name, path: None if name == "mcopy" else which(name, path=path))
    found = compare(a, c, ignore=True)
    assert set(named(found, "boot_loader")) == {"partition 1 content"}
    assert "mcopy is not installed" in found.notes[-1]


def test_of_an_image_and_a_record_the_packages_are_compared(tree: Path, make: ImageMaker, tmp_path: Path) -> None:
    names = ("cloud-init", "gcc-12-base", "haproxy")
    packages = [{"package": name, "version": "1", "architecture": ""} for name in names]
    record = {"schema": 1, "artifacts": [], "resolved_elements": [], "inputs": {}, "environment": {}, "tools": {}}
    path = tmp_path / "x.json"
    path.write_text(json.dumps({**record, "packages": packages}))
    found = compare(path, make("a"))
    assert found.groups == {"packages": (Change("keepalived:", Kind.ADDED, None, "1"),)}
    assert found.notes


def test_damaged_images_are_both_named(make: ImageMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = make("a", "qcow2")
    os.truncate(a, a.stat().st_size // 2)
    b = tmp_path / "b.tgz"
    make("b", "tgz")
    os.truncate(b, b.stat().st_size // 2)
    assert cli.main(["diff", str(a), str(b)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"({a})" in err
    assert f"({b})" in err


def test_a_user_who_is_not_root_gets_the_same(
    rich_tree: Path, make: ImageMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if process.which("sudo") is None:
        pytest.skip("sudo is not installed")
    a = make("a")
    mode(rich_tree)
    b = make("b", "tgz")
    arguments = ["diff", str(a), str(b), "--ignore", "--format", "json"]
    assert cli.main(arguments) == 1
    by_root = capsys.readouterr().out
    assert schema_errors(json.loads(by_root), "diff") == []
    monkeypatch.setattr(process, "is_root", lambda: False)
    assert cli.main(arguments) == 1
    assert capsys.readouterr().out == by_root
    os.truncate(b, b.stat().st_size // 2)
    assert cli.main(arguments) == 2
    assert f"({b})" in capsys.readouterr().err
