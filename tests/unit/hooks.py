"""Running a hook of ours on the host, with a sudo that needs no privilege."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from diskimage_create.elements import OURS


def plain_sudo(directory: Path) -> Path:
    """Make a sudo that just runs its command; returns the directory for PATH that it is in."""
    program = directory / "bin/sudo"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nexec "$@"\n')
    program.chmod(0o755)
    return program.parent


def run_hook(hook: str, sudo: Path, **variables: str) -> None:
    """Run ``ELEMENT/PHASE.d/HOOK``, which must succeed."""
    environment = {"PATH": f"{sudo}:{os.environ['PATH']}", **variables}
    done = subprocess.run([OURS / hook], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
