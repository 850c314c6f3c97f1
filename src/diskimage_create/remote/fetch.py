"""Remote files, and the state that they are in, asked with conditional requests.

What is kept of an answer lies under the cache directory in ``remote/``: the validators of
HTTP (RFC 9110, 8.8) and the digest of the content. Neither there nor in an error is an
address, and credentials are in no request but those to the host that they are for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from diskimage_create.host import ca_bundle

if TYPE_CHECKING:
    import requests

#: Seconds to connect, to wait for more of an answer, and for all of it
_CONNECT, _READ, _TOTAL = 5.0, 10.0, 20.0
#: Bytes of a file that is read to know its state; of a larger one the server's word is taken
_SMALL = 16 * 2**20
_CHUNK = 2**16
#: Object stores answer 403 where nothing is
_MISSING = frozenset({403, 404, 410})
_SCHEMA = 1


class Unanswered(Exception):
    """A remote file's state cannot be known; the message says why, without an address."""


class Missing(Unanswered):
    """There is no such file."""


def digest(url: str, environment: Mapping[str, str], cache: Path) -> str:
    """``sha256:...`` of a remote file's content; of a large file's validators.

    :param url: http, https or file; may hold credentials
    :param environment: names proxies, and the CA certificates to trust
    :param cache: the cache directory
    :raises Unanswered: the server does not answer, or not with the file
    """
    if _scheme(url) == "file":
        return _sha256(_local(url))
    memory = cache / "remote" / f"{hashlib.sha256(_without_credentials(url).encode()).hexdigest()}.json"
    known = _recall(memory)
    with _answer(url, environment, known) as response:
        if response.status_code == 304 and known:
            return str(known["digest"])
        _expect_content(response)
        found = _digest_of(response)
        _remember(memory, {"schema": _SCHEMA, "digest": found, **_validators(response)})
    return found


def content(url: str, environment: Mapping[str, str]) -> bytes:
    """A small remote file.

    :raises Unanswered: the server does not answer, or not with the file
    """
    if _scheme(url) == "file":
        return _local(url)
    with _answer(url, environment, {}) as response:
        _expect_content(response)
        if (read := _read_small(response)) is None:
            raise Unanswered("it is larger than such a file is")
        return read


@contextmanager
def _answer(url: str, environment: Mapping[str, str], known: Mapping[str, Any]) -> Iterator[requests.Response]:
    """The server's answer; whatever goes wrong while it is read is ``Unanswered``."""
    import requests

    # As apt does, a proxy's memory is not believed; and content is compared as it is stored, not as it is packed.
    headers = {"Accept-Encoding": "identity", "Cache-Control": "max-age=0"}
    headers |= {name: known[key] for name, key in _CONDITIONS if known.get(key)}
    try:
        with requests.Session() as session:
            session.trust_env = False  # the build knows no netrc either
            with session.get(
                _without_credentials(url),
                auth=_credentials(url),
                headers=headers,
                proxies=_proxies(url, environment),
                stream=True,
                timeout=(_CONNECT, _READ),
                verify=_verify(environment),
            ) as response:
                yield response
    except requests.Timeout:
        raise Unanswered("the server does not answer in time") from None
    except requests.exceptions.SSLError:
        raise Unanswered("the server's certificate is not accepted") from None
    except requests.exceptions.ProxyError:
        raise Unanswered("the proxy does not let us through") from None
    except requests.ConnectionError:
        raise Unanswered("the server cannot be reached") from None
    except (requests.RequestException, OSError, ValueError):  # all of them quote the address
        raise Unanswered("the server cannot be asked") from None


_CONDITIONS = (("If-None-Match", "etag"), ("If-Modified-Since", "last_modified"))


def _validators(response: requests.Response) -> dict[str, str]:
    found = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
    return {name: value for name, value in found.items() if value}


def _expect_content(response: requests.Response) -> None:
    if response.status_code != 200:
        kind = Missing if response.status_code in _MISSING else Unanswered
        raise kind(f"the server answers with status {response.status_code}")


def _digest_of(response: requests.Response) -> str:
    if (read := _read_small(response)) is not None:
        return _sha256(read)
    if not (validators := _validators(response)):
        raise Unanswered("it is large, and the server does not tell its versions apart")
    validators["length"] = response.headers.get("Content-Length", "")
    return _sha256(json.dumps(validators, sort_keys=True).encode())


def _read_small(response: requests.Response) -> bytes | None:
    """The content, or None where it is more than a small file holds."""
    deadline = time.monotonic() + _TOTAL
    read = bytearray()
    for chunk in response.iter_content(_CHUNK):
        read += chunk
        if len(read) > _SMALL:
            return None
        if time.monotonic() > deadline:
            raise Unanswered("the server does not answer in time")
    return bytes(read)


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _scheme(url: str) -> str:
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        raise Unanswered("its address is none") from None
    if scheme not in ("http", "https", "file"):
        raise Unanswered("only http, https and file can be asked")
    return scheme


def _local(url: str) -> bytes:
    path = Path(unquote(urlsplit(url).path))
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Missing("there is no such file") from None
    except OSError as error:
        raise Unanswered(f"the file cannot be read: {error.strerror}") from None


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _credentials(url: str) -> tuple[str, str] | None:
    """The user and password of an address; a token alone is a user, as for curl."""
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    name, _, password = user.partition(":")
    return (unquote(name), unquote(password)) if at else None


def _proxies(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The proxies that the build itself would ask through."""

    def value(name: str) -> str:
        return environment.get(name) or environment.get(name.upper()) or ""

    if _is_exempt(urlsplit(url).hostname or "", value("no_proxy")):
        return {}
    return {scheme: value(f"{scheme}_proxy") for scheme in ("http", "https") if value(f"{scheme}_proxy")}


def _is_exempt(host: str, no_proxy: str) -> bool:
    """Whether the host is asked without a proxy: by its name, that of its domain, or ``*``, as for curl."""
    names = [name.strip().lower().lstrip(".") for name in no_proxy.split(",") if name.strip()]
    return any(name == "*" or f".{host}".endswith(f".{name}") for name in names)


def _verify(environment: Mapping[str, str]) -> str | bool:
    """The CA certificates to trust: those lent to the build, or the host's."""
    named = environment.get("DISKIMAGE_CREATE_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
    if named and Path(named).is_file():
        return named
    bundle = ca_bundle(os.environ)
    return str(bundle) if bundle else True


def _recall(path: Path) -> dict[str, Any]:
    """What an earlier answer said; nothing where the file is not as we write it."""
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict) or known.get("schema") != _SCHEMA:
        return {}
    texts = [known.get("digest"), known.get("etag", ""), known.get("last_modified", "")]
    if not all(isinstance(text, str) and text.isprintable() and text.isascii() for text in texts):
        return {}
    return known if re.fullmatch(r"sha256:[0-9a-f]{64}", known["digest"]) else {}


def _remember(path: Path, known: Mapping[str, Any]) -> None:
    """Keep it for the next time; a cache that cannot be written costs a longer answer then, no more."""
    if not (known.get("etag") or known.get("last_modified")):
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False) as file:
            try:
                json.dump(known, file)
                file.close()
                os.replace(file.name, path)
            except OSError:
                os.unlink(file.name)
                raise
