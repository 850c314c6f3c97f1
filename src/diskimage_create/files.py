"""Files that are never there half-written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from diskimage_create.errors import InputError, Problem

#: How the names of directories begin that are there for a moment, or were left when their program was killed
TEMPORARY = ".diskimage-create-"


def existing(path: Path) -> Path:
    """A directory, or the nearest one above it that there is: whose file system it will be on."""
    return next(parent for parent in (path, *path.parents) if parent.exists())


def refuse_unwritable(path: str | Path, where: str = "--output") -> None:
    """Tell before long work that its result could not be written.

    :param where: the option that named the file
    :raises InputError: there is no such directory, it may not be written to, or it is a directory itself
    """
    target = Path(os.path.realpath(path))
    if os.path.isdir(target):
        raise _unwritable(path, errno.EISDIR, where)
    if not os.path.isdir(target.parent):
        raise _unwritable(path, errno.ENOTDIR if os.path.exists(target.parent) else errno.ENOENT, where)
    if not _is_special(Path(path)) and not os.access(target.parent, os.W_OK | os.X_OK):
        raise _unwritable(path, errno.EACCES, where)


def _unwritable(path: str | Path, number: int | None, where: str) -> InputError:
    reason = os.strerror(number) if number else "it is no place for a file"
    return InputError([Problem(f"{path} cannot be written: {reason}", where, "name another file")])


def _is_special(path: Path) -> bool:
    """Whether it is a pipe or a device, such as ``/dev/null``: these are written to, and never replaced."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def write(path: str | Path, text: str | bytes, where: str = "--output", *, private: bool = False) -> None:
    """Write a file under a name of its own, and rename it when it is complete.

    A link stays one: what it leads to is replaced. Pipes and devices are written to.

    :param where: the option that named it
    :param private: nobody else may read it
    :raises InputError: it cannot be written there
    """
    target = Path(os.path.realpath(path))
    temporary = ""
    try:
        if _is_special(Path(path)):
            Path(path).write_bytes(_encoded(text))
            return
        with tempfile.NamedTemporaryFile("wb", dir=target.parent, prefix=TEMPORARY, delete=False) as file:
            temporary = file.name
            file.write(_encoded(text))
        if not private:  # as which it was made
            mask = os.umask(0o022)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException as error:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
        if not isinstance(error, OSError):
            raise
        raise _unwritable(path, error.errno, where) from None


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def backup_of(path: Path) -> Path:
    """The name that :func:`keep` gives what is there."""
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path
    return target.with_name(f"{target.name}.backup")


def keep(path: Path, where: str = "--output") -> Path | None:
    """Give what a file holds now the name ``FILE.backup`` besides; None: there is no such file.

    :param where: the option that named it
    :raises InputError: that name cannot be given
    """
    if not os.path.isfile(path):
        return None
    backup = backup_of(path)
    try:
        with tempfile.TemporaryDirectory(dir=backup.parent, prefix=TEMPORARY) as temporary:
            # A link, and no copy: what is there keeps its owner and mode, and the file is there all the time.
            os.link(os.path.realpath(path), Path(temporary) / "link")
            os.replace(Path(temporary) / "link", backup)
    except OSError as error:
        message = f"{path} cannot be kept as {backup.name}: {error.strerror}"
        raise InputError([Problem(message, where, "name another file")]) from None
    return backup


def write_all(
    directory: Path, texts: Mapping[str, str | bytes], obsolete: Iterable[str] = (), where: str = "--output"
) -> None:
    """Write files of a directory: all of them, or none.

    They are complete, under names of their own, before the first one gets its name.

    :param directory: made where there is none
    :param texts: by the file's name
    :param obsolete: names of files that are removed
    :param where: the option that named the directory
    :raises InputError: they cannot be written there
    """
    made = not os.path.exists(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if taken := [name for name in texts if os.path.isdir(directory / name)]:
            raise IsADirectoryError(0, f"{taken[0]} is a directory")
        with tempfile.TemporaryDirectory(dir=directory, prefix=TEMPORARY) as temporary:
            for name, text in texts.items():
                (Path(temporary) / name).write_bytes(_encoded(text))
            for name in texts:
                os.replace(Path(temporary) / name, directory / name)
            for name in obsolete:
                (directory / name).unlink(missing_ok=True)
    except OSError as error:
        if made:
            with suppress(OSError):
                directory.rmdir()
        message = f"{directory} cannot be written: {error.strerror}"
        raise InputError([Problem(message, where, "name another directory")]) from None
