"""Ten thousand images on a hundred workers, some of which die: what Dask's scheduler costs.

    python bench/farm_simulation.py [--images N] [--workers N] [--faster N] [--seed N]

The scheduler, the workers (as threads of this process) and the client's part (``farm/cluster.py``) are the real ones;
only a build is a pause, N times as short as the build would be (a logarithmic normal distribution around 90 seconds, as
measured for base images and amphorae, and some of ten minutes). For every hundredth image a worker dies in the middle
of a build, and a new one comes.

What scheduling takes is not N times as short. So the time in which a worker had nothing to do (the end included, when
no image is left for most of them) is compared with the time that the builds would have taken: idle / (N x busy). It is
an upper limit: workers that share one interpreter with the scheduler keep it waiting as real ones would not, the more
so the shorter the builds are. What each of them does a hundred times a second to watch itself is off.

Goal: under 0.01. And each image has one result.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import dask
from common import table
from distributed import Client, LocalCluster, Worker

from diskimage_create.architectures import Runs
from diskimage_create.farm import attempt, cluster, placement

#: A hundred workers watch themselves here in one thread; that alone would keep a core busy
_UNWATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
}
_lock = threading.Lock()
_finished: list[tuple[str, float]] = []


def main() -> None:
    """Simulate, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--faster", type=int, default=20)
    parser.add_argument("--seed", type=int, default=9)
    arguments = parser.parse_args()
    randomly = random.Random(arguments.seed)
    builds = {f"image-{number}": seconds(randomly) for number in range(arguments.images)}
    attempt.run = pause  # type: ignore[assignment]
    attempt.message = lambda job, _options, key, *_: {  # type: ignore[assignment]
        "key": key, "name": job.name, "seconds": builds[job.name] / arguments.faster,
    }  # fmt: skip
    dask.config.set(_UNWATCHED)
    with Farm(arguments.workers, randomly) as farm, Client(farm.cluster) as client:
        run = cluster._Run(client, cluster.Cluster("", "file:///nowhere"), None, lambda *_: None, None)  # type: ignore[arg-type]
        jobs: Any = [image(name) for name in builds]
        started = time.monotonic()
        deaths = farm.let_some_die(every=100, over=lambda: len(_finished))
        ended = list(run.all(jobs, keep_going=True))
        took = time.monotonic() - started
    failed = [str(outcome.error) for outcome in ended if outcome.error]
    assert not failed, failed[:3]
    outcomes = Counter(outcome.job.name for outcome in ended)
    assert outcomes == dict.fromkeys(builds, 1), "an image has no result, or two"
    busy = sum(each for _, each in _finished)
    overhead = (arguments.workers * took - busy) / (arguments.faster * busy)
    rows: list[tuple[object, ...]] = [("", "measured", "asked")]
    rows += [("images, each with one result", len(outcomes), ""), ("workers that died", len(deaths), "")]
    rows += [("builds that were begun again", len(_finished) - len(outcomes), "")]
    rows += [("seconds, all", f"{took:.0f}", ""), ("milliseconds an image", f"{1000 * took / len(jobs):.1f}", "")]
    rows += [("overhead / build time", f"{overhead:.4f}", "0.01")]
    print(table(rows))


def seconds(randomly: random.Random) -> float:
    """Of a build."""
    return 600.0 if randomly.random() < 0.02 else min(600.0, randomly.lognormvariate(4.5, 0.4))


def image(name: str) -> SimpleNamespace:
    """As much of a job as placement asks for."""
    return SimpleNamespace(
        name=name, plan=SimpleNamespace(spec=SimpleNamespace(arch="amd64", tmpfs=True), environment={})
    )


def pause(message: dict[str, Any]) -> dict[str, Any]:
    """In place of a build."""
    time.sleep(message["seconds"])
    with _lock:
        _finished.append((message["name"], message["seconds"]))
    return {"event": "done", "artifacts": []}


class Farm:
    """The workers, and their deaths."""

    def __init__(self, workers: int, randomly: random.Random) -> None:
        self._offered = placement.offered(1, {"amd64": Runs.NATIVE}, 8 * 2**30, True)
        self._randomly = randomly
        self._over = threading.Event()
        self.cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=False, memory_limit=0, resources=self._offered,
            dashboard_address=None, silence_logs=50,
        )  # fmt: skip
        self._workers: list[Any] = list(self.cluster.workers.values())

    def __enter__(self) -> Farm:
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        with suppress(TimeoutError):  # what is left of it ends with this process
            self.cluster.close(timeout=30)

    def let_some_die(self, every: int, over: Any) -> list[str]:
        """Let a worker die whenever so many builds have ended; the names of the dead."""
        dead: list[str] = []

        def look() -> None:
            while not self._over.wait(0.05):
                if over() >= (len(dead) + 1) * every:
                    worker = self._workers.pop(self._randomly.randrange(len(self._workers)))
                    self.cluster.sync(worker.close, timeout=0.1, executor_wait=False, nanny=False)
                    dead.append(str(worker.name))
                    self._workers.append(self.cluster.sync(self._another))

        threading.Thread(target=look, daemon=True).start()
        return dead

    async def _another(self) -> Any:
        return await Worker(
            self.cluster.scheduler_address, nthreads=1, memory_limit=0, resources=self._offered, silence_logs=50
        )


if __name__ == "__main__":
    from farm_simulation import main as imported  # Dask finds the functions of a module by its name

    imported()
