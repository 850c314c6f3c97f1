"""A cluster of processes with addresses of their own: a scheduler, two workers, and builds that lose theirs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from building import PATIENCE, Built, clean_environment, leftovers, run_build, start_build
from lan import Lan, Machine, lan, why_not

from contract import schema_errors
from diskimage_create.digests import sha256
from diskimage_create.validate import validate

pytest.importorskip("distributed", reason="distributed is not installed")

#: The smallest image that goes through all phases
SMALL = {"DIB_ELEMENTS": "vm debian-minimal"}
IMAGE = ("-i", "debian", "-d", "bookworm", "-s", "2", "-o", "small")
TTL_SECONDS = 15
PORT = 8786


class Farm:
    """The processes of a cluster, and the directories that they work in."""

    def __init__(self, network: Lan, directory: Path) -> None:
        self.scheduler, *self.machines = network.machines
        self.directory = directory
        self.artifacts = directory / "artifacts"
        self.started: Counter[str] = Counter()
        self.address = f"tcp://{self.scheduler.address}:{PORT}"
        self._proxies = dict.fromkeys(("http_proxy", "https_proxy"), network.proxy)

    def environment(self, **more: str) -> dict[str, str]:
        return clean_environment(
            {**self._proxies, "no_proxy": "198.51.100.0/24", "TMPDIR": str(self.directory), **more}
        )

    @contextmanager
    def running(self, machine: Machine, name: str, *command: object, **more: str) -> Iterator[subprocess.Popen[str]]:
        self.started[name] += 1
        with (
            (self.directory / f"{name}.log").open("a") as log,
            subprocess.Popen(
                machine.command(*command), stdout=log, stderr=log, env=self.environment(**more), text=True
            ) as process,
        ):
            try:
                yield process
            finally:
                process.send_signal(signal.SIGCONT)
                process.terminate()

    def worker(self, number: int) -> list[object]:
        places = ("-c", self.directory / f"cache-{number}", "-w", self.work(number))
        return [sys.executable, "-m", "diskimage_create", "worker", self.address, *places, "--name", f"w{number}"]

    def work(self, number: int) -> Path:
        return self.directory / f"work-{number}"

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def options(self, *more: str) -> list[str]:
        return [*IMAGE, "--scheduler", self.address, "--artifacts", f"file://{self.artifacts}", *more]

    def processes(self, number: int) -> list[str]:
        """What runs for a job of a worker's."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().decode(errors="replace")
            except OSError:
                continue
            if f"{self.work(number)}/diskimage-create-" in command:
                found.append(command)
        return found


@pytest.fixture(scope="module")
def farm(builds: Path) -> Iterator[Farm]:
    if why := why_not():
        pytest.skip(why)
    directory = builds / "farm"
    directory.mkdir()
    with lan(3) as network, ExitStack() as stack:
        made = Farm(network, directory)
        scheduler = [Path(sys.executable).with_name("dask"), "scheduler", "--host", made.scheduler.address]
        options = ["--port", PORT, "--no-dashboard"]
        ttl = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{TTL_SECONDS}s"}
        stack.enter_context(made.running(made.scheduler, "scheduler", *scheduler, *options, **ttl))
        yield made


@pytest.fixture
def workers(farm: Farm) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Two of them, by their names; one that a test has killed is started again for the next one."""
    with ExitStack() as stack:
        made = {}
        for number, machine in enumerate(farm.machines, 1):
            made[f"w{number}"] = stack.enter_context(farm.running(machine, f"w{number}", *farm.worker(number)))
        eventually(lambda: all(farm.log(name).count("works for") == farm.started[name] for name in made), 60)
        yield made


def eventually(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.2)


def build_until(
    directory: Path, farm: Farm, phase: str, do: Callable[[str], None], *more: str, **env: str
) -> tuple[Built, list[str]]:
    """Build; when a phase begins on the first worker, do something to it. Also the names of all workers that began."""
    printed, began, done = [], [], False
    with start_build(directory, *farm.options(*more), env={**SMALL, **env}) as build:
        assert build.stderr is not None
        for line in build.stderr:
            printed.append(line)
            if match := re.search(r"begins on (\w+)", line):
                began.append(match[1])
            if re.search(rf"small: {phase}$", line) and not done:
                done = True
                do(began[0])
        out = build.stdout.read() if build.stdout else ""
        build.wait(PATIENCE)
    return Built(directory, out, "".join(printed), build.returncode, "small"), began


def assert_published(farm: Farm, built: Built) -> Path:
    """The image is there once, with all that belongs to it, and it is good."""
    assert built.returncode == 0, built.stderr[-4000:]
    assert built.stdout.splitlines() == [f"file://{farm.artifacts}/small.qcow2"]
    image = farm.artifacts / "small.qcow2"
    index = json.loads((farm.artifacts / "index.json").read_text())
    assert schema_errors(index, "index") == []
    assert [each["name"] for each in index["images"]] == ["small.qcow2"]
    record = json.loads((farm.artifacts / "small.qcow2.json").read_text())
    assert schema_errors(record, "record") == []
    assert record["artifacts"][0]["sha256"].endswith(sha256(image))
    assert (farm.artifacts / "small.log").stat().st_size > 1000
    report = validate(image)
    assert report.ok, report.why()
    assert not [path.name for path in farm.artifacts.iterdir() if path.name.startswith(".") and path.name != ".store"]
    return image


def test_a_build_whose_worker_is_killed_goes_on_elsewhere(
    farm: Farm, workers: dict[str, subprocess.Popen[str]], builds: Path
) -> None:
    directory = builds / "farm-client"
    directory.mkdir(exist_ok=True)

    def kill(name: str) -> None:
        assert farm.processes(int(name[1:]))
        workers[name].kill()

    built, began = build_until(directory, farm, "install", kill)
    assert_published(farm, built)
    assert len(began) == 2
    assert began[0] != began[1]
    number = int(began[0][1:])
    assert farm.processes(number) == []
    assert [path.name for path in farm.work(number).iterdir() if path.name.startswith("diskimage-create-")]
    with farm.running(farm.machines[number - 1], began[0], *farm.worker(number)):
        eventually(lambda: farm.log(began[0]).count("works for") == farm.started[began[0]], 60)
        assert [path.name for path in farm.work(number).iterdir() if path.name.startswith("diskimage-create-")] == []
    assert not {name for name in leftovers() if str(farm.work(number)) in name}


def test_what_is_built_is_not_built_again(farm: Farm, workers: dict[str, subprocess.Popen[str]], builds: Path) -> None:
    before = sha256(farm.artifacts / "small.qcow2")
    built = run_build(builds / "farm-client", *farm.options(), env=SMALL)
    assert built.returncode == 0, built.stderr
    assert "nothing changed" in built.stderr
    assert sha256(farm.artifacts / "small.qcow2") == before


def test_a_build_whose_worker_hangs_is_made_by_another_one_and_published_once(
    farm: Farm, workers: dict[str, subprocess.Popen[str]], builds: Path
) -> None:
    def hang(name: str) -> None:
        workers[name].send_signal(signal.SIGSTOP)

    built, began = build_until(builds / "farm-client", farm, "post-install", hang, "--package", "tree")
    image = assert_published(farm, built)
    assert len(set(began)) == 2
    published = sha256(image), os.stat(image).st_mtime_ns
    hung = workers[began[0]]
    hung.send_signal(signal.SIGCONT)
    eventually(lambda: not farm.processes(int(began[0][1:])), 90)
    time.sleep(3)
    assert (sha256(image), os.stat(image).st_mtime_ns) == published


def test_what_no_worker_can_build_is_refused_at_once(
    farm: Farm, workers: dict[str, subprocess.Popen[str]], builds: Path
) -> None:
    built = run_build(builds / "farm-client", *farm.options("-a", "arm64"), env=SMALL)
    assert built.returncode == 3
    assert "programs of arm64 run on no worker" in built.stderr


def test_the_client_ends_the_builds_that_it_has_asked_for(
    farm: Farm, workers: dict[str, subprocess.Popen[str]], builds: Path
) -> None:
    begun: list[str] = []
    with start_build(builds / "farm-client", *farm.options("--package", "less"), env=SMALL) as build:
        assert build.stderr is not None
        for line in build.stderr:
            if match := re.search(r"begins on (\w+)", line):
                begun.append(match[1])
            if re.search(r"small: (post-install|install|root)$", line):
                build.send_signal(signal.SIGINT)
        build.wait(PATIENCE)
    assert build.returncode == 130
    eventually(lambda: not farm.processes(int(begun[0][1:])), 90)


def test_a_worker_that_is_stopped_leaves_nothing_and_elements_of_the_users_go_along(
    farm: Farm, workers: dict[str, subprocess.Popen[str]], builds: Path, tmp_path: Path
) -> None:
    hook = tmp_path / "elements/site/finalise.d/50-site"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/bash\necho this is of the site\n")
    hook.chmod(0o755)

    def end(name: str) -> None:
        (tmp_path / "elements").rename(tmp_path / "gone")
        workers[name].terminate()
        workers[name].wait(120)
        assert farm.processes(int(name[1:])) == []
        assert {path.name for path in farm.work(int(name[1:])).iterdir()} <= {
            ".diskimage-create-worker",
            "dask-scratch-space",
        }

    site = ("--package", "lsof", "--element", "site")
    mine = {"ELEMENTS_PATH": str(tmp_path / "elements")}
    built, began = build_until(builds / "farm-client", farm, "post-install", end, *site, **mine)
    assert_published(farm, built)
    assert len(set(began)) == 2
    assert "this is of the site\n" in (farm.artifacts / "small.log").read_text()


def test_no_scheduler(farm: Farm, builds: Path) -> None:
    nobody = ["--scheduler", f"tcp://{farm.machines[0].address}:9", "--artifacts", f"file://{farm.artifacts}"]
    built = run_build(builds / "farm-client", *IMAGE, *nobody, env=SMALL)
    assert built.returncode == 6
    assert "no scheduler answers" in built.stderr
