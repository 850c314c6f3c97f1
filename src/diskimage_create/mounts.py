"""Loop devices, mounts and block exports, each as a context manager.

Nothing else in this project mounts. What is set up here is taken down again when the
``with`` block ends, however it ends; :func:`sweep` takes down what a killed process left.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from diskimage_create import process
from diskimage_create.errors import CommandFailed, DiskImageError, HostError

# How long a stopped export may take to leave the mount table.
EXPORT_GRACE_SECONDS = 10.0

# What a read-only mount of an image must never do: run the image's programs or open its
# device nodes on this host.
_HARMLESS = ("nodev", "nosuid", "noexec")

# Replaying a journal writes, even on a read-only mount: each file system has its own way to say no.
_NO_REPLAY = {
    "ext2": "noload",
    "ext3": "noload",
    "ext4": "noload",
    "xfs": "norecovery,nouuid",  # the second: a copy of a mounted file system is none to XFS
    "btrfs": "rescue=nologreplay",
}

# What shows files through FUSE, each as long as it runs.
_FUSE_DAEMONS = frozenset({"qemu-storage-daemon", "fuse2fs", "squashfuse", "guestmount"})
# How often to look whether one of them has mounted, in seconds.
_EVERY_SECONDS = 0.005


def read_only_options(fstype: str | None, *, offset: int = 0, size: int | None = None) -> tuple[str, ...]:
    """Options to mount a file system inside a file without changing a byte of it.

    :param fstype: decides how a journal replay is refused
    :param offset: where the file system starts in the file, in bytes
    :param size: how long it is, in bytes
    """
    options = ["ro", *_HARMLESS, "loop"]
    if fstype in _NO_REPLAY:
        options.append(_NO_REPLAY[fstype])
    if offset:
        options.append(f"offset={offset}")
    if size is not None:
        options.append(f"sizelimit={size}")
    return tuple(options)


@contextmanager
def loop_device(path: Path, *, offset: int = 0, size: int | None = None, read_only: bool = True) -> Iterator[Path]:
    """Attach a file to a free loop device; yields the device.

    :param offset: where in the file the device starts, in bytes
    :param size: how long it is, in bytes; to the end of the file by default
    """
    argv: list[str | Path] = ["losetup", "--find", "--show", f"--offset={offset}"]
    if size is not None:
        argv.append(f"--sizelimit={size}")
    if read_only:
        argv.append("--read-only")
    device = Path(_privileged([*argv, path]).stdout.strip())
    with afterwards(lambda: _privileged(["losetup", "--detach", device])):
        yield device


@contextmanager
def mounted(source: Path, target: Path, *, fstype: str | None = None, options: Sequence[str] = ()) -> Iterator[Path]:
    """Mount ``source`` at the existing directory ``target``; yields the target.

    With the option ``loop``, mount(8) makes the loop device itself and the kernel frees it
    with the unmount, so that none is left whatever happens to this process in between.
    """
    argv: list[str | Path] = ["mount"]
    if fstype:
        argv += ["-t", fstype]
    if options:
        argv += ["-o", ",".join(options)]
    _privileged([*argv, "--", source, target])
    with afterwards(lambda: _privileged(["umount", "--", target])):
        yield target


def executable(tree: Path) -> list[str]:
    """What to put before a command of root's, so that it can execute programs of a tree that is mounted read-only.

    The mount that allows it is the command's own. It ends with it, and so does all that the command has started.
    """
    script = 'mount -o "$1" -- "$2" "$2" && shift 2 && exec "$@"'
    options = "rbind,ro,nodev,nosuid,exec"
    return [*process.FENCE, "sh", "-c", script, "sh", options, str(tree)]


@contextmanager
def exported(image: Path, mountpoint: Path, *, driver: str, offset: int = 0, size: int | None = None) -> Iterator[Path]:
    """Show the content of a disk image as a plain file, without converting it; yields that file.

    qemu-storage-daemon reads the image and offers its content through FUSE. The caller must
    have refused images with a backing file or an external data file: qcow2 follows them.

    :param mountpoint: a file to be created, over which the content appears
    :param driver: QEMU's name of the format; never probed, because a guest can fake a format
    :param offset: with ``size``, shows a part of the disk only (a partition), in bytes
    """
    mountpoint = mountpoint.resolve()
    mountpoint.touch()
    pidfile = mountpoint.with_name(mountpoint.name + ".pid")
    nodes = _block_nodes(image, driver, offset, size)
    export = {
        "type": "fuse",
        "id": "export",
        "node-name": nodes[-1]["node-name"],
        "mountpoint": str(mountpoint),
        "writable": False,
        # Lets root, who mounts it, see the file of the user who runs this; needs user_allow_other then.
        "allow-other": "auto",
    }
    argv = ["qemu-storage-daemon"]
    for node in nodes:
        argv += ["--blockdev", json.dumps(node)]
    argv += ["--export", json.dumps(export), "--pidfile", str(pidfile), "--daemonize"]
    process.run(argv)
    with afterwards(lambda: _end_export(pidfile, mountpoint)):
        yield mountpoint


@contextmanager
def served(
    argv: Sequence[str | Path],
    mountpoint: Path,
    *,
    log: Path,
    seconds: float,
    grace: float = EXPORT_GRACE_SECONDS,
    env: Mapping[str, str] | None = None,
) -> Iterator[process.Beside]:
    """Have a program that stays in the foreground show files through FUSE; it ends with the block, and with us.

    :param mountpoint: an existing directory
    :param log: gets what it prints
    :param seconds: how long it may take until the files are there
    :param grace: seconds after the unmount in which it may clean up behind itself; it serves on where another mount
        namespace has a copy of the mount
    :raises CommandFailed: it ended, or took longer; with what it printed
    """
    mountpoint = mountpoint.resolve()
    with process.beside(argv, log, env) as daemon, afterwards(lambda: _end_serving(daemon, mountpoint, grace)):
        end = time.monotonic() + seconds
        while not is_mount_point(mountpoint):
            if (status := daemon.exit_status()) is not None or time.monotonic() > end:
                printed = log.read_text(errors="replace").strip()
                reason = printed if status is not None else f"no answer within {seconds:.0f} s\n{printed}"
                raise CommandFailed([str(arg) for arg in argv], status or -signal.SIGKILL, reason.strip())
            time.sleep(_EVERY_SECONDS)
        yield daemon


def _end_serving(daemon: process.Beside, mountpoint: Path, grace: float) -> None:
    """Unmount, and give the daemon time: whoever started it kills it then.

    One that gets no time is ended first: the unmount would wait for the answer of one that hangs.
    """
    if not grace:
        daemon.kill()
    if is_mount_point(mountpoint):
        _unmount_for_good(str(mountpoint))
    end = time.monotonic() + grace
    while daemon.exit_status() is None and time.monotonic() < end:
        time.sleep(_EVERY_SECONDS)


def sweep(directory: Path) -> list[str]:
    """Unmount everything mounted below ``directory``, detach the loop devices of files in it, end its exports.

    For what a killed build left behind. Returns what was done, one line each; an unmount
    that had to be lazy (something still uses it) says so.
    """
    below = str(directory.resolve()) + os.sep
    ended: dict[int, str] = {}
    # First, and until there is none: one that is just starting forks, and mounts what was not there before.
    while exporters := _exporters(below):
        for pid in exporters:
            _kill(pid)
        ended |= exporters
        time.sleep(_EVERY_SECONDS)
    done = [f"ended {program} {pid}" for pid, program in ended.items()]
    # The table lists mounts in the order they were made: the last one is on top.
    for target in reversed([point for point in _mount_points() if point.startswith(below)]):
        done.append(_unmount_for_good(target))
    for device, backing in _loop_backing_files():
        if backing.startswith(below):
            if any(Path("/sys/block", device.name).glob(f"{device.name}p*")):
                _privileged(["partx", "--delete", device], expect=(0, 1))
            _privileged(["losetup", "--detach", device])
            done.append(f"detached {device} ({backing})")
    return done


def _exporters(below: str) -> dict[int, str]:
    """The daemons that show something below a directory: some outlive an unmount, and who started them."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            program, *arguments = os.fsdecode(entry.read_bytes()).split("\0")
        except OSError:  # ended while we looked
            continue
        # The name of the pid file, or of the mount point: as an argument of its own, it stands there as it is.
        name = Path(program).name
        if name in _FUSE_DAEMONS and any(text.startswith(below) for text in arguments):
            found[int(entry.parts[2])] = name
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:  # sudo's
        _privileged(["kill", "-KILL", str(pid)], expect=(0, 1))


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted exactly there, files included."""
    return str(path.resolve()) in _mount_points()


def _block_nodes(image: Path, driver: str, offset: int, size: int | None) -> list[dict[str, object]]:
    image_file = {"driver": "file", "filename": str(image.resolve())}
    nodes: list[dict[str, object]] = [
        {"driver": driver, "node-name": "image", "read-only": True, "file": image_file},
    ]
    if size is not None:
        nodes.append(
            {"driver": "raw", "node-name": "part", "read-only": True, "file": "image", "offset": offset, "size": size}
        )
    return nodes


def _end_export(pidfile: Path, mountpoint: Path) -> None:
    """Stop the daemon and wait for its mount to be gone: the pid disappears before that."""
    pid = int(pidfile.read_text())
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            pass
        end = time.monotonic() + EXPORT_GRACE_SECONDS
        while is_mount_point(mountpoint) and time.monotonic() < end:
            time.sleep(0.002)
        if not is_mount_point(mountpoint):
            return
        if process.is_root():
            _privileged(["umount", "--", mountpoint], expect=range(256))
        else:
            _unmount_own(str(mountpoint))
    raise HostError(f"{mountpoint} is still mounted", hint=f"umount {mountpoint}")


def _unmount_for_good(target: str) -> str:
    if not process.is_root() and _unmount_own(target):
        return f"unmounted {target}"
    try:
        _privileged(["umount", "--", target])
    except CommandFailed as busy:
        _privileged(["umount", "--lazy", "--", target])
        return f"unmounted {target} lazily, it was in use: {busy.output.strip()}"
    return f"unmounted {target}"


def _unmount_own(target: str) -> bool:
    """Whether a user could unmount it without being root: FUSE lets whoever mounted."""
    program = next((name for name in ("fusermount3", "fusermount") if process.which(name)), None)
    if program is None:
        return False
    # Lazily: what a killed process had open there would keep it busy for ever.
    return process.run([program, "-u", "-z", target], expect=range(256)).returncode == 0


def _mount_points() -> list[str]:
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    return [_unescaped(line.split(" ")[4]) for line in text.splitlines()]


def _unescaped(field: str) -> str:
    """A path as the kernel's tables write it: blanks and their like are octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _loop_backing_files() -> list[tuple[Path, str]]:
    found = []
    for entry in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        try:
            backing = entry.read_text(errors="surrogateescape").rstrip("\n")
        except OSError:  # detached while we looked
            continue
        found.append((Path("/dev", entry.parts[3]), backing.removesuffix(" (deleted)")))
    return found


def _privileged(argv: Sequence[str | Path], expect: Sequence[int] = (0,)) -> process.Completed:
    return process.run(process.privileged(argv), expect=expect)


@contextmanager
def afterwards(undo: Callable[[], object]) -> Iterator[None]:
    """Run ``undo`` when the block ends. Should both fail, the block's error is the one that is raised."""
    try:
        yield
    except BaseException as error:
        try:
            undo()
        except DiskImageError as second:
            error.add_note(f"and cleaning up failed: {second}")
        raise
    undo()
