"""Running programs of an image without letting them do anything: bubblewrap, bwrap(1)."""

from __future__ import annotations

from dataclasses import dataclass

from diskimage_create import architectures, mounts, process
from diskimage_create.errors import HostError
from diskimage_create.host import machine_architecture
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.architecture import machine, machine_names

#: How long a shell of the image may take to do nothing, in seconds
PATIENCE = 30.0
#: No namespace of users: files keep their owners. No capabilities: root is root by name alone, and cannot leave.
_BWRAP = (
    *("bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "image"),
    *("--clearenv", "--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "--setenv", "LC_ALL", "C.UTF-8"),
)
#: What a system has there when it runs: nothing of the image is hidden that is there to stay
_MOUNTED = {"/proc": "--proc", "/dev": "--dev", "/run": "--tmpfs", "/tmp": "--tmpfs"}


@dataclass(frozen=True)
class Sandbox:
    """How to run programs in an image: read-only, without network or capabilities."""

    around: tuple[str, ...]
    """Before the command line of what is to use the sandbox, once or many times"""
    enter: tuple[str, ...]
    """Before each command line that is to run in the image"""


def sandbox_for(root: ImageRoot) -> Sandbox:
    """The sandbox for an image, which has been tried.

    :raises HostError: this host, or this user, cannot run programs of the image
    """
    if not process.is_root():
        raise HostError("only root can run programs of an image in a sandbox", "run as root, or allow sudo")
    found = machine(root)
    arch = machine_names(*found)[0] if found else ""
    own = machine_architecture()
    if arch not in (*architectures.native(own), *architectures.emulated()):
        raise HostError(f"the image's programs ({arch or 'unknown'}) do not run on this {own} host")
    if not process.which("bwrap"):
        raise HostError("bwrap is missing: programs of an image run in a sandbox only", "install bubblewrap")
    command = [*_BWRAP, "--ro-bind", str(root.path), "/"]
    for place, option in _MOUNTED.items():
        # A link could lead anywhere, and what is not there cannot be made in a read-only tree.
        if root.resolve(place, follow=False) == str(root.path) + place and root.is_directory(place):
            command += [option, place]
            if place == "/proc":  # root may write into it, even without capabilities: what programs crash into, ...
                command += ["--remount-ro", place]
    confined = Sandbox(tuple(mounts.executable(root.path)), (*command, "--chdir", "/", "--"))
    probe = process.run([*confined.around, *confined.enter, "/bin/sh", "-c", ":"], expect=range(256), timeout=PATIENCE)
    if probe.returncode:
        raise HostError(f"no program of the image can be run in a sandbox: {(probe.stderr or probe.stdout).strip()}")
    return confined
