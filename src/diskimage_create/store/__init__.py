"""What builds have made, by the identity of their inputs: stages, and finished images.

An entry is a directory that appears whole, by a rename, and disappears whole. Whoever uses one holds
a shared lock (flock(2)) on it; whoever removes one, an exclusive lock.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diskimage_create.digests import sha256
from diskimage_create.errors import HostError
from diskimage_create.inputs import identities, merged
from diskimage_create.locks import locked
from diskimage_create.model import IMAGE, STEPS, Inputs
from diskimage_create.store.links import link

__all__ = ["KEY_BYTES", "MANIFEST", "Entry", "Store", "damaged", "entry_name", "link", "read_key"]

STORE_SCHEMA = 1
KEY_BYTES = 32
MANIFEST = "manifest.json"
#: https://bford.info/cachedir/
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# diskimage-create's store of stages and images\n"
#: End of the names of files that are being written
_NEW = ".new"
#: How long one may need from making a directory to locking it
_TO_LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Entry:
    """Something that is stored."""

    path: Path
    step: str
    label: str
    """What image it belongs to, for people"""
    created: datetime
    asked: datetime
    """When the network was asked for what it is made of, the stage that it began with included"""
    local: Inputs
    """Of its step, and of those before"""
    remote: Inputs
    files: Mapping[str, str]
    """Name -> SHA-256 (hexadecimal)"""
    bytes: int
    """That its files take of the disk"""

    @property
    def title(self) -> str:
        """What it is, for people."""
        return "the image" if self.step == IMAGE else f"the stage after {self.step}.d"

    @property
    def identity(self) -> str:
        """The identity of its step, from all inputs."""
        return identities(merged(self.local, self.remote))[self.step]

    @property
    def used(self) -> datetime:
        """When it was made, or used last."""
        try:
            return datetime.fromtimestamp((self.path / MANIFEST).stat().st_mtime, UTC)
        except OSError:
            return self.created


def read_key(cache_dir: Path) -> bytes | None:
    """The key by which secrets are told apart; None where nothing was stored yet."""
    with suppress(OSError):
        key = (cache_dir / "store" / "key").read_bytes()
        return key if len(key) == KEY_BYTES else None
    return None


class Store:
    """The store below a cache directory."""

    def __init__(self, cache_dir: Path) -> None:
        self.path = cache_dir / "store"

    def create(self) -> None:
        """Make the directory, with the tag that lets backups leave it out, and the key.

        :raises HostError: something else is there
        """
        # Stages hold files of an image that only root may read there.
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self.path, fcntl.LOCK_EX):  # others may just be doing the same
            if not (self.path / _TAG).is_file():
                if any(not path.name.endswith(_NEW) for path in self.path.iterdir()):
                    raise HostError(
                        f"{self.path} is not a store of diskimage-create", "move it away, or name another --cache-dir"
                    )
                _write(self.path / _TAG, _TAG_TEXT.encode())
            self.path.chmod(0o700)
            (self.path / "locks").mkdir(exist_ok=True)
            if read_key(self.path.parent) is None:
                _write(self.path / "key", secrets.token_bytes(KEY_BYTES))

    def entries(self) -> list[Entry]:
        """All entries, the newest first; what has no manifest that can be trusted is none."""
        found = (_read(path) for path in self._places())
        return sorted((entry for entry in found if entry), key=lambda entry: entry.created, reverse=True)

    def unreadable(self) -> list[Path]:
        """The directories of entries whose manifest is damaged, or of another version of the store."""
        return [path for path in self._places() if _read(path) is None and path.is_dir()]

    def _places(self) -> list[Path]:
        return [path for step in STEPS for path in sorted(self.path.glob(f"{step}-{'[0-9a-f]' * 64}"))]

    def find(self, step: str, identity: str) -> Entry | None:
        """The entry of an identity."""
        return _read(self._place(step, identity))

    def _place(self, step: str, identity: str) -> Path:
        return self.path / entry_name(step, identity)

    @contextmanager
    def building(self, identity: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Only one at a time makes what has this identity, an image or a stage; the others wait, and then find it.

        :param waiting: called when another one is making it
        """
        path = self.path / "locks" / identity.removeprefix("sha256:")
        lock, how = None, fcntl.LOCK_EX | fcntl.LOCK_NB
        while lock is None:
            path.touch()
            try:
                lock = locked(path, how)
            except FileNotFoundError:  # its owner has just ended
                continue
            except BlockingIOError:
                waiting()
                how = fcntl.LOCK_EX
        with lock:
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # who waits for it notices, and makes a new one

    def add(
        self, step: str, label: str, local: Inputs, remote: Inputs, asked: datetime, fill: Callable[[Path], None]
    ) -> Entry:
        """Store what ``fill`` puts into the directory that it is given; an older entry of the identity is replaced.

        One that is in use stays: it is made of the same.

        :param asked: when the network was asked for what it is made of
        :raises OSError: the disk is full, or the like; nothing is left of it then
        """
        with self._making() as made:
            fill(made)
            steps = STEPS[: STEPS.index(step) + 1]
            manifest = {
                "schema": STORE_SCHEMA,
                "step": step,
                "label": label,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "asked": asked.isoformat(timespec="seconds"),
                "local": {name: dict(local.get(name, {})) for name in steps},
                "remote": {name: dict(remote.get(name, {})) for name in steps},
                "files": _digests(made),
            }
            manifest["checksum"] = _checksum(manifest)
            (made / MANIFEST).write_text(json.dumps(manifest, indent=1))
            return self._place_entry(made)

    def adopt(self, fill: Callable[[Path], None]) -> Entry | None:
        """Take an entry of another store, which ``fill`` puts into the directory that it is given.

        :returns: None where it is damaged, or of another version of the store
        :raises OSError: the disk is full, or the like; nothing is left of it then
        """
        with self._making() as made:
            fill(made)
            entry = _read(made)
            if entry is None or damaged(entry):
                shutil.rmtree(made)
                return None
            return self._place_entry(made)

    @contextmanager
    def _making(self) -> Iterator[Path]:
        """A directory that will be an entry; nothing is left of it when that fails."""
        self.sweep()
        made = Path(tempfile.mkdtemp(prefix="tmp-", dir=self.path))
        with locked(made, fcntl.LOCK_EX):
            try:
                yield made
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise

    def _place_entry(self, made: Path) -> Entry:
        """Give a directory that is complete its name; an older entry of the identity goes, unless it is in use."""
        entry = _read(made)
        assert entry is not None
        place = self._place(entry.step, entry.identity)
        while not _renamed(made, place):
            if not self._discard(place) and (there := _read(place)):
                shutil.rmtree(made)
                return there
        return _read(place) or entry

    @contextmanager
    def using(self, entry: Entry) -> Iterator[bool]:
        """Keep an entry from being removed; yields whether it is there, and all its files are what they were."""
        try:
            lock = locked(entry.path, fcntl.LOCK_SH)
        except OSError:  # removed meanwhile
            yield False
            return
        with lock:
            now = _read(entry.path)  # another one may have taken its place
            intact = now is not None and not damaged(now)
            if intact:
                with suppress(OSError):
                    os.utime(entry.path / MANIFEST)
            yield intact

    def verify(self, entry: Entry) -> list[str]:
        """The names of the files of an entry that are not what they were; none of one that is removed meanwhile."""
        with suppress(OSError), locked(entry.path, fcntl.LOCK_SH):
            now = _read(entry.path)
            return [MANIFEST] if now is None else damaged(now)
        return []

    def remove(self, entry: Entry) -> bool:
        """Remove an entry; returns whether it did: one in use stays."""
        return self._discard(entry.path)

    def remove_damaged(self, path: Path) -> bool:
        """Remove an entry's directory, unless an intact one has taken its place; returns whether it did."""
        return self._discard(path, if_=lambda: (now := _read(path)) is None or bool(damaged(now)))

    def _discard(self, path: Path, *, if_: Callable[[], bool] = lambda: True) -> bool:
        self._check_tag()
        try:
            lock = locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            return False
        with lock:
            if not if_():
                return False
            gone = path.with_name(f"tmp-{secrets.token_hex(8)}")
            path.rename(gone)
            shutil.rmtree(gone)
        return True

    def sweep(self) -> None:
        """Remove what killed builds left half made."""
        self._check_tag()
        for path in self.path.glob("tmp-*"):
            with suppress(OSError):
                # One that is just being made is not locked yet.
                if time.time() - path.stat().st_mtime > _TO_LOCK_SECONDS:
                    with locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
                        shutil.rmtree(path)

    def _check_tag(self) -> None:
        if not (self.path / _TAG).is_file():
            raise HostError(f"{self.path} is not marked as a cache: nothing is removed", f"there is no {_TAG} in it")


def entry_name(step: str, identity: str) -> str:
    """What an entry's directory is called."""
    return f"{step}-{identity.removeprefix('sha256:')}"


def damaged(entry: Entry) -> list[str]:
    """The names of the files of an entry that are not what they were."""
    with ThreadPoolExecutor() as pool:  # hashlib lets other threads run
        intact = pool.map(lambda name: _is(entry.path / name, entry.files[name]), entry.files)
        return [name for name, is_intact in zip(entry.files, intact, strict=True) if not is_intact]


def _read(path: Path) -> Entry | None:
    """The entry that a directory holds; None where its manifest is not as it was written, or not of our version."""
    try:
        data: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        if data.pop("checksum") != _checksum(data) or data["schema"] != STORE_SCHEMA:
            return None
        return Entry(
            path=path,
            step=data["step"],
            label=data["label"],
            created=datetime.fromisoformat(data["created"]),
            asked=datetime.fromisoformat(data["asked"]),
            local=data["local"],
            remote=data["remote"],
            files=data["files"],
            bytes=sum(_size(path / name) for name in data["files"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _size(path: Path) -> int:
    """What a file takes of the disk, which counts no holes: most of a raw image is one."""
    with suppress(FileNotFoundError):  # damaged() tells of it
        status = path.stat()
        return min(status.st_size, 512 * status.st_blocks)
    return 0


def _checksum(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of what a manifest says."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _digests(directory: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(directory.iterdir())}


def _is(path: Path, digest: str) -> bool:
    with suppress(OSError):
        return sha256(path) == digest
    return False


def _renamed(old: Path, new: Path) -> bool:
    """Rename a directory; returns whether it did, and no other one was there."""
    try:
        old.rename(new)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _write(path: Path, content: bytes) -> None:
    """Write a small file for ourselves alone, whole or not at all."""
    new = path.with_name(path.name + _NEW)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    new.replace(path)
