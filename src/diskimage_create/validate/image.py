"""Opening an image read-only, whatever its type, without converting it if that can be helped."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from diskimage_create import mounts, process
from diskimage_create.errors import CommandFailed, HostError, InputError, Problem
from diskimage_create.validate import qcow2
from diskimage_create.validate.disk import Disk, parse_superblock, read_disk
from diskimage_create.validate.root import ImageRoot

# QEMU's name of each type that holds a disk.
_DRIVERS = {"qcow2": "qcow2", "raw": "raw", "vhd": "vpc"}

# cpio, bzip2, xz, lzma, zstd: what the kernel unpacks, and no disk starts with
_RAMDISK_MAGIC = (b"0707", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00", b"\x28\xb5\x2f\xfd")


class Damaged(Exception):
    """The image cannot be opened; ``check`` is the check that this fails."""

    def __init__(self, check: str, message: str) -> None:
        super().__init__(message)
        self.check = check
        self.message = message


class Unavailable(Exception):
    """Something that a check needs is not there to be looked at; the check is skipped with this reason."""


@dataclass
class ImageView:
    """An opened image. What it does not have raises :class:`Unavailable` when a check asks for it."""

    path: Path
    kind: str
    """``qcow2``, ``raw``, ``vhd``, ``tar``, ``squashfs``, ``initramfs`` or ``kernel``."""
    workspace: Path
    notes: list[str] = field(default_factory=list)
    """How the opening differed from the usual way."""
    mount_error: str | None = None
    no_root: str = "the root file system could not be mounted"
    """Why there is none to be looked at"""
    _raw: Path | None = None
    _disk: Disk | None = None
    _root: ImageRoot | None = None

    @property
    def disk(self) -> Disk:
        """The disk; a tar archive or a bare file system has none."""
        if self._disk is None:
            raise Unavailable(f"a {self.kind} image has no disk")
        return self._disk

    @property
    def raw(self) -> Path:
        """The content of the disk, as one file."""
        if self._raw is None:
            raise Unavailable(f"a {self.kind} image has no disk")
        return self._raw

    @property
    def root(self) -> ImageRoot:
        """The mounted, or unpacked, tree."""
        if self._root is None:
            raise Unavailable(self.no_root)
        return self._root

    @property
    def tree(self) -> Path | None:
        """Where the tree is on this host; None where there is none to be looked at."""
        return self._root.path if self._root else None


def image_kind(path: Path) -> str:
    """The type of an image by its content: a name can be wrong.

    :raises Damaged: it is none of those that can be validated
    """
    with path.open("rb") as file:
        start = file.read(1024)
        file.seek(max(0, file.seek(0, 2) - 512))
        end = file.read(8)
    if start.startswith(qcow2.MAGIC):
        return "qcow2"
    if is_kernel(start):  # before disks: a kernel for PCs has the signature of a boot sector
        return "kernel"
    if start.startswith(_RAMDISK_MAGIC) or (start.startswith(b"\x1f\x8b") and _starts_with(path, b"0707", 0)):
        return "initramfs"
    if start[257:262] == b"ustar" or (start.startswith(b"\x1f\x8b") and _starts_with(path, b"ustar", 257)):
        return "tar"
    if start.startswith(b"hsqs"):
        return "squashfs"
    if b"conectix" in (start[:8], end):
        return "vhd"
    if start[510:512] == b"\x55\xaa" or _is_filesystem(path):
        return "raw"
    raise Damaged("image-intact", "the file is no disk image, file system or archive that is known here")


def require_file(path: Path) -> None:
    """Refuse what is no file: there is nothing to open, and a pipe would never end.

    :raises InputError: there is no such file
    """
    if not path.is_file():
        raise InputError([Problem("there is no such image file", where=str(path))])


@contextmanager
def open_image(path: Path, *, workspace: Path, devices: bool = False) -> Iterator[ImageView]:
    """Open an image; its mounts and daemons end with the block.

    :param workspace: an empty directory for mount points, and for the tree of a tar archive
    :param devices: unpack the device nodes and extended attributes of an archive too, which takes root
    :raises Damaged: the image cannot be opened at all
    :raises InputError: there is no such file
    """
    require_file(path)
    view = ImageView(path=path, kind=image_kind(path), workspace=workspace)
    tree = workspace / "root"
    tree.mkdir()
    with ExitStack() as stack:
        if view.kind == "kernel":
            view.no_root = "a kernel has no files"
            yield view
            return
        if view.kind in ("tar", "initramfs"):
            unpack = _unpack if view.kind == "tar" else _unpack_ramdisk
            unpack(path, tree, devices=devices)
            view._root = ImageRoot(tree)
            yield view
            return
        _require_mounting()
        if view.kind == "squashfs":
            _mount_root(view, stack, path, tree, fstype="squashfs")
        else:
            view._raw = raw = _raw_disk(view, stack)
            view._disk = disk = read_disk(raw)
            if any(partition.logical_volumes for partition in disk.partitions):
                view.no_root = "the root file system is on a logical volume, which is not looked into"
                view.notes.append(view.no_root)
            elif disk.root is None:
                view.mount_error = "no partition holds an ext or XFS file system"
            else:
                filesystem = disk.root.filesystem
                _mount_root(
                    view, stack, raw, tree,
                    fstype=filesystem.type if filesystem else None, offset=disk.root.start, size=disk.root.size,
                )  # fmt: skip
        yield view


def _require_mounting() -> None:
    """Say so before the slow part when this user may not mount."""
    if process.is_root():
        return
    try:
        process.run(process.privileged(["true"]))
    except CommandFailed as error:
        raise HostError(f"cannot mount an image here: {error.output.strip()}", hint="run as root") from None


def refuse_other_files(header: qcow2.Header) -> None:
    """Refuse a qcow2 image that needs other files: opening it would read any file that it names."""
    if header.backing_file:
        raise Damaged("image-intact", "the image has a backing file: it is not whole by itself, and was not opened")
    if header.external_data:
        raise Damaged("image-intact", "the image keeps its data in an external file, and was not opened")


def _raw_disk(view: ImageView, stack: ExitStack) -> Path:
    """The image's disk as a plain file."""
    if view.kind == "raw":
        return view.path
    if view.kind == "qcow2":
        _require_whole_qcow2(view.path)
    driver = _DRIVERS[view.kind]
    try:
        if not process.is_root() and not _fuse_lets_root_in():
            raise HostError("FUSE lets root not see a user's files (user_allow_other in /etc/fuse.conf)")
        return stack.enter_context(mounts.exported(view.path, view.workspace / "disk", driver=driver))
    except (HostError, CommandFailed) as error:
        view.notes.append(f"converted to raw first, which is slow, because the FUSE export failed: {error.message}")
        return _converted(view, driver)


def _require_whole_qcow2(path: Path) -> None:
    try:
        with path.open("rb") as file:
            header = qcow2.parse_header(file.read(512))
        refuse_other_files(header)
        missing = qcow2.missing_bytes(path, header)
    except ValueError as error:
        raise Damaged("image-intact", str(error)) from None
    if missing:
        raise Damaged("image-intact", f"the file is truncated: at least {missing} bytes are missing at its end")


def _converted(view: ImageView, driver: str) -> Path:
    raw = view.workspace / "disk.converted"
    try:
        process.run(["qemu-img", "convert", "-f", driver, "-O", "raw", view.path, raw])
    except CommandFailed as error:
        raise Damaged("image-intact", error.message) from None
    return raw


def _mount_root(
    view: ImageView, stack: ExitStack, source: Path, tree: Path, *,
    fstype: str | None, offset: int = 0, size: int | None = None,
) -> None:  # fmt: skip
    options = mounts.read_only_options(fstype, offset=offset, size=size)
    try:
        stack.enter_context(mounts.mounted(source, tree, fstype=fstype, options=options))
    except CommandFailed as error:
        if _is_this_host(error.output):
            raise HostError(f"cannot mount an image here: {error.output.strip()}", hint="run as root") from None
        view.mount_error = error.output.strip() or error.message
    else:
        view._root = ImageRoot(tree)


def _is_this_host(output: str) -> bool:
    """Whether mount(8), or sudo, complains of this host and not of the image."""
    complaints = ("loop device", "permission denied", "must be superuser", "password", "unknown filesystem type")
    return any(complaint in output.lower() for complaint in complaints)


def _unpack(path: Path, tree: Path, *, devices: bool) -> None:
    """Unpack an archive of a root file system; without its device nodes where not even root may make any.

    GNU tar itself keeps absolute names, ``..`` and links from leading out of the tree.
    """
    command: list[str | Path] = ["tar", "--extract", f"--file={path}", f"--directory={tree}", "--numeric-owner"]
    command += (
        ["--same-permissions", "--xattrs", "--xattrs-include=*"]
        if devices
        else ["--anchored", "--exclude=./dev/*", "--exclude=dev/*"]
    )
    try:
        process.run(command)
    except CommandFailed as error:
        if "Cannot mknod" in error.output:
            raise HostError("device nodes cannot be made here", hint="run as root, with CAP_MKNOD") from None
        raise Damaged("image-intact", f"the archive cannot be unpacked: {error.output.strip()[-500:]}") from None


def _unpack_ramdisk(path: Path, tree: Path, *, devices: bool) -> None:
    """Unpack a cpio archive, however it is compressed; bsdtar does not follow links out of the tree."""
    if not process.which("bsdtar"):
        raise HostError("bsdtar is missing: nothing else can look into a ramdisk", "install libarchive-tools")
    command: list[str | Path] = ["bsdtar", "-x", "-f", path, "-C", tree, "--numeric-owner"]
    try:
        process.run(command if devices else [*command, "--exclude", "^dev/*", "--exclude", "^./dev/*"])
    except CommandFailed as error:
        raise Damaged("image-intact", f"the ramdisk cannot be unpacked: {error.output.strip()[-500:]}") from None


def is_kernel(start: bytes) -> bool:
    """Whether a file that starts like this is a kernel: bzImage, or arm64's Image.

    Source: the kernel's Documentation/arch/x86/boot.rst and Documentation/arch/arm64/booting.rst
    """
    return start[0x202:0x206] == b"HdrS" or start[56:60] == b"ARM\x64"


def _starts_with(path: Path, magic: bytes, offset: int) -> bool:
    """Whether the content of a gzip file has these bytes there."""
    try:
        with gzip.open(path) as file:
            return file.read(offset + len(magic))[offset:] == magic
    except (OSError, EOFError, zlib.error):
        return False


def _is_filesystem(path: Path) -> bool:
    with path.open("rb") as file:
        return parse_superblock(file.read(4096)) is not None


def _fuse_lets_root_in() -> bool:
    try:
        lines = Path("/etc/fuse.conf").read_text().splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)
