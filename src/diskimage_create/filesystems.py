"""Object stores and file systems behind URLs, through fsspec."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from diskimage_create.errors import DiskImageError, HostError, InputError, Problem, RemoteError

#: Protocols of this host's own files
LOCAL = frozenset({"file", "local"})
#: Those of object stores: an object appears when it is whole, and there are no directories
STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci"})
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

    local = local_path(url)
    try:
        yield url_to_fs(str(local) if local else url, use_listings_cache=False, skip_instance_cache=True, **settings)
    except (DiskImageError, OSError):
        raise
    except Exception as error:
        raise RemoteError(f"{type(error).__name__}: {error}", _hint(error)) from None


def make_directory(system: Any, path: str, *, private: bool = False) -> None:
    """Make a directory, where there are directories: a bucket that is not there is a mistake.

    :param system: of fsspec
    :param private: who has nothing to do with the directory above does not read a new one, where there are permissions
    """
    if _is_store(system) or system.exists(path):
        return
    system.makedirs(path, exist_ok=True)
    if private and LOCAL & _protocols(system):
        above = os.stat(os.path.dirname(path)).st_mode  # its group may be that of the workers
        os.chmod(path, stat.S_IMODE(above) & 0o2770)


@contextmanager
def renamed(system: Any, path: str) -> Iterator[str]:
    """A path to write a file to, which gets its name when it is whole.

    :param system: of fsspec
    """
    if _is_store(system):
        yield path
        return
    new = f"{path}.{uuid.uuid4().hex}"
    try:
        yield new
        system.mv(new, path)
    except BaseException:
        with suppress(OSError):
            system.rm(new)
        raise


def _is_store(system: Any) -> bool:
    return bool(STORES & _protocols(system))


def _protocols(system: Any) -> set[str]:
    return {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)


def _hint(error: Exception) -> str | None:
    """Of the errors that users meet first."""
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    return None
