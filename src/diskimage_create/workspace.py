"""A private directory for one build, with a journal that says how to clean up after a crash."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from diskimage_create import mounts, process
from diskimage_create.errors import Interrupted

_PREFIX = "diskimage-create-"
_JOURNAL = "journal.json"
# How long a workspace may be without one: it is the first thing that is written.
_NO_JOURNAL_YET_SECONDS = 600.0


@dataclass
class Workspace:
    """Where one build puts everything that is not its result."""

    path: Path
    partial: list[Path] = field(default_factory=list)

    @property
    def tmp(self) -> Path:
        """Where diskimage-builder makes its own temporary directories."""
        return self.path / "tmp"

    @property
    def disk(self) -> Path:
        """Where the file behind the image's loop device is."""
        return self.path / "disk"

    @property
    def out(self) -> Path:
        """Where disk-image-create leaves what it made."""
        return self.path / "out"

    def partial_file(self, final: Path) -> Path:
        """A hidden name beside a final one, removed with the workspace whatever happens."""
        path = final.with_name(f".{final.name}.{os.getpid()}.partial")
        self.partial.append(path)
        self.write_journal()
        return path

    def write_journal(self) -> None:
        """Note whose workspace this is, and what lies outside of it."""
        entry = {
            "schema": 1,
            "pid": os.getpid(),
            "started": _start_time(os.getpid()),
            "namespace": _pid_namespace(),
            "partial": [str(path) for path in self.partial],
        }
        new = self.path / f"{_JOURNAL}.new"
        new.write_text(json.dumps(entry))
        new.replace(self.path / _JOURNAL)


def parent_of(work_dir: Path | None) -> Path:
    """Where workspaces are made: where the user says, or in the system's temporary directory."""
    return work_dir or Path(tempfile.gettempdir())


@contextmanager
def workspace(parent: Path | None = None) -> Iterator[Workspace]:
    """Make a workspace, and remove it with all mounts and loop devices in it.

    :param parent: directory to make it in; the system's temporary directory by default
    """
    parent = parent_of(parent)
    parent.mkdir(parents=True, exist_ok=True)
    sweep_stale(parent)
    work = Workspace(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)))
    with mounts.afterwards(lambda: _remove_undisturbed(work)):
        work.write_journal()
        work.tmp.mkdir()
        work.disk.mkdir()
        work.out.mkdir()
        yield work


def sweep_stale(parent: Path) -> list[Path]:
    """Remove the workspaces of builds that died without cleaning up; returns them."""
    stale = []
    for path in sorted(parent.glob(f"{_PREFIX}*")):
        try:
            if path.lstat().st_uid != os.geteuid():
                continue
            journal = json.loads((path / _JOURNAL).read_text())
            # A container that shares this directory has numbers of its own: only there they say who is alive.
            foreign = journal.get("namespace", _pid_namespace()) != _pid_namespace()
            alive = foreign or _start_time(journal["pid"]) == journal["started"]
            partial = [Path(name) for name in journal["partial"]]
        except FileNotFoundError:
            _remove_if_forgotten(path)
            continue  # just being made, or not of our making
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        if alive:
            continue
        _remove(path, partial)
        stale.append(path)
    return stale


def _remove_undisturbed(work: Workspace) -> None:
    try:
        _remove(work.path, work.partial)
    except (Interrupted, KeyboardInterrupt):  # the first signal of all; further ones are ignored
        _remove(work.path, work.partial)
        raise


def _remove(path: Path, partial: list[Path]) -> None:
    mounts.sweep(path)
    for file in partial:
        if file.name.startswith(".") and file.name.endswith(".partial"):
            file.unlink(missing_ok=True)
    # The journal last: as long as it is there, the next build can go on where this one was stopped.
    remove: list[str | Path] = ["rm", "-rf", "--one-file-system"]
    content = list(path.glob("[!j]*"))
    # What is a user's own needs no sudo; what sudo made for a user does.
    process.run([*remove, "--", *content], expect=range(256))
    command = [*remove, "--", path]
    process.run(process.privileged(command) if any(path.glob("[!j]*")) else command)


def _remove_if_forgotten(path: Path) -> None:
    """A directory whose maker was killed before it wrote a journal: it is empty, and old."""
    with suppress(OSError):
        if time.time() - path.lstat().st_mtime > _NO_JOURNAL_YET_SECONDS:
            path.rmdir()


def _start_time(pid: int) -> str | None:
    """When a process started, in clock ticks since boot (proc(5), stat field 22): tells a reused number apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")
