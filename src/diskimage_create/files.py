"""Files that are never there half-written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from diskimage_create.errors import InputError, Problem


def write(path: str | Path, text: str, where: str = "--output") -> None:
    """Write a file under a name of its own, and rename it when it is complete.

    :param where: the option that named it
    :raises InputError: it cannot be written there
    """
    target = Path(path)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=".", delete=False, encoding="utf-8") as file:
            temporary = file.name
            file.write(text)
        mask = os.umask(0o022)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except OSError as error:
        if temporary:
            os.unlink(temporary)
        raise InputError([Problem(f"{path} cannot be written: {error.strerror}", where, "name another file")]) from None
