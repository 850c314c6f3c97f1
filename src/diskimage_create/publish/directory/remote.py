"""Object stores and file systems that fsspec knows.

In an object store an object appears when it is whole. Elsewhere files are written under other names and renamed.
Nobody can be kept out, so that the index is written until it is true.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diskimage_create import filesystems
from diskimage_create.errors import RemoteError
from diskimage_create.files import TEMPORARY

_CHUNK_BYTES = 1 << 20
#: Parts in which objects are sent, where so many are enough: S3 takes 10,000 of them. Some of them are in our memory.
_PART_BYTES = 8 << 20
_MOST_PARTS = 9_000
#: What fsspec is told besides the user's own settings (its configuration files and environment)
_SETTINGS = MappingProxyType({"s3": {"default_block_size": _PART_BYTES, "max_concurrency": 2}})


class Remote:
    """A directory below a URL."""

    #: What the index says of files is believed: to look at them they would have to be transferred
    believes = True

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._protocol = filesystems.protocol(url)
        self._fs: Any = None
        self._root = ""
        self._staged: dict[str, str] = {}

    def require(self) -> None:
        """Say that this host cannot go there.

        :raises HostError: a library is missing
        """
        filesystems.require(self._url)

    @contextmanager
    def open(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Connect.

        :raises RemoteError: whatever the libraries of a protocol say, each in its own way
        """
        with filesystems.opened(self._url, _SETTINGS.get(self._protocol, {})) as (self._fs, self._root):
            filesystems.make_directory(self._fs, self._root)
            yield

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def sizes(self) -> dict[str, int]:
        """All files, with their sizes in bytes."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(self._root, detail=True)
        except FileNotFoundError:
            self._check_bucket()
            return {}
        files = {each["name"].rpartition("/")[2]: int(each["size"] or 0) for each in found if each["type"] == "file"}
        return {name: size for name, size in files.items() if name and not name.startswith(TEMPORARY)}

    def _check_bucket(self) -> None:
        """An empty prefix and a bucket that is not there look alike.

        :raises FileNotFoundError: there is no such bucket
        """
        bucket = self._root.lstrip("/").partition("/")[0]
        if self._protocol in filesystems.STORES and not self._fs.exists(bucket):
            raise FileNotFoundError(f"there is no bucket {bucket}")

    def read(self, name: str) -> bytes:
        """The content of a small file."""
        content: bytes = self._fs.cat_file(self._path(name))
        return content

    def digest(self, name: str) -> str:
        """The SHA-256 of a file, in hexadecimal; it is read for that."""
        found = hashlib.sha256()
        with self._fs.open(self._path(name), "rb", block_size=_PART_BYTES, cache_type="readahead") as file:
            while chunk := file.read(_CHUNK_BYTES):
                found.update(chunk)
        return found.hexdigest()

    def put(self, name: str, source: Path | bytes, progress: Callable[[int], None]) -> None:
        """Write a file, which gets its name now in an object store, and by :meth:`commit` elsewhere."""
        path = self._path(name)
        if self._protocol not in filesystems.STORES:
            path = self._staged[name] = self._path(
                f"{TEMPORARY}{hashlib.sha256(name.encode()).hexdigest()[:16]}.partial"
            )
        if isinstance(source, bytes):
            self._fs.pipe_file(path, source)
        else:
            self._send(path, source, progress)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        self._fs.invalidate_cache()
        if (there := self._fs.info(path)["size"]) != size:
            raise RemoteError(f"{name} has {there} bytes there instead of {size}")

    def _send(self, path: str, source: Path, progress: Callable[[int], None]) -> None:
        part = max(_PART_BYTES, source.stat().st_size // _MOST_PARTS)
        target = self._fs.open(path, "wb", block_size=part)
        try:
            done = 0
            with source.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    target.write(chunk)
                    progress(done := done + len(chunk))
        except BaseException:
            # Closing would complete the object, and so would the file's end of life.
            with suppress(Exception):
                target.discard()
            target.closed = True
            raise
        target.close()

    def commit(self) -> None:
        """Give all files that were put their names, in the order in which they were put."""
        for name, temporary in self._staged.items():
            self._fs.mv(temporary, self._path(name))
        self._staged.clear()

    def discard(self) -> None:
        """Remove what has no name."""
        for temporary in self._staged.values():
            with suppress(Exception):
                self._fs.rm_file(temporary)
        self._staged.clear()

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def url(self, name: str) -> str:
        """How to fetch a file."""
        return f"{self._url}/{name}"
