"""``diskimage-create worker``."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

from diskimage_create.cli import CONTEXT


@click.command(context_settings=CONTEXT)
@click.argument("scheduler", metavar="tcp://HOST:PORT")
@click.option("-c", "--cache-dir", metavar="DIR", default="~/.cache/image-create", help="[~/.cache/image-create]")
@click.option("-w", "--work-dir", metavar="DIR", help="Its own, for builds.  [CACHE-DIR/worker]")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, metavar="N", help="Builds at the same time.  [1]")
@click.option("--name", metavar="NAME", help="What others see of it.  [its address]")
def worker(scheduler: str, cache_dir: str, work_dir: str | None, jobs: int, name: str | None) -> int:
    """Build images that others ask a cluster for.

    Tells the scheduler, which 'dask scheduler' starts, what this machine can build: architectures, loop devices,
    memory. At its start it removes what an earlier worker left in its working directory. It ends with the scheduler,
    or by a signal; a build that it was at is then given to another worker.

    \b
    Examples:
      diskimage-create worker tcp://farm.example.com:8786
      diskimage-create worker tcp://farm.example.com:8786 --jobs 4 --work-dir /srv/worker
    """
    from diskimage_create.farm import worker as farm_worker
    from diskimage_create.farm.site import Site

    cache = Path(os.path.abspath(os.path.expanduser(cache_dir)))
    work = Path(os.path.abspath(os.path.expanduser(work_dir))) if work_dir else cache / "worker"
    farm_worker.run(scheduler, Site(cache, work, partial(click.echo, err=True)), jobs, name)
    return 0
