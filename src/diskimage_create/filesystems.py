"""Object stores and file systems behind URLs, through fsspec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from diskimage_create.errors import DiskImageError, HostError, InputError, Problem, RemoteError

#: Protocols of this host's own files
LOCAL = frozenset({"file", "local"})
_EXTRAS = MappingProxyType({"s3": "pip install 'diskimage-create[s3]'"})


def protocol(url: str) -> str:
    """``s3`` of ``s3://bucket/path``."""
    return url.partition("://")[0].lower()


def refuse_password(url: str) -> None:
    """Say so when there is a password in a URL; it is not told.

    :raises InputError: there is one, or it is no URL
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError([Problem(f"it is no URL: {error}", url.rpartition("@")[2])]) from None
    user, at, host = parts.netloc.rpartition("@")
    if at and ":" in user:
        where = f"{parts.scheme}://{host}{parts.path}"
        hint = "use a key, or the protocol's own settings"
        raise InputError([Problem("a password has no place in a URL, where others see it", where, hint)])


def refuse(url: str) -> None:
    """Say what is wrong with a URL as such; a password in it is not told.

    :raises InputError: there is a password in it, nobody knows such URLs, or it names no place
    """
    refuse_password(url)
    parts = urlsplit(url)
    if not is_known(protocol(url)):
        hint = "use s3://, sftp://, another protocol of fsspec, or a directory"
        raise InputError([Problem(f"{protocol(url)}:// is no place for images", url, hint)])
    if protocol(url) in LOCAL and parts.netloc not in ("", "localhost"):
        hint = f"a file of this host has three slashes: {protocol(url)}:///{parts.netloc}{parts.path}"
        raise InputError([Problem(f"{parts.netloc} is another host", url, hint)])
    if not (parts.netloc + parts.path).strip("/"):
        raise InputError([Problem("it names no place", url)])


def local_path(url: str) -> Path | None:
    """The path of a ``file:`` URL (RFC 8089); None of any other."""
    if protocol(url) not in LOCAL:
        return None
    return Path(unquote(urlsplit(f"file://{url.partition('://')[2]}").path))


def is_known(name: str) -> bool:
    """Whether fsspec knows a protocol, with or without the library that it needs."""
    from fsspec import get_filesystem_class

    try:
        get_filesystem_class(name)
    except ValueError:
        return False
    except ImportError:  # which is known to have a library of its own
        pass
    return True


def require(url: str) -> None:
    """Say so when this host cannot go there; asks nobody.

    :raises HostError: a library is missing
    """
    from fsspec import get_filesystem_class

    try:
        get_filesystem_class(protocol(url))
    except ImportError as error:
        raise HostError(f"{url}: {error}", _EXTRAS.get(protocol(url))) from None


@contextmanager
def opened(url: str, settings: Mapping[str, Any] = MappingProxyType({})) -> Iterator[tuple[Any, str]]:
    """The file system behind a URL, and the path in it.

    :param settings: what fsspec is told besides the user's own settings (its configuration files and environment)
    :raises RemoteError: whatever the libraries of a protocol say, each in its own way
    """
    from fsspec.core import url_to_fs

    try:
        yield url_to_fs(url, use_listings_cache=False, skip_instance_cache=True, **settings)
    except (DiskImageError, OSError):
        raise
    except Exception as error:
        raise RemoteError(f"{type(error).__name__}: {error}", _hint(error)) from None


def _hint(error: Exception) -> str | None:
    """Of the errors that users meet first."""
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    return None
