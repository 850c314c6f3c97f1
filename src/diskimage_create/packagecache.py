"""Debian packages that builds have downloaded: shared by all, and yet each build has a directory of its own.

apt locks the directory that it downloads to, and fails when somebody else has the lock. So a build gets links to the
packages that are there, and what it adds is linked back when it ends.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from diskimage_create import process
from diskimage_create.locks import locked
from diskimage_create.mounts import afterwards

#: For the element build-host
VARIABLE = "DISKIMAGE_CREATE_APT_ARCHIVES"
_PREFIX = ".build-"
#: How long one may need from making a directory to locking it
_TO_LOCK_SECONDS = 60.0


@contextmanager
def own_archives(cache_dir: Path, distribution: str) -> Iterator[Mapping[str, str]]:
    """The directory of one build, as variables for it.

    :param cache_dir: diskimage-builder's, in which its element dpkg has ``apt/DISTRIBUTION``
    """
    shared = cache_dir / "apt" / distribution
    shared.mkdir(parents=True, exist_ok=True)
    _sweep(shared.parent)
    own = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=shared.parent))
    with locked(own, fcntl.LOCK_EX | fcntl.LOCK_NB), afterwards(lambda: _give_back(own, shared)):
        own.chmod(0o755)  # apt downloads as a user of its own
        _link(shared, own)
        yield {VARIABLE: str(own)}


def _give_back(own: Path, shared: Path) -> None:
    _link(own, shared)
    process.remove_tree(own)


def _link(source: Path, target: Path) -> None:
    """Link the packages of one directory into another one; not those that are there already."""
    there = set(os.listdir(target))
    if packages := [path for path in source.glob("*.deb") if path.name not in there]:
        # Root has downloaded them, and nobody may link what belongs to others.
        command = [
            "cp",
            "--archive",
            "--link",
            "--no-clobber",
            "--target-directory",
            str(target),
            "--",
            *map(str, packages),
        ]
        process.run(process.privileged(command), expect=(0, 1))  # 1: another build has added one meanwhile


def _sweep(parent: Path) -> None:
    """Remove the directories of builds that were killed."""
    for path in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            # One that is just being made is not locked yet.
            if time.time() - path.stat().st_mtime > _TO_LOCK_SECONDS:
                with locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    process.remove_tree(path)
