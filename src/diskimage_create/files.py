"""Files that are never there half-written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from diskimage_create.errors import InputError, Problem


def write(path: str | Path, text: str, where: str = "--output", *, private: bool = False) -> None:
    """Write a file under a name of its own, and rename it when it is complete.

    :param where: the option that named it
    :param private: nobody else may read it
    :raises InputError: it cannot be written there
    """
    complain(path, where)
    target = Path(path).resolve()  # of a link, what it leads to
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=".", delete=False, encoding="utf-8") as file:
            temporary = file.name
            file.write(text)
        if not private:  # as which it was made
            mask = os.umask(0o022)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except OSError as error:
        if temporary:
            os.unlink(temporary)
        raise InputError([Problem(f"{path} cannot be written: {error.strerror}", where, "name another file")]) from None


def complain(path: str | Path, where: str = "--output") -> None:
    """Complain of a place that no file can be written to, before there is anything to write.

    A file takes the place of what is there: that must be one, too, and not e.g. ``/dev/stdout``.

    :param where: the option that named it
    :raises InputError: there is something else, or no directory to write it to
    """
    target = Path(path).resolve()
    if Path(path).is_dir():
        why = "it is a directory"
    elif Path(path).exists() and not Path(path).is_file():
        why = "it is no file"
    elif not (target.parent.is_dir() and os.access(target.parent, os.W_OK)):
        why = f"{target.parent} is no directory that can be written to"
    else:
        return
    raise InputError([Problem(f"{path} cannot be written: {why}", where, "name another file")])


def backup_of(path: Path) -> Path:
    """The name that :func:`keep` gives what is there."""
    target = path.resolve()
    return target.with_name(f"{target.name}.backup") if path.is_symlink() else path.with_name(f"{path.name}.backup")


def keep(path: Path, where: str = "--output") -> Path | None:
    """Give what a file holds now the name ``FILE.backup`` besides; None: there is no such file.

    :param where: the option that named it
    :raises InputError: that name cannot be given
    """
    if not path.is_file():
        return None
    backup = backup_of(path)
    try:
        with tempfile.TemporaryDirectory(dir=backup.parent, prefix=".") as temporary:
            # A link, and no copy: what is there keeps its owner and mode, and the file is there all the time.
            os.link(path.resolve(), Path(temporary) / "link")
            os.replace(Path(temporary) / "link", backup)
    except OSError as error:
        message = f"{path} cannot be kept as {backup.name}: {error.strerror}"
        raise InputError([Problem(message, where, "name another file")]) from None
    return backup


def write_all(directory: Path, texts: Mapping[str, str], obsolete: Iterable[str] = (), where: str = "--output") -> None:
    """Write files of a directory: all of them, or none.

    They are complete, under names of their own, before the first one gets its name.

    :param directory: made where there is none
    :param texts: by the file's name
    :param obsolete: names of files that are removed
    :param where: the option that named the directory
    :raises InputError: they cannot be written there
    """
    made = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if taken := [name for name in texts if (directory / name).is_dir()]:
            raise IsADirectoryError(0, f"{taken[0]} is a directory")
        with tempfile.TemporaryDirectory(dir=directory, prefix=".") as temporary:
            for name, text in texts.items():
                (Path(temporary) / name).write_text(text, encoding="utf-8")
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
