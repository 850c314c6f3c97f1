"""The way of an ordinary user: a program reads the file system and shows it through FUSE. No root, no sudo."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diskimage_create import mounts, process
from diskimage_create.validate.formats.disk import FileSystem
from diskimage_create.validate.opening import NotThisWay
from diskimage_create.validate.opening.listing import by_debugfs
from diskimage_create.validate.root import Listing, Tree, walk

#: How long a program may take to show a file system, in seconds
START_SECONDS = 60.0
#: How long all checks may take through FUSE, in seconds: a damaged file system can lead its reader in circles
DEADLINE_SECONDS = 1800.0


@contextmanager
def partition(
    source: Path, filesystem: FileSystem, start: int, size: int, target: Path, subvolume: str = ""
) -> Iterator[Tree]:
    """Show a file system that is a part of a file; see :data:`diskimage_create.validate.opening.Mounter`.

    :raises CommandFailed: it is damaged
    :raises NotThisWay: no program for it is there
    :raises HostError: a program is not installed
    """
    # A name without commas, question marks and the like, which the programs would understand as options.
    plain = target.with_name(f"{target.name}.disk")
    plain.symlink_to(source.resolve())
    if filesystem.type.startswith("ext"):
        options = f"ro,fakeroot,norecovery,offset={start}"
        command: list[str | Path] = ["fuse2fs", "-f", "-o", options, plain, target]
        listing: Listing = lambda: by_debugfs(f"{plain}?offset={start}")  # noqa: E731
    elif filesystem.type == "squashfs":
        if not process.which("squashfuse"):
            raise NotThisWay("squashfuse (package squashfuse) is not installed")
        command = ["squashfuse", "-f", "-o", f"ro,offset={start}", plain, target]
        listing = lambda: walk(target)  # noqa: E731
    else:
        raise NotThisWay(f"nothing shows {filesystem.type} through FUSE without root")
    log = target.with_name(f"{target.name}.log")
    # They only read: there is nothing to clean up.
    served = mounts.served(command, target, log=log, seconds=START_SECONDS, grace=0.0)
    with served as daemon, within(DEADLINE_SECONDS, daemon):
        yield Tree(target, listing, listed=filesystem.type != "squashfs")


@contextmanager
def within(seconds: float, daemon: process.Beside) -> Iterator[None]:
    """End a daemon after that time: whoever waits for its files gets an error then, and goes on."""
    timer = threading.Timer(seconds, daemon.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
