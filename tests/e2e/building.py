"""Running the command line for real, and looking for what it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "diskimage_create"]
#: Long enough for a slow machine; a build that hangs fails
PATIENCE = 1200


@dataclass(frozen=True)
class Built:
    """The result of one run of the command line."""

    directory: Path
    stdout: str
    stderr: str
    returncode: int

    @property
    def name(self) -> str:
        return "amphora-x64-haproxy"

    def path(self, extension: str = "qcow2") -> Path:
        return self.directory / f"{self.name}.{extension}"

    @property
    def log(self) -> str:
        return self.path("log").read_text()

    def record(self, extension: str = "qcow2") -> dict[str, Any]:
        return json.loads(self.path(f"{extension}.json").read_text())


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This machine's environment without what would change an image."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DIB_", "DISKIMAGE_", "ELEMENTS_"))
    }
    return {**kept, **(extra or {})}


def run_build(directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Built:
    """Build an amphora in a directory; the package cache is shared by all builds of the run."""
    cache = directory.parent / "cache"
    command = [*COMMAND, "--cache-dir", str(cache), *arguments]
    done = subprocess.run(
        command,
        cwd=directory,
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Built(directory, done.stdout, done.stderr, done.returncode)


def leftovers() -> set[str]:
    """What a build must not leave: mounts, loop devices, temporary directories."""
    mounts = {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()}
    loops = {path.parent.parent.name for path in Path("/sys/block").glob("loop*/loop/backing_file")}
    temporary = {
        str(path)
        for pattern in ("diskimage-*", "dib_*", "profiledir.*")
        for path in Path(os.environ.get("TMPDIR", "/tmp")).glob(pattern)
    }
    return mounts | loops | temporary
