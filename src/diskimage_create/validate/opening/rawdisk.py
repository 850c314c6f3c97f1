"""The disk in an image as one plain file, without converting it if that can be helped."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from diskimage_create import mounts, process
from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.validate.formats import qcow2
from diskimage_create.validate.room import no_room
from diskimage_create.validate.view import Damaged, ImageView

# QEMU's name of each type that holds a disk.
_DRIVERS = {"qcow2": "qcow2", "raw": "raw", "vhd": "vpc"}


def raw_disk(view: ImageView, stack: ExitStack, *, by_root: bool) -> Path:
    """The image's disk as a plain file, as long as ``stack`` lasts.

    :param by_root: whether root will mount it, who has to see it
    :raises Damaged: the image is not whole, or needs other files
    :raises HostError: there is neither a way to show it nor one to convert it
    """
    if view.kind == "raw":
        return view.path
    if view.kind == "qcow2":
        _require_whole_qcow2(view.path)
    driver = _DRIVERS[view.kind]
    try:
        if by_root and not process.is_root() and not _fuse_lets_root_in():
            raise HostError("FUSE lets root not see a user's files (user_allow_other in /etc/fuse.conf)")
        return stack.enter_context(mounts.exported(view.path, view.workspace / "disk", driver=driver))
    except (HostError, CommandFailed) as error:
        view.notes.append(f"converted to raw first, which is slow, because the FUSE export failed: {error.message}")
        return _converted(view, driver)


def refuse_other_files(header: qcow2.Header) -> None:
    """Refuse a qcow2 image that needs other files: opening it would read any file that it names."""
    if header.backing_file:
        raise Damaged("image-intact", "the image has a backing file: it is not whole by itself, and was not opened")
    if header.external_data:
        raise Damaged("image-intact", "the image keeps its data in an external file, and was not opened")


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
        raise no_room(error) or Damaged("image-intact", error.message) from None
    return raw


def _fuse_lets_root_in() -> bool:
    try:
        lines = Path("/etc/fuse.conf").read_text().splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)
