"""A root file system as a container image: the seed of it all is ``docker import - NAME:TAG < X.tar``."""

from __future__ import annotations

from pathlib import Path

from diskimage_create import process
from diskimage_create.errors import CommandFailed, RemoteError


def import_archive(archive: Path, target: str) -> str:
    """Import a tar archive into the local docker daemon as ``NAME:TAG``; returns the image's id.

    :raises RemoteError: the daemon refused, or does not run
    """
    try:
        return process.run(["docker", "import", archive, target]).stdout.strip()
    except CommandFailed as error:
        hint = "is the docker daemon running, and may you use it? 'docker version' tells"
        raise RemoteError(f"docker import to {target} failed: {error.message}", hint) from None
