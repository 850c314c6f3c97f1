"""A directory of this host."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diskimage_create.digests import sha256
from diskimage_create.errors import InputError, Problem, RemoteError
from diskimage_create.files import TEMPORARY

_CHUNK_BYTES = 1 << 20
#: Longer than the largest image takes to be read; one that is stopped would keep all others waiting for ever
_PATIENCE_SECONDS = 900.0
_LOOK_SECONDS = 0.5


class Directory:
    """Files get their names when all of them are complete, and on the disk."""

    #: What the index says of files is not believed: they are read
    believes = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._staged: dict[str, Path] = {}

    def require(self) -> None:
        """Say that nothing can be written there.

        :raises InputError: it is no directory and cannot become one, or may not be written to
        """
        place = self.path if self.path.exists() else self.path.parent
        if not place.is_dir():
            problem = Problem(f"{place} is no directory", str(self.path), "make it, or name another directory")
        elif not os.access(place, os.W_OK | os.X_OK):
            problem = Problem(f"{place} may not be written to", str(self.path), "name another directory")
        else:
            return
        raise InputError([problem])

    @contextmanager
    def open(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Have the directory for ourselves; what a killed run has left is removed.

        :param waiting: told when somebody else has it
        :raises RemoteError: somebody else has it for too long
        """
        self.path.mkdir(exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._lock(descriptor, waiting)
            self.discard()
            yield
        finally:
            self._staged.clear()
            os.close(descriptor)

    def _lock(self, descriptor: int, waiting: Callable[[], None]) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            self._wait(descriptor)
        except OSError:  # a network's file system that locks no directories
            pass

    def _wait(self, descriptor: int) -> None:
        """Wait for the lock, as long as those who have it write something."""
        seen, moved = self._state(), time.monotonic()
        while time.monotonic() - moved < _PATIENCE_SECONDS:
            time.sleep(_LOOK_SECONDS)
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if (now := self._state()) != seen:
                seen, moved = now, time.monotonic()
        what = f"somebody else has {self.path} locked, and has written nothing for {_PATIENCE_SECONDS / 60:.0f} minutes"
        raise RemoteError(what, f"see who has it (fuser {self.path}), and whether it hangs")

    def _state(self) -> object:
        partial = self.path.glob(f"{TEMPORARY}*.partial")
        return os.stat(self.path).st_mtime_ns, sorted((path.name, _size(path)) for path in partial)

    def sizes(self) -> dict[str, int]:
        """All files, with their sizes in bytes."""
        with os.scandir(self.path) as found:
            return {entry.name: entry.stat().st_size for entry in found if entry.is_file()}

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return (self.path / name).read_bytes()

    def digest(self, name: str) -> str:
        """The SHA-256 of a file, in hexadecimal."""
        return sha256(self.path / name)

    def put(self, name: str, source: Path | bytes, progress: Callable[[int], None]) -> None:
        """Write a file, which gets its name by :meth:`commit`.

        :param progress: told the bytes that are written
        """
        token = hashlib.sha256(name.encode()).hexdigest()[:16]
        temporary = self._staged[name] = self.path / f"{TEMPORARY}{token}.partial"
        with temporary.open("wb") as file:
            for written, chunk in _chunks(source):
                file.write(chunk)
                progress(written)
            file.flush()
            os.fsync(file.fileno())

    def commit(self) -> None:
        """Give all files that were put their names, in the order in which they were put."""
        while self._staged:
            name = next(iter(self._staged))
            os.replace(self._staged[name], self.path / name)
            del self._staged[name]
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        """Remove what has no name."""
        self._staged.clear()
        for left in self.path.glob(f"{TEMPORARY}*.partial"):
            with suppress(OSError):
                left.unlink()

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def url(self, name: str) -> str:
        """Where a file is."""
        return str(self.path / name)


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _chunks(source: Path | bytes) -> Iterator[tuple[int, bytes]]:
    """The content, with how many bytes that makes so far."""
    if isinstance(source, bytes):
        yield len(source), source
        return
    done = 0
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            done += len(chunk)
            yield done, chunk
