"""A worker of a cluster: says what this machine offers, and builds what it is given."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diskimage_create import host, process
from diskimage_create.errors import HostError, RemoteError
from diskimage_create.farm import attempt, order, placement
from diskimage_create.requirements import BASE, require_all

if TYPE_CHECKING:
    from distributed import Worker

#: How long a build may take to clean up when its job is not wanted any more
_GRACE_SECONDS = 3 * process.GRACE_SECONDS
_LOCK = "lock"


@dataclass(frozen=True)
class Site:
    """Where a worker works."""

    cache_dir: Path
    work_dir: Path
    grace: float = _GRACE_SECONDS

    def directory(self, key: str) -> AbstractContextManager[Path]:
        """For one job."""
        return attempt.job_directory(self.work_dir, key)


class _AtSite:
    """Tells the worker's tasks where they are: Dask's plugins are what a worker carries along."""

    name = "diskimage-create"

    def __init__(self, site: Site) -> None:
        self.site = site

    def setup(self, worker: Worker) -> None:
        """The worker starts."""

    def teardown(self, worker: Worker) -> None:
        """The worker ends."""

    def transition(self, key: str, start: str, finish: str, **_: Any) -> None:
        """A task of the worker changes its state."""


def run(scheduler: str, site: Site, slots: int, name: str | None) -> None:
    """Work until the scheduler goes away, or a signal ends it.

    :param slots: builds at the same time
    :raises HostError: this machine can build nothing, or another worker has the directory
    :raises RemoteError: there is no such scheduler
    """
    require_all(BASE, "be a worker")
    with _alone(site):
        asyncio.run(_work(scheduler, site, slots, name))


def offers(slots: int) -> dict[str, float]:
    """What this machine offers."""
    facts = host.detect(os.environ)
    return placement.offered(slots, facts.architectures, order.available_bytes(), Path("/dev/loop-control").exists())


async def _work(scheduler: str, site: Site, slots: int, name: str | None) -> None:
    from distributed import Worker

    try:
        worker = await Worker(
            scheduler,
            nthreads=slots,
            name=name,
            resources=offers(slots),
            memory_limit=0,  # builds are no memory of this process
            local_directory=str(site.work_dir),
            plugins=[_AtSite(site)],
        )
    except (OSError, TimeoutError) as error:
        raise RemoteError(
            f"no scheduler answers at {scheduler}: {error}", "is 'dask scheduler' running there?"
        ) from None
    try:
        await worker.finished()
    finally:
        await worker.close()


@contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Have the working directory for ourselves, without what an earlier worker left that was killed.

    :raises HostError: another worker has it
    """
    site.work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (site.work_dir / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError(f"another worker works in {site.work_dir}", "name another --work-dir") from None
        for path in site.work_dir.iterdir():
            if path.name != _LOCK:
                attempt.remove(path)
        yield
