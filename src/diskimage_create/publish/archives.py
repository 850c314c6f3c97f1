"""The root file system of an image as an archive, for what runs containers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from diskimage_create import as_root, process
from diskimage_create.errors import CommandFailed, HostError, InputError, Problem
from diskimage_create.publish.source import Source

#: Types of images that are such archives
ARCHIVES = frozenset({"tar", "tgz"})
#: Those that have a root file system to make one of
DISKS = frozenset({"qcow2", "raw", "vhd", "squashfs"})


def require(source: Source, where: str) -> None:
    """Say whether an archive can be made.

    :param where: what the user named
    :raises InputError: the image has no root file system
    :raises HostError: this user may not mount it
    """
    if source.type not in ARCHIVES | DISKS:
        hint = f"publish one of {', '.join(sorted(ARCHIVES | DISKS))}"
        raise InputError([Problem(f"a {source.type} has no root file system to run a container of", where, hint)])
    if source.type in DISKS and not process.is_root():
        try:
            process.run(process.privileged(["true"]))
        except CommandFailed as error:
            message = f"root has to mount {source.path.name}, to read its files: {error.output.strip()}"
            raise HostError(message, "run as root, or publish a tar") from None


def once(source: Source, stack: ExitStack) -> Callable[[], Path]:
    """Gives the archive of an image: its own file, or one that is made when somebody first asks for it.

    :param stack: what is made is removed with it
    """
    if source.type in ARCHIVES:
        return lambda: source.path

    @cache
    def archive() -> Path:
        from diskimage_create.workspace import workspace

        work = stack.enter_context(workspace())
        target = work.out / "root.tar"
        target.touch()  # what root writes into it is the user's
        request = {"image": str(source.path.absolute()), "target": str(target)}
        if process.is_root():
            _serve(request)
        else:
            as_root.ask("diskimage_create.publish.archives", request)
        return target

    return archive


def _serve(request: dict[str, str]) -> None:
    """Pack the root file system of an image."""
    from diskimage_create.convert import pack
    from diskimage_create.validate.image import open_image
    from diskimage_create.validate.view import Damaged
    from diskimage_create.workspace import workspace

    image = Path(request["image"])
    with workspace() as work:
        try:
            with open_image(image, workspace=work.tmp) as view:
                if view.tree is None:
                    raise Damaged("mount", view.mount_error or view.no_root)
                pack(view.tree, Path(request["target"]))
        except Damaged as damage:
            raise HostError(f"the root file system of {image} cannot be read: {damage.message}") from None
        except CommandFailed as error:
            raise HostError(
                f"its root file system cannot be packed: {error.message}", "is there enough room?"
            ) from None


if __name__ == "__main__":
    as_root.answer(_serve)
