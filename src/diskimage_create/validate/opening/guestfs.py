"""The slow way for what nothing else here can read: a small virtual machine of libguestfs mounts the image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from diskimage_create import mounts, process
from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.validate.opening.fuse import DEADLINE_SECONDS, within
from diskimage_create.validate.root import Tree, walk

#: How long the machine may take to show an image, in seconds: emulated, on a busy host, it takes a minute
START_SECONDS = 300.0

# What guestmount says when its machine did not start: of this host, and of no image.
_NOT_STARTED = ("guestfs_launch failed", "supermin", "could not create appliance")


@contextmanager
def image(disk: Path, target: Path, workspace: Path) -> Iterator[Tree]:
    """Show an image as its own fstab mounts it: logical volumes, subvolumes and further partitions included.

    :param disk: a raw disk
    :param target: an existing directory
    :param workspace: for temporary files
    :raises CommandFailed: no operating system was found, or it cannot be mounted
    :raises HostError: the machine of libguestfs does not start here
    """
    command: list[str | Path] = ["guestmount", "--no-fork", "--ro", "--format=raw", "-a", disk.resolve(), "-i", target]
    log = workspace / "guestmount.log"
    with ExitStack() as stack:
        try:
            started = mounts.served(command, target, log=log, seconds=START_SECONDS, env=_environment(workspace))
            daemon = stack.enter_context(started)
        except CommandFailed as error:
            if not _did_not_start(error):
                raise
            daemon = stack.enter_context(_emulated(command, target, log, workspace))
        with within(DEADLINE_SECONDS, daemon):
            yield Tree(target, lambda: walk(target))


@contextmanager
def _emulated(command: list[str | Path], target: Path, log: Path, workspace: Path) -> Iterator[process.Beside]:
    """Once more, for a /dev/kvm that is there and does not work."""
    environment = {**_environment(workspace), "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    with ExitStack() as stack:
        try:
            served = mounts.served(command, target, log=log, seconds=START_SECONDS, env=environment)
            daemon = stack.enter_context(served)
        except CommandFailed as error:
            if not _did_not_start(error):
                raise
            said = error.output.strip()[-500:]
            raise HostError(f"libguestfs does not start here: {said}", "'libguestfs-test-tool' tells more") from None
        yield daemon


def _did_not_start(error: CommandFailed) -> bool:
    return any(text in error.output for text in _NOT_STARTED)


def _environment(workspace: Path) -> dict[str, str]:
    """QEMU without libvirt, and temporary files where they are removed whatever happens."""
    ours = {"PATH": process.tool_path(), "LC_ALL": "C.UTF-8", "LIBGUESTFS_BACKEND": "direct", "TMPDIR": str(workspace)}
    return {**os.environ, **ours}
