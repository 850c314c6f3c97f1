"""Opening an image read-only, whatever its type, by the way that this host allows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from diskimage_create.errors import CommandFailed, HostError, InputError, Problem
from diskimage_create.validate.formats.disk import FileSystem, read_disk
from diskimage_create.validate.opening import Mounter, NotThisWay, archive, choose, fuse, guestfs, loop, missing
from diskimage_create.validate.opening.kinds import image_kind
from diskimage_create.validate.opening.rawdisk import raw_disk
from diskimage_create.validate.opening.trees import DiskTrees
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.view import ImageView

_MOUNTERS: dict[str, Mounter] = {"loop": loop.partition, "fuse": fuse.partition}
# What is said of each way: of the usual one, nothing.
_SAID = {"loop": "", "fuse": "through FUSE, without root", "guestfs": "through libguestfs"}
_ON_VOLUMES = "the root file system is on a logical volume"


def require_file(path: Path) -> None:
    """Refuse what is no file: there is nothing to open, and a pipe would never end.

    :raises InputError: there is no such file, or it cannot be looked for
    """
    try:
        found = path.is_file()
    except OSError as error:
        raise InputError([Problem(f"it cannot be looked for: {error.strerror}", where=str(path))]) from None
    if not found:
        raise InputError([Problem("there is no such image file", where=str(path))])


@contextmanager
def open_image(path: Path, *, workspace: Path, devices: bool = False, backend: str = "auto") -> Iterator[ImageView]:
    """Open an image; its mounts and daemons end with the block.

    :param workspace: an empty directory for mount points, and for the tree of a tar archive
    :param devices: unpack the device nodes and extended attributes of an archive too, which takes root
    :param backend: one of :data:`diskimage_create.validate.opening.BACKENDS`
    :raises Damaged: the image cannot be opened at all
    :raises InputError: there is no such file
    :raises HostError: this host has no way to look into it
    """
    require_file(path)
    # Absolute: QEMU takes "fat:x" for a protocol, and "-x" for an option.
    view = ImageView(path=path.absolute(), kind=image_kind(path), workspace=workspace)
    with ExitStack() as stack:
        if view.kind == "kernel":
            view.no_root = "a kernel has no files"
        elif view.kind in archive.KINDS:
            tree = workspace / "root"
            tree.mkdir()
            view._root = ImageRoot(archive.unpacked(view.path, view.kind, tree, devices=devices))
        elif view.kind == "squashfs":
            _open_squashfs(view, stack, choose(backend))
        else:
            _open_disk(view, stack, backend)
        yield view


def _open_squashfs(view: ImageView, stack: ExitStack, way: str) -> None:
    tree = view.workspace / "root"
    tree.mkdir()
    try:
        if way == "guestfs":
            raise NotThisWay("libguestfs looks into disks alone")
        shown = _MOUNTERS[way](view.path, FileSystem("squashfs", "", "", None), 0, 0, tree, "")
        view._root = ImageRoot(stack.enter_context(shown))
    except NotThisWay as reason:
        raise HostError(f"cannot look into a squashfs here: {reason}", "run as root, or install squashfuse") from None
    except CommandFailed as error:
        view.mount_error = error.output.strip() or error.message
    view.access = _SAID[way]


def _open_disk(view: ImageView, stack: ExitStack, backend: str) -> None:
    way = choose(backend)
    view._raw = raw_disk(view, stack, by_root=way == "loop")
    view._disk = read_disk(view._raw)
    view.access = _SAID[way]
    if way != "guestfs":
        try:
            if view._disk.has_logical_volumes:
                raise NotThisWay(_ON_VOLUMES)
            with ExitStack() as mounted:
                DiskTrees(view, mounted, _MOUNTERS[way]).open()
                stack.push(mounted.pop_all())
            return
        except NotThisWay as reason:
            if not _instead(view, backend, str(reason)):
                return
    _open_by_guestfs(view, stack)


def _instead(view: ImageView, backend: str, reason: str) -> bool:
    """Whether libguestfs is asked, for what the chosen way cannot read.

    :raises HostError: neither can look into the image
    """
    lacking = missing("guestfs")
    if backend == "auto" and not lacking:
        view.access = f"through libguestfs, which is slow: {reason}"
        return True
    how = f"needs {lacking}" if lacking else "--backend guestfs does"
    if reason != _ON_VOLUMES:
        raise HostError(f"cannot look into this image: {reason}", f"libguestfs can, and {how}" if lacking else how)
    view.no_root = f"{reason}, which is not looked into"
    view.notes.append(f"{view.no_root}; {'libguestfs can, and ' if lacking else ''}{how}")
    return False


def _open_by_guestfs(view: ImageView, stack: ExitStack) -> None:
    tree = view.workspace / "guestfs"
    tree.mkdir()
    try:
        view._root = ImageRoot(stack.enter_context(guestfs.image(view.raw, tree, view.workspace)))
    except CommandFailed as error:
        view.mount_error = error.output.strip() or error.message
