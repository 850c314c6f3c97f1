"""A worker of a cluster: says what this machine offers, and builds what it is given."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from diskimage_create import host
from diskimage_create.errors import RemoteError
from diskimage_create.farm import order, placement
from diskimage_create.farm.site import PLUGIN, Site, require_dask
from diskimage_create.requirements import BASE, require_all

_START_HINT = "is 'dask scheduler' running there? one that lost a worker of this name knows it for worker-ttl"


def run(scheduler: str, site: Site, slots: int, name: str | None) -> None:
    """Work until the scheduler goes away, or a signal ends it.

    :param slots: builds at the same time
    :raises HostError: this machine can build nothing, or another worker has the directory
    :raises RemoteError: the scheduler does not take it
    """
    require_all(BASE, "be a worker")
    require_dask()
    with site.alone():
        try:
            asyncio.run(_work(scheduler, site, slots, name))
        finally:
            site.stop()


def offers(slots: int) -> dict[str, float]:
    """What this machine offers."""
    facts = host.detect(os.environ)
    return placement.offered(slots, facts.architectures, order.available_bytes(), Path("/dev/loop-control").exists())


async def _work(scheduler: str, site: Site, slots: int, name: str | None) -> None:
    from distributed import Worker, WorkerPlugin

    class AtSite(WorkerPlugin):
        name = PLUGIN

        def __init__(self) -> None:
            self.site = site

    offered = offers(slots)
    try:
        site.say(f"asks {scheduler} for work")  # and waits until there is one
        worker = await Worker(
            scheduler,
            nthreads=slots,
            dashboard=False,
            name=name,
            resources=offered,
            memory_limit=0,  # builds are no memory of this process
            local_directory=str(site.work_dir),
            plugins=(AtSite(),),
        )
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        why = error.__cause__ or error  # Dask says of everything that the worker failed to start
        raise RemoteError(f"{scheduler} takes no worker: {why}", _START_HINT) from None
    what = ", ".join(f"{name} {amount:.0f}" for name, amount in sorted(offered.items()))
    site.say(f"{worker.name} works for {scheduler}: {what}")
    signalled = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(each, signalled.set)
    ends = [asyncio.create_task(worker.finished()), asyncio.create_task(signalled.wait())]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await worker.close(
            executor_wait=False
        )  # its jobs are given to others; what runs for them is stopped after this
