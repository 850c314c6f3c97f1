"""The ways to look into an image, each behind the same small interface: a tree that every check can read.

``loop.partition`` and ``fuse.partition`` show one file system, as :data:`Mounter`; ``guestfs.image`` shows a whole
image, where neither can; ``archive.unpacked`` is for what is no disk. ``choose`` says which way this host can go.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from diskimage_create import process, requirements
from diskimage_create.errors import HostError
from diskimage_create.validate.formats.disk import FileSystem
from diskimage_create.validate.root import Tree

#: What a user can ask for
BACKENDS = ("auto", "loop", "fuse", "guestfs")

#: What each way needs
NEEDED = dict(requirements.BACKENDS)

#: (disk or file, file system, where it starts in bytes, how long it is, mount point, subvolume) -> the tree
Mounter = Callable[[Path, FileSystem, int, int, Path, str], AbstractContextManager[Tree]]


class NotThisWay(Exception):
    """The chosen way cannot read this file system, whatever its state; another may."""


def choose(backend: str) -> str:
    """The way to go where there is a file system to be mounted: ``loop``, ``fuse`` or ``guestfs``.

    :param backend: one of :data:`BACKENDS`
    :raises HostError: this host has not what that needs
    """
    if backend == "auto":
        return _possible()
    if backend == "loop":
        if not may_mount():
            raise HostError("only root mounts loop devices", "run as root, allow sudo, or leave out --backend loop")
    elif lacking := missing(backend):
        raise HostError(f"the backend {backend} needs {lacking}", f"install it, or leave out --backend {backend}")
    return backend


def may_mount() -> bool:
    """Whether this process is root, or may be without being asked for a password."""
    if process.is_root():
        return True
    if process.which("sudo") is None:
        return False
    return process.run(["sudo", "--non-interactive", "true"], expect=range(256)).returncode == 0


def missing(backend: str) -> str:
    """What this host lacks for a way, with packages; empty where it lacks nothing."""
    lacking = [f"{each.name} (package {each.package})" for each in NEEDED[backend] if not each.met()]
    return ", ".join(lacking)


def _possible() -> str:
    if may_mount():
        return "loop"
    reasons = {backend: missing(backend) for backend in ("fuse", "guestfs")}
    for backend, lacking in reasons.items():
        if not lacking:
            return backend
    ways = "; or ".join(f"install {lacking}" for lacking in reasons.values())
    raise HostError("an image cannot be looked into here", f"run as root, or allow sudo without a password; or {ways}")
