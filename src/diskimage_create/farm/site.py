"""Where a worker works, and what it leaves there: nothing."""

from __future__ import annotations

import fcntl
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from diskimage_create import mounts, process
from diskimage_create.errors import HostError

#: What Dask's worker carries along to tell its tasks of the site
PLUGIN = "diskimage-create"
#: What tells that a directory is a worker's, and that one is at work there
_LOCK = ".diskimage-create-worker"
_OF_JOBS = "diskimage-create-"


def require_dask() -> None:
    """
    :raises HostError: it is not installed
    """
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise HostError("distributed is not installed", "pip install 'diskimage-create[farm]'") from None


class Site:
    """The directories of one worker, and what runs in them."""

    def __init__(
        self,
        cache_dir: Path,
        work_dir: Path,
        say: Callable[[str], None] = lambda text: None,
        grace: float = 3 * process.GRACE_SECONDS,
    ) -> None:
        """
        :param say: tells whoever looks after the worker; called by any thread
        :param grace: seconds that a build may take to clean up when its job is not wanted any more
        """
        self.cache_dir = cache_dir
        self.work_dir = work_dir
        self.say = say
        self._grace = grace
        self._running: dict[str, process.Children] = {}
        self._changed = threading.Condition()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the working directory for ourselves, without what an earlier worker left that was killed.

        :raises HostError: another worker has it, or something else is in it
        """
        self._refuse_what_is_no_workers()
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

    def _refuse_what_is_no_workers(self) -> None:
        """What is in the directory is going to be removed."""
        hint = "name a directory that is there for the worker alone, or that does not exist yet"
        if self.cache_dir.is_relative_to(self.work_dir):
            raise HostError(f"the cache {self.cache_dir} would be in the worker's directory {self.work_dir}", hint)
        if self.work_dir.is_dir() and not (self.work_dir / _LOCK).exists() and any(self.work_dir.iterdir()):
            raise HostError(f"{self.work_dir} holds what is no worker's", hint)

    @contextmanager
    def job(self, key: str) -> Iterator[tuple[Path, process.Children]]:
        """A directory for a job, which is removed with all that is mounted in it; and the programs that run for it."""
        # Not the key: there is a name in it, and colons do not belong in paths of elements.
        name = f"{_OF_JOBS}{hashlib.sha256(key.encode()).hexdigest()[:20]}"
        path, children = self.work_dir / name, process.Children(self._grace)
        with self._changed:
            self._running[key] = children
        try:
            _remove(path)
            path.mkdir(mode=0o700)
            with mounts.afterwards(lambda: _remove(path)), children:
                yield path, children
        finally:
            with self._changed:
                del self._running[key]
                self._changed.notify_all()

    def stop(self) -> None:
        """Stop what runs, and wait until all of it is cleaned up."""
        with self._changed:
            running = list(self._running.values())
        with ThreadPoolExecutor(len(running) or 1) as pool:  # each may take its time
            list(pool.map(process.Children.stop, running))
        with self._changed:
            self._changed.wait_for(lambda: not self._running, self._grace)


def _remove(path: Path) -> None:
    """Remove what a job has left, if anything: mounts, loop devices, files."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        mounts.sweep(path)
        process.remove_tree(path)
