"""Two hundred short jobs on four workers, two of which are killed at random times and started again.

    python bench/farm_kills.py [--jobs N] [--seed N]

A short job is an image that is stored already: a process plans it, takes it from the store, and it is published under a
name of its own. Scheduler and workers are processes on loopback; SIGKILL ends a worker in the middle of a job.

Goal: 200 results, none twice, and nothing left: no process, mount, loop device, or file of a job.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from common import table

OURS = [sys.executable, "-m", "diskimage_create"]
WORKERS = 4


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=9)
    arguments = parser.parse_args()
    randomly = random.Random(arguments.seed)
    kills = sorted(randomly.sample(range(10, arguments.jobs - 10), 2))
    with tempfile.TemporaryDirectory(prefix="bench-farm-") as work, ExitStack() as stack:
        farm = Farm(Path(work), stack)
        farm.build(["image-0"])  # and store it
        started, results = time.monotonic(), Counter[str]()
        with farm.client([f"image-{number}" for number in range(1, arguments.jobs + 1)]) as client:
            assert client.stdout is not None
            for line in client.stdout:
                results[line.rpartition("/")[2].strip()] += 1
                if kills and results.total() == kills[0]:
                    kills.pop(0)
                    time.sleep(randomly.uniform(0, 2))
                    farm.kill(randomly.randrange(WORKERS))
        took = time.monotonic() - started
        assert client.returncode == 0, (farm.work / "client.log").read_text()[-3000:]
        published = Counter(re.findall(r"(image-\d+)\.tgz: published", farm.logs()))
        listed = json.loads((farm.work / "artifacts/index.json").read_text())["images"]
        farm.stop()
        left = farm.left()
    rows: list[tuple[object, ...]] = [("", "measured", "asked")]
    rows += [("results", len(results), arguments.jobs), ("results twice", sum(n > 1 for n in results.values()), 0)]
    rows += [("published twice", sum(n > 1 for n in published.values()), 0)]
    rows += [("in the index", len(listed) - 1, arguments.jobs), ("left", len(left), 0)]
    rows += [("seconds", f"{took:.0f}", ""), ("jobs begun again", farm.begun - arguments.jobs - 1, "")]
    print(table(rows), *left, sep="\n")


class Farm:
    """The processes, each with directories of its own."""

    def __init__(self, work: Path, stack: ExitStack) -> None:
        self.work = work
        self.begun = 0
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        stack.callback(self.stop)
        dask = Path(sys.executable).with_name("dask")
        where = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        self._scheduler = self._start("scheduler", [str(dask), "scheduler", *where])
        self._workers = [self._worker(number) for number in range(WORKERS)]
        while self.logs().count(" works for ") < WORKERS:
            time.sleep(0.1)

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.work / f"{name}.log").open("a") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(self.work)})

    def _worker(self, number: int) -> subprocess.Popen[bytes]:
        places = ("-c", str(self.work / f"cache-{number}"), "-w", str(self.work / f"work-{number}"))
        return self._start(f"worker-{number}", [*OURS, "worker", self.address, *places, "--name", f"w{number}"])

    def client(self, names: list[str]) -> subprocess.Popen[str]:
        """Ask for images of these names; its standard output has a line for each that is there."""
        config = self.work / "images.yaml"
        same = "profile: base, os: debian-minimal, release: trixie, type: tgz"
        config.write_text("disk_images:\n" + "".join(f"  - {{imagename: {name}, {same}}}\n" for name in names))
        command = [*OURS, "--config", str(config), "--scheduler", self.address]
        command += ["--artifacts", f"file://{self.work}/artifacts", "-c", str(self.work / "cache-client")]
        small = {**os.environ, "DIB_ELEMENTS": "debian-minimal"}
        with (self.work / "client.log").open("a") as log:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=self.work, env=small)

    def build(self, names: list[str]) -> None:
        """Build images of these names."""
        with self.client(names) as client:
            client.communicate()
        assert client.returncode == 0, (self.work / "client.log").read_text()[-3000:]

    def kill(self, number: int) -> None:
        """Let a worker die, and start it again."""
        self._workers[number].kill()
        self._workers[number].wait()
        self._workers[number] = self._worker(number)

    def logs(self) -> str:
        """What the workers have said."""
        return "".join(path.read_text() for path in self.work.glob("worker-*.log"))

    def stop(self) -> None:
        """End all."""
        self.begun = len(re.findall(r"image-\d+: begins", self.logs()))
        for process in (*self._workers, self._scheduler):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(120)

    def left(self) -> list[str]:
        """What jobs have left."""
        work, found = str(self.work), [str(path) for path in self.work.glob("work-*/diskimage-create-*")]
        found += map(str, self.work.glob("diskimage-create-*"))
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if work in line]
        found += [
            text for path in Path("/sys/block").glob("loop*/loop/backing_file") if work in (text := path.read_text())
        ]
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if work in command:
                found.append(command)
        return found


if __name__ == "__main__":
    main()
