"""Sends images to registries: blobs in pieces, from where a broken connection left off, and manifests after them.

Of the OCI Distribution Specification 1.1: "Pushing a blob in chunks" and "Pushing Manifests". A blob that the registry
has already is not sent, so that a push that was killed goes on with the first blob that is not complete.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from diskimage_create.errors import RemoteError
from diskimage_create.references import Reference
from diskimage_create.registries.client import Manifest, Registries
from diskimage_create.registries.connections import TIMEOUT, errors

if TYPE_CHECKING:
    import requests

#: Bytes of a blob in one request. A registry may only keep what came with requests that ended, and waits for its disk
#: at the end of each: pieces of 64 MiB take a third longer than those of 256
_PIECE = 256 * 2**20
#: Bytes that are read, and handed to the connection, at a time
_BLOCK = 2**20
#: Times in a row that nothing arrives before it is given up, and seconds before the second time; each further pause is
#: twice as long
_ATTEMPTS = 6
_PAUSE = 0.5
_LONGEST_PAUSE = 120.0
#: Bytes a second that a registry is at least expected to put on its disk
_SLOWEST = 5 * 2**20
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
#: What the registry says when it knows no such upload, or not as far as we do: distribution 2.8 when it has part of a
#: piece that broke off
_LOST = frozenset({400, 404, 416})


@dataclass(frozen=True)
class Blob:
    """A part of an image, as manifests name it."""

    digest: str
    size: int
    content: Path | bytes = field(repr=False)

    @classmethod
    def of(cls, content: bytes) -> Blob:
        """A small one."""
        return cls(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content), content)


@dataclass
class _Upload:
    """A blob on its way: where the registry wants more of it, and how much it has."""

    address: str
    at: int = 0
    smallest: int = 0
    """Bytes of a piece that is not the last one, by what the registry asks for"""


class _Lost(Exception):
    """The registry does not know the upload any more."""


class Pusher:
    """Sends parts of images to one repository. What dxf does for one request is not public, and has no types."""

    def __init__(
        self,
        registries: Registries,
        reference: Reference,
        told: Callable[[int], None],
        before_last: Callable[[], None] = lambda: None,
    ) -> None:
        """Send to the registry of the name itself, whatever mirrors there are for it.

        :param told: bytes that have been sent, or were there, in all
        :param before_last: called before the registry is told that a blob is complete; what it raises, ends the push
        """
        self.sent = 0
        self._registries = registries
        self._reference = reference.normalised()
        self._told = told
        self._before_last = before_last
        self._before = 0

    def has(self, digest: str, size: int) -> bool:
        """Whether the registry has a blob.

        :raises RemoteError: the registry refuses, or does not answer
        """
        return bool(self._ask(lambda repository: _has(repository, digest, size)))

    def blob(self, blob: Blob) -> None:
        """Send a blob, unless it is there.

        :raises RemoteError: the registry refuses, or fails again and again
        """
        if not self.has(blob.digest, blob.size):
            self._ask(lambda repository: self._send(repository, blob))
        self._before += blob.size
        self._told(self._before)

    def manifest(self, content: bytes, media_type: str, tag: str | None) -> Manifest:
        """Store a manifest, under a tag or its digest alone.

        :raises RemoteError: the registry refuses, or fails
        """
        manifest = Manifest(f"sha256:{hashlib.sha256(content).hexdigest()}", content)
        headers = {"Content-Type": media_type}
        path = f"manifests/{tag or manifest.digest}"
        self._ask(lambda repository: repository._request("put", path, data=content, headers=headers))
        return manifest

    def _ask(self, ask: Callable[[Any], Any]) -> Any:
        with errors(str(self._reference)):
            return ask(self._registries.repository(self._reference))

    def _send(self, repository: Any, blob: Blob) -> None:
        """Send a blob; whatever breaks, go on with what the registry says that it has."""
        import requests

        upload: _Upload | None = None
        failures, best = 0, 0
        while True:
            try:
                if failures and _has(repository, blob.digest, blob.size):  # the answer was lost, not the blob
                    return
                upload = self._resumed(repository, upload) if upload and failures else upload or _begun(repository)
                self._send_rest(repository, blob, upload)
                self._before_last()
                _finish(repository, blob, upload)
                return
            except (_Lost, requests.RequestException) as error:
                failures = 1 if upload and upload.at > best else failures + 1
                if failures >= _ATTEMPTS or not _may_pass(error):
                    raise _given_up(error, self._reference) from None
                best = max(best, upload.at if upload else 0)
                upload = None if isinstance(error, _Lost) else upload
                time.sleep(_pause(error, failures))

    def _send_rest(self, repository: Any, blob: Blob, upload: _Upload) -> None:
        while upload.at < blob.size:
            size = min(max(_PIECE, upload.smallest), blob.size - upload.at)
            start = upload.at
            piece = _Piece(blob.content, start, size, partial(self._count, start))
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{start}-{start + size - 1}",
            }
            answer = _request(repository, "patch", upload.address, data=piece, headers=headers, timeout=_patience(size))
            _follow(repository, upload, answer, start + size)
            self.sent += upload.at - start

    def _resumed(self, repository: Any, upload: _Upload) -> _Upload:
        """Ask how much has arrived; of the piece that broke off, some may have."""
        known = upload.at
        _follow(repository, upload, _request(repository, "get", upload.address), 0)
        self.sent += max(0, upload.at - known)
        return upload

    def _count(self, start: int, done: int) -> None:
        self._told(self._before + start + done)


class _Piece:
    """Part of a blob as the body of a request, which can be sent again."""

    def __init__(self, content: Path | bytes, start: int, size: int, told: Callable[[int], None]) -> None:
        self._content = content
        self._start = start
        self._size = size
        self._told = told

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        if isinstance(self._content, bytes):
            yield self._content[self._start : self._start + self._size]
            return
        left = self._size
        with self._content.open("rb") as file:
            file.seek(self._start)
            while left and (block := file.read(min(left, _BLOCK))):
                yield block
                left -= len(block)
                self._told(self._size - left)


def _has(repository: Any, digest: str, size: int) -> bool:
    import requests

    try:
        answer = repository._request("head", f"blobs/{digest}")
    except requests.HTTPError as error:
        if error.response.status_code == 404:
            return False
        raise
    return int(answer.headers.get("Content-Length", size)) == size


def _begun(repository: Any) -> _Upload:
    answer = repository._request("post", "blobs/uploads/", headers={"Content-Length": "0"})
    upload = _Upload("")
    smallest = answer.headers.get("OCI-Chunk-Min-Length", "")
    upload.smallest = int(smallest) if smallest.isdecimal() else 0
    _follow(repository, upload, answer, 0)
    return upload


def _finish(repository: Any, blob: Blob, upload: _Upload) -> None:
    """Have the registry compare the digest, and put the blob in its place, which may mean to copy it."""
    address = f"{upload.address}{'&' if urlsplit(upload.address).query else '?'}{urlencode({'digest': blob.digest})}"
    headers = {"Content-Type": "application/octet-stream"}
    _request(repository, "put", address, data=b"", headers=headers, timeout=_patience(blob.size))


def _patience(size: int) -> tuple[float, float]:
    """Seconds to connect, and to wait for the answer about so many bytes."""
    return TIMEOUT, TIMEOUT + size / _SLOWEST


def _request(repository: Any, method: str, address: str, **content: Any) -> requests.Response:
    """A request about an upload."""
    import requests

    try:
        answer: requests.Response = repository._base_request(method, address, **content)
    except requests.HTTPError as error:
        if error.response.status_code in _LOST:
            raise _Lost(f"the registry answers with status {error.response.status_code}") from None
        raise
    return answer


def _follow(repository: Any, upload: _Upload, answer: requests.Response, sent: int) -> None:
    """Take in where the registry wants more, and how much it has.

    :param sent: the bytes that it should have, in case that it does not say
    """
    if location := answer.headers.get("Location"):
        upload.address = _at_the_same_host(repository, location)
    match = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("Range", ""))
    # An upload without a byte has the range 0-0, too.
    upload.at = (int(match[1]) + 1 if int(match[1]) else 0) if match else sent


def _at_the_same_host(repository: Any, location: str) -> str:
    """Where to send to; a registry behind a proxy may not know its own scheme.

    :raises RemoteError: elsewhere, where the credentials have no business
    """
    ours = urlsplit(repository._base_url)
    theirs = urlsplit(urljoin(repository._base_url, location))
    if theirs.hostname != ours.hostname:
        raise RemoteError(f"{ours.netloc}: the registry wants blobs to be sent to another host, {theirs.netloc}")
    return str(urlunsplit(theirs._replace(scheme=ours.scheme)))


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may do better."""
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response.status_code in _TRANSIENT
    permanent = (requests.exceptions.SSLError, requests.exceptions.ProxyError, requests.exceptions.InvalidURL)
    return not isinstance(error, permanent)


def _pause(error: Exception, failures: int) -> float:
    """Seconds to wait: longer each time, or as long as the registry asks for."""
    response = getattr(error, "response", None)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(asked), _LONGEST_PAUSE) if asked.isdecimal() else _PAUSE * float(2 ** (failures - 1))


def _given_up(error: Exception, reference: Reference) -> Exception:
    if isinstance(error, _Lost):
        return RemoteError(f"{reference}: the registry does not take what is sent: {error}")
    return error
