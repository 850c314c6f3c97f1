"""Where a worker works, and what it leaves there: nothing."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diskimage_create import mounts, process
from diskimage_create.errors import HostError

#: What Dask's worker carries along to tell its tasks of the site
PLUGIN = "diskimage-create"
_LOCK = "lock"


@dataclass(frozen=True)
class Site:
    """The directories of one worker."""

    cache_dir: Path
    work_dir: Path
    say: Callable[[str], None] = lambda text: None
    """Tells whoever looks after the worker; any thread may"""
    grace: float = 3 * process.GRACE_SECONDS
    """Seconds that a build may take to clean up when its job is not wanted any more"""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the working directory for ourselves, without what an earlier worker left that was killed.

        :raises HostError: another worker has it
        """
        self.work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.work_dir / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HostError(f"another worker works in {self.work_dir}", "name another --work-dir") from None
            for path in self.work_dir.iterdir():
                if path.name != _LOCK:
                    _remove(path)
            yield

    @contextmanager
    def directory(self, key: str) -> Iterator[Path]:
        """One for a job, which is removed with all that is mounted in it."""
        path = self.work_dir / key
        _remove(path)
        path.mkdir(mode=0o700)
        with mounts.afterwards(lambda: _remove(path)):
            yield path


def _remove(path: Path) -> None:
    """Remove what a job has left, if anything: mounts, loop devices, files."""
    if path.exists():
        mounts.sweep(path)
        process.run(process.privileged(["rm", "-rf", "--one-file-system", "--", path]))
