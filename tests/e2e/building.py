"""Running the command line for real, and looking for what it left."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "diskimage_create"]
#: What two builds of the same image share
REPRODUCIBLE = {"SOURCE_DATE_EPOCH": "1700000000"}
#: Long enough for a slow machine; a build that hangs fails
PATIENCE = 1200
#: Where all commands of this run make their temporary files
SCRATCH = Path(tempfile.mkdtemp(prefix="e2e-"))
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)


@dataclass(frozen=True)
class Built:
    """The result of one run of the command line."""

    directory: Path
    stdout: str
    stderr: str
    returncode: int
    name: str = "amphora-x64-haproxy"

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
    return {**kept, "TMPDIR": str(SCRATCH), **(extra or {})}


def command(directory: Path, *arguments: str) -> list[str]:
    """The command line that builds in a directory; packages and the store are shared by all builds of the run."""
    return [*COMMAND, "--cache-dir", str(directory.parent / "cache"), *arguments]


def run_build(
    directory: Path, *arguments: str, env: Mapping[str, str] | None = None, within: Sequence[str] = ()
) -> Built:
    """Build an amphora in a directory.

    :param within: a command that runs this one
    """
    done = subprocess.run(
        [*within, *command(directory, *arguments)],
        cwd=directory,
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Built(directory, done.stdout, done.stderr, done.returncode)


def start_build(directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Begin to build; what it prints is to be read."""
    pipe = subprocess.PIPE
    environment = clean_environment(env)
    return subprocess.Popen(
        command(directory, *arguments), cwd=directory, env=environment, stdout=pipe, stderr=pipe, text=True
    )


def stop_build(
    directory: Path,
    step: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    signum: signal.Signals = signal.SIGINT,
    ready: Callable[[], object] | None = None,
) -> Built:
    """Build until a step has begun, and then send a signal.

    :param step: phase and script, as they are printed
    :param ready: what has to be true, too, before the signal is sent; by default the step goes on for a moment
    """
    over = threading.Event()

    def stop() -> None:
        if ready is None:
            over.wait(0.7)
        while ready and not ready() and not over.wait(0.01):
            pass
        build.send_signal(signum)

    printed = []
    with start_build(directory, *arguments, env=env) as build:
        assert build.stderr is not None
        watchdog = threading.Timer(PATIENCE, build.kill)
        watchdog.start()
        for line in build.stderr:
            printed.append(line)
            if step in line:
                threading.Thread(target=stop).start()
        over.set()
        watchdog.cancel()
    return Built(directory, "", "".join(printed), build.returncode)


def leftovers() -> set[str]:
    """What builds of this run have left: mounts, loop devices, temporary files. Others may build beside it."""
    here = str(SCRATCH)
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    loops = {path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file")}
    held = {name for name in mounts | loops if name.startswith(here)}
    return held | {str(path) for path in SCRATCH.iterdir()}
