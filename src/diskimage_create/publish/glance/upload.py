"""A file on its way to Glance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from diskimage_create.background import begun

_CHUNK_BYTES = 1 << 20
#: What Glance takes by default (hashing_algorithm)
USUAL = "sha512"


class Upload:
    """The body of a request, with its length.

    Its digest is worked out beside the sending: between two pieces, Glance would wait for it.
    """

    def __init__(
        self, path: Path, size: int, progress: Callable[[int], None], before_last: Callable[[], None] = lambda: None
    ) -> None:
        """
        :param progress: told the bytes that are sent
        :param before_last: called before the last piece is sent; what it raises ends the request, so that Glance does
            not take the image
        """
        self._path = path
        self._size = size
        self._progress = progress
        self._before_last = before_last
        self._digest = begun(lambda: digest(path, USUAL))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                if sent + len(chunk) >= self._size:
                    self._before_last()
                yield chunk
                sent += len(chunk)
                self._progress(sent)

    def digest(self, algorithm: str) -> str:
        """Of the file, in hexadecimal; it is read again for an unusual algorithm.

        :raises ValueError: there is no such algorithm here
        """
        return self._digest() if algorithm == USUAL else digest(self._path, algorithm)


def digest(path: Path, algorithm: str) -> str:
    """The digest of a file, in hexadecimal.

    :raises ValueError: there is no such algorithm here
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
