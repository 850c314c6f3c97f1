"""Archives of a root file system, unpacked: tar, and the cpio of a ramdisk."""

from __future__ import annotations

from pathlib import Path

from diskimage_create import process
from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.validate.opening.listing import by_find, by_headers
from diskimage_create.validate.room import no_room
from diskimage_create.validate.root import Tree
from diskimage_create.validate.view import Damaged

#: The types of images that are archives
KINDS = ("tar", "initramfs")


def unpacked(path: Path, kind: str, target: Path, *, devices: bool) -> Tree:
    """Unpack an archive into an existing directory.

    For who is not root all files are that user's, and can be read; the listing has the owners and modes of the archive.

    :param devices: unpack device nodes and extended attributes too, which takes root
    :raises Damaged: it cannot be unpacked
    :raises HostError: a program is missing, or device nodes cannot be made here
    """
    (_unpack_tar if kind == "tar" else _unpack_ramdisk)(path, target, devices=devices)
    if process.is_root():
        return Tree(target, lambda: by_find(target))
    return Tree(target, lambda: by_headers(path, target), listed=True)


def _unpack_tar(path: Path, tree: Path, *, devices: bool) -> None:
    """Unpack without device nodes where not even root may make any.

    GNU tar itself keeps absolute names, ``..`` and links from leading out of the tree.
    """
    command: list[str | Path] = ["tar", "--extract", f"--file={path}", f"--directory={tree}", "--numeric-owner"]
    command += (
        ["--same-permissions", "--xattrs", "--xattrs-include=*"]
        if devices
        else ["--anchored", "--exclude=./dev/*", "--exclude=dev/*"]
    )
    try:
        _run(command, tree)
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
        _run(command if devices else [*command, "--exclude", "^dev/*", "--exclude", "^./dev/*"], tree)
    except CommandFailed as error:
        raise Damaged("image-intact", f"the ramdisk cannot be unpacked: {error.output.strip()[-500:]}") from None


def _run(command: list[str | Path], tree: Path) -> None:
    try:
        process.run(command)
    except CommandFailed as error:
        raise no_room(error) or error from None
    finally:
        if not process.is_root():
            # A directory that its owner may not write cannot be removed either; root would not care.
            process.run(["chmod", "-R", "u+rwX", "--", tree], expect=range(256))
