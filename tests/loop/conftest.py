"""Small real images, with real partition tables and file systems, to open and to damage."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diskimage_create.model import Expectation
from made_files import cpio, elf

SECTOR = 512
MIB = 2**20
DISK_BYTES = 2**30
KERNEL = "6.1.0-1-amd64"
LABEL = "img-rootfs"
VENV = "opt/amphora-agent-venv"
SITE = f"{VENV}/lib/python3.11/site-packages"

ImageMaker = Callable[..., Path]


def run(*argv: str | Path, stdin: str = "") -> str:
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    environment = dict(os.environ, PATH=path, LC_ALL="C")
    done = subprocess.run(argv, input=stdin, text=True, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def write(tree: Path, name: str, content: str | bytes = "", mode: int = 0o644) -> None:
    """Put a file into the tree of an image."""
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


def link(tree: Path, name: str, target: str) -> None:
    """Put a symbolic link into the tree of an image."""
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def dpkg_entry(name: str, state: str = "installed") -> str:
    return f"Package: {name}\nStatus: install ok {state}\nVersion: 1\n\n"


def grub_config(label: str = LABEL, initrd: str = f"/boot/initrd.img-{KERNEL}") -> str:
    return (
        "set timeout=0\n"
        "menuentry 'Debian' --class gnu-linux {\n"
        f"\tlinux\t/boot/vmlinuz-{KERNEL} root=LABEL={label} ro console=ttyS0\n"
        f"\tinitrd\t{initrd}\n"
        "}\n"
    )


def good_tree(tree: Path) -> None:
    """The root of an amphora in which nothing is wrong."""
    _system(tree)
    _boot(tree)
    _services(tree)
    _agent(tree)


def _system(tree: Path) -> None:
    write(
        tree, "usr/lib/os-release", 'PRETTY_NAME="Debian 12"\nID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n'
    )
    # Absolute, as it would lead out of the image if links were followed by the host.
    link(tree, "etc/os-release", "/usr/lib/os-release")
    link(tree, "lib", "usr/lib")
    write(tree, "usr/bin/dpkg", elf(62), 0o755)
    link(tree, "sbin", "usr/sbin")
    write(tree, "usr/lib/systemd/systemd", elf(62), 0o755)
    link(tree, "usr/sbin/init", "../lib/systemd/systemd")
    write(tree, "var/lib/dpkg/status", "".join(map(dpkg_entry, ("haproxy", "keepalived", "cloud-init", "gcc-12-base"))))
    write(tree, "etc/passwd", "root:x:0:0::/root:/bin/sh\nhaproxy:x:100:100::/var/lib/haproxy:/bin/false\n")
    write(tree, "etc/shadow", "root:*:20000:0:99999:7:::\nhaproxy:!:20000::::::\n", 0o640)
    write(tree, "etc/machine-id", "uninitialized\n")
    write(tree, "etc/resolv.conf", "nameserver 127.0.0.1\n")
    write(tree, "etc/apt/apt.conf.d/95x", '# Acquire::http::Proxy "http://no:1";\nAPT::Install-Recommends "0";\n')
    write(tree, "var/lib/apt/lists/lock")
    write(tree, "etc/cloud/cloud.cfg", "users:\n - default\nsystem_info:\n  default_user:\n    lock_passwd: True\n")
    write(tree, "etc/cloud/cloud.cfg.d/91-dib.cfg", "datasource_list: [ ConfigDrive, None ]\n")


def _boot(tree: Path) -> None:
    write(tree, f"boot/vmlinuz-{KERNEL}", b"MZ" + bytes(0x200) + b"HdrS" + bytes(512))
    write(tree, f"boot/initrd.img-{KERNEL}", gzip.compress(cpio({"init": b"#!/bin/sh\n"})))
    write(tree, f"usr/lib/modules/{KERNEL}/modules.dep")
    write(tree, "boot/grub/grub.cfg", grub_config())
    write(tree, "etc/fstab", f"# a comment\nLABEL={LABEL} / ext4 defaults 0 1\n")


def _services(tree: Path) -> None:
    wants = "etc/systemd/system/multi-user.target.wants"
    for unit in ("amphora-agent", "prometheus-proxy", "certs-ramfs", "ssh"):
        write(tree, f"usr/lib/systemd/system/{unit}.service", "[Service]\nExecStart=/usr/bin/true\n")
        link(tree, f"{wants}/{unit}.service", f"/lib/systemd/system/{unit}.service")
    for unit in ("haproxy", "keepalived"):
        write(tree, f"usr/lib/systemd/system/{unit}.service", "[Service]\n")
    write(tree, "etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin prohibit-password\n")
    for program in ("usr/bin/true", "usr/sbin/haproxy", "usr/sbin/keepalived", "usr/sbin/sshd"):
        write(tree, program, elf(62), 0o755)


def _agent(tree: Path) -> None:
    write(tree, "usr/bin/python3", elf(62), 0o755)
    link(tree, f"{VENV}/bin/python3", "/usr/bin/python3")
    record = (
        "octavia/agent.py,sha256=x,5\noctavia/__pycache__/agent.cpython-311.pyc,,\noctavia-19.0.0.dist-info/RECORD,,\n"
    )
    for name in (
        "amphora-agent",
        "amphora-health-checker",
        "amphora-interface",
        "haproxy-vrrp-check",
        "prometheus-proxy",
    ):
        script = f"#!/{VENV}/bin/python3\n"
        write(tree, f"{VENV}/bin/{name}", script, 0o755)
        link(tree, f"usr/local/bin/{name}", f"/{VENV}/bin/{name}")
        record += f"../../../bin/{name},sha256=x,{len(script)}\n"
    write(tree, f"{SITE}/octavia/agent.py", "pass\n")
    write(tree, f"{SITE}/octavia-19.0.0.dist-info/RECORD", record)


@pytest.fixture
def expectation() -> Expectation:
    """What the good image was asked to be."""
    return Expectation(
        arch="amd64",
        distribution="debian",
        family="debian",
        release="bookworm",
        size_gib=1,
        elements=frozenset(
            {"vm", "haproxy-octavia", "keepalived-octavia", "amphora-agent", "certs-ramfs", "cloud-init-datasources"}
        ),
        packages=("haproxy", "keepalived", "cloud-init"),
        datasources=("ConfigDrive",),
        sshd=True,
    )


def make_disk(tree: Path, path: Path, *, table: str = "dos", label: str = LABEL, root_mib: int = 0) -> Path:
    """A raw disk with the tree in an ext4 root partition, and something like GRUB in front."""
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
    if table == "dos":
        script, start, size = "label: dos\nstart=2048, type=83, bootable\n", 2048, DISK_BYTES // SECTOR - 2048
    else:
        script = "label: gpt\nstart=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\n"
        start, size = 4096, DISK_BYTES // SECTOR - 4096 - 2048
        script += f"start={start}, size={size}, type=L\n"
    run("sfdisk", "--quiet", "--no-reread", path, stdin=script)
    offset = f"offset={start * SECTOR},lazy_itable_init=1,nodiscard"
    size = root_mib * MIB // SECTOR or size
    run("mkfs.ext4", "-q", "-F", "-L", label, "-d", tree, "-E", offset, path, f"{size // 2}k")
    with path.open("r+b") as file:
        file.write(b"\xeb\x63" + bytes(0x5A) + struct.pack("<Q", 60) + bytes(0x100) + b"GRUB \0")
        file.seek(60 * SECTOR)
        file.write(b"\x52" * SECTOR)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The directory of a good image, to be changed before it is made into one."""
    directory = tmp_path / "tree"
    directory.mkdir()
    good_tree(directory)
    return directory


@pytest.fixture
def make_image(tree: Path, tmp_path: Path) -> ImageMaker:
    """A function that makes ``tree`` into an image of some type."""

    def make(kind: str = "raw", *, table: str = "dos", label: str = LABEL, root_mib: int = 0) -> Path:
        image = tmp_path / f"image.{kind}"
        if kind in ("tar", "tgz"):
            run("tar", "-cf" if kind == "tar" else "-czf", image, "-C", tree, ".")
            return image
        if kind == "squashfs":
            run("mksquashfs", tree, image, "-quiet", "-no-progress")
            return image
        raw = make_disk(tree, tmp_path / "image.raw", table=table, label=label, root_mib=root_mib)
        if kind == "qcow2":
            run("qemu-img", "convert", "-c", "-O", "qcow2", raw, image)
        elif kind == "vhd":
            run("qemu-img", "convert", "-O", "vpc", "-o", "force_size", raw, image)
        return image

    return make


def _staying(loop: Path) -> str:
    """The file of a loop device that does not clear itself; empty of others.

    One that does can outlast its mount: whoever made a mount namespace meanwhile has a copy of it.
    """
    try:
        return (loop / "backing_file").read_text().strip() if (loop / "autoclear").read_text() == "0\n" else ""
    except FileNotFoundError:
        return ""


def _held(below: Path) -> list[str]:
    """Mounts, loop devices and export daemons that belong to files below a directory."""
    prefix = str(below)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    backing = [_staying(entry) for entry in Path("/sys/block").glob("loop*/loop")]
    daemons = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if command.startswith("qemu-storage-daemon") and prefix in command:
            daemons.append(command)
    return [name for name in mounts + backing if name.startswith(prefix)] + daemons


@pytest.fixture(autouse=True)
def nothing_leaks(loop_mounts_work: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After each test no mount, loop device or daemon of it is left.

    Others may make loop devices on this host meanwhile: only those of the test's own
    directory count, and temporary directories are made in there.
    """
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield
    assert _held(tmp_path) == []
    assert list(scratch.iterdir()) == []


@pytest.fixture(scope="session")
def loop_mounts_work(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip, with the reason, where this process cannot attach a loop device and mount it."""
    directory = tmp_path_factory.mktemp("probe")
    missing = [tool for tool in ("losetup", "mkfs.ext4", "sfdisk", "qemu-img") if not shutil.which(tool, path=_PATH)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    image, target = directory / "probe.raw", directory / "mnt"
    target.mkdir()
    with image.open("wb") as file:
        file.truncate(2 * MIB)
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("mkfs.ext4", "-q", "-F", image), ("mount", "-o", "ro,loop", image, target), ("umount", target)
    )  # fmt: skip
    for command in commands:
        try:
            run(*command)
        except AssertionError as error:
            pytest.skip(f"no loop mounts here: {error}")


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def record_beside(image: Path, **content: object) -> None:
    """Write the record of a build beside its image."""
    image.with_name(image.name + ".json").write_text(json.dumps(content))


@pytest.fixture
def beside() -> Callable[..., None]:
    """The function that writes a record beside an image."""
    return record_beside


def _efi_disk(tree: Path, path: Path, efi: Path) -> Path:
    """A raw disk with the tree in an ext4 root partition, behind an EFI system partition with what ``efi`` holds."""
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
    system_mib = 32
    start = 2048 + system_mib * 2048
    script = f"label: gpt\nstart=2048, size={system_mib * 2048}, type=U\nstart={start}, type=L\n"
    run("sfdisk", "--quiet", "--no-reread", path, stdin=script)
    size = (DISK_BYTES - MIB) // SECTOR - start
    offset = f"offset={start * SECTOR},lazy_itable_init=1,nodiscard"
    run("mkfs.ext4", "-q", "-F", "-L", LABEL, "-d", tree, "-E", offset, path, f"{size // 2}k")
    system = f"{path}@@{MIB}"
    run("mformat", "-i", system, "-T", str(system_mib * 2048), "-h", "16", "-s", "63", "::")
    for entry in sorted(efi.iterdir()):
        run("mcopy", "-s", "-i", system, entry, "::")
    return path


@pytest.fixture
def make_efi_image(tree: Path, tmp_path: Path) -> Callable[[Path], Path]:
    """A function that makes ``tree``, and what the EFI system partition is to hold, into a raw image."""
    return lambda efi: _efi_disk(tree, tmp_path / "image.raw", efi)
