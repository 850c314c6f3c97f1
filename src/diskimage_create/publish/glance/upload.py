"""A file on its way to Glance: read once, digested while it goes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

_CHUNK_BYTES = 1 << 20
#: What Glance takes by default (hashing_algorithm)
USUAL = "sha512"


class Upload:
    """The body of a request, with its length."""

    def __init__(self, path: Path, size: int, progress: Callable[[int], None]) -> None:
        """
        :param progress: told the bytes that are sent
        """
        self._path = path
        self._size = size
        self._progress = progress
        self._digest = hashlib.new(USUAL)
        self.sent = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        self._digest = hashlib.new(USUAL)
        self.sent = 0
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                self._digest.update(chunk)
                yield chunk
                self.sent += len(chunk)
                self._progress(self.sent)

    def digest(self, algorithm: str) -> str:
        """Of what was sent, in hexadecimal; the file is read again for an unusual algorithm.

        :raises ValueError: there is no such algorithm here
        """
        return self._digest.hexdigest() if algorithm == USUAL else digest(self._path, algorithm)


def digest(path: Path, algorithm: str) -> str:
    """The digest of a file, in hexadecimal.

    :raises ValueError: there is no such algorithm here
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
