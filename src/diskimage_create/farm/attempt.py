"""What a worker of a cluster does for one job: build in a fence, then publish.

A job may be given to a second worker while the first one still believes that it has it: one that hung, or that the
network had cut off. Only the worker that the scheduler believes to have the job publishes. And as both share what they
store, the second one finds what the first one has made.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from diskimage_create import config, filesystems, process, publish
from diskimage_create.errors import DiskImageError, Interrupted, RemoteError
from diskimage_create.farm import bundle, jobs
from diskimage_create.farm.pool import run_child
from diskimage_create.farm.site import PLUGIN, Site
from diskimage_create.model import Artifact
from diskimage_create.once import same_answers
from diskimage_create.publish import destinations, source
from diskimage_create.settings import OF_THE_HOST

if TYPE_CHECKING:
    from distributed import Worker

#: How often a worker looks whether the job is still its own
_LOOK_SECONDS = 2.0
#: Variables that say something of an image, besides those of its profile, begin like this
_OF_IMAGES = ("DIB_", "DISKIMAGE_CREATE_", "CLOUD_INIT_DATASOURCES", "ELEMENTS_", "OCTAVIA_", "SOURCE_DATE_EPOCH")
#: ... but for how mirrors are named, of which a worker may have its own
_MIRROR = "MIRROR"
#: Options that name places of the worker's
_PLACES = ("cache_dir", "work_dir", "logfile")

Message = Mapping[str, Any]


def run(message: Message) -> dict[str, Any]:
    """The task that Dask runs: a job as JSON (:func:`message`); what became of it, as JSON."""
    from distributed import get_worker

    worker = get_worker()
    site: Site = cast("Any", worker.plugins[PLUGIN]).site
    key = str(message["key"])
    tell, require_mine = _teller(worker, message), partial(_require_mine, worker, key)
    tell({"event": "begin", "on": str(worker.name)})
    site.say(f"{message['name']}: begins")
    with site.job(key) as (directory, children):
        with _while_mine(worker, key, children):
            outcome = _built(message, site, directory, children, tell)
        if outcome["event"] == "done":
            outcome = _published(message, outcome, require_mine, site.say)
        _keep_log(message, directory, require_mine)
    if outcome["event"] == "failed":
        site.say(f"{message['name']}: failed")
    return outcome


def settled(wanted: Sequence[jobs.Job]) -> list[jobs.Job]:
    """The jobs with what they name by its absolute path, and the profiles that they have now.

    When one of them has its turn, nothing of this is read again.

    :raises InputError: something is wrong with a profile
    """
    with same_answers():
        requests = [bundle.absolute(replace(job.request, kind=config.profile_of(job.request))) for job in wanted]
    return [replace(job, request=request) for job, request in zip(wanted, requests, strict=True)]


def message(
    job: jobs.Job, options: Any, key: str, artifacts: str, topic: str, taken: bundle.Bundle | None = None
) -> Message:
    """A job for any worker.

    :param job: one of :func:`settled`
    :param artifacts: URL of the directory that gets the images
    :param topic: of the events that tell how it goes on
    :param taken: what it takes along
    """
    asked = job.request
    assert asked.kind is not None, "a job that is not settled"
    variables = sorted(asked.kind.variables)
    said = replace(
        asked,
        suffix="",  # the name of the image has it
        environ=dict(_of_images(asked.environ, variables)),
        options={
            **{name: value for name, value in asked.options.items() if name not in _PLACES},
            "arch": asked.options.get("arch") or asked.host.arch,
        },
    )
    return {
        **jobs.as_json(replace(job, request=said), replace(options, shared=shared_url(artifacts))),
        "key": key,
        "name": job.name,
        "artifacts": artifacts,
        "topic": topic,
        "variables": variables,
        "bundle": asdict(taken) if taken else None,
        "same": jobs.same_everywhere(job.plan),
    }


def _of_images(environ: Mapping[str, str], variables: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The variables that say something of an image; all others say something of the machine."""
    for name, value in environ.items():
        if (name.startswith(_OF_IMAGES) or name in variables) and name not in OF_THE_HOST:
            yield name, value


def _request(message: Message, site: Site, directory: Path) -> dict[str, Any]:
    """What the user asked for, with places and settings of this worker's.

    :raises RemoteError: what the job takes along cannot be had
    """
    request = dict(message["request"])
    if message["bundle"]:
        taken = bundle.Bundle(**message["bundle"])
        bundle.fetch(taken, shared_url(message["artifacts"]), directory / "taken")
        request = bundle.placed(request, taken, directory / "taken")
    places = {
        "cache_dir": site.cache_dir,
        "work_dir": directory / "work",
        "output": directory / "out" / message["name"],
    }
    request["options"] = {**request["options"], **{name: str(path) for name, path in places.items()}}
    ours = dict(_of_images(os.environ, message["variables"]))
    kept = {name: value for name, value in os.environ.items() if name not in ours or _MIRROR in name}
    request["environ"] = kept | request["environ"]
    return request


def _built(
    message: Message, site: Site, directory: Path, children: process.Children, tell: Callable[[Message], None]
) -> dict[str, Any]:
    """Build in a process that dies with this worker, and all that it has started with it."""
    try:
        request = _request(message, site, directory)
    except (DiskImageError, OSError) as error:
        return jobs.error_as_json(jobs.failure_of(error))
    (directory / "out").mkdir()
    path = directory / "message.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({**message, "request": request}), encoding="utf-8")
    fence = process.FENCE if process.is_root() else (*process.WITH_US, "--")
    try:
        return run_child(fence, path, children, tell, request["environ"])
    finally:
        path.unlink()


def _published(
    message: Message, outcome: dict[str, Any], require_mine: Callable[[], None], say: Callable[[str], None]
) -> dict[str, Any]:
    """Bring the images to where all of them go."""
    try:
        for made in jobs.made_from_json(outcome["artifacts"]):
            require_mine()
            say(f"{made.path.name}: {_publish(made, message['artifacts'])}")
    except DiskImageError as error:
        return jobs.error_as_json(error)
    return outcome


def _publish(made: Artifact, artifacts: str) -> publish.Status:
    """Publish an image, unless it is there; which of the two.

    :raises RemoteError: the place refuses it
    """
    places = destinations.parse([directory_url(artifacts)])
    options = publish.Options(force=True, say=lambda _: None)
    (receipt,) = publish.publish(source.read(made.path), places, options)
    if receipt.status is publish.Status.FAILED:
        raise RemoteError(receipt.message or "the image was not published", receipt.hint)
    return receipt.status


def directory_url(artifacts: str) -> str:
    """With the slash that makes it a directory's."""
    return f"{artifacts.rstrip('/')}/"


def shared_url(artifacts: str) -> str:
    """Where machines leave for each other what is no image of the user's."""
    return f"{directory_url(artifacts)}.store"


def _keep_log(message: Message, directory: Path, require_mine: Callable[[], None]) -> None:
    """Bring the log there too, whatever became of the build, unless another worker's is the one that counts."""
    log = directory / "out" / f"{message['name']}.log"
    if not log.is_file():
        return
    with suppress(DiskImageError, OSError), filesystems.opened(message["artifacts"]) as (system, path):
        require_mine()
        filesystems.make_directory(system, path)
        system.put_file(str(log), f"{path.rstrip('/')}/{log.name}")


def _teller(worker: Worker, message: Message) -> Callable[[Message], None]:
    """Sends events to whoever waits for the job; results come by another way."""

    def tell(event: Message) -> None:
        if event.get("event") in ("begin", "say", "step", "tick"):
            worker.log_event(message["topic"], {**event, "job": message["name"]})

    return tell


@contextmanager
def _while_mine(worker: Worker, key: str, children: process.Children) -> Iterator[None]:
    """End the build when nobody wants it from this worker any more."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_SECONDS):
            task = worker.state.tasks.get(key)
            if task is None or task.state not in ("executing", "long-running"):
                children.stop()
                return

    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _require_mine(worker: Worker, key: str) -> None:
    """Ask the scheduler who has the job.

    :raises Interrupted: it is another worker's, or nobody's
    """
    from distributed import worker_client

    with worker_client(separate_thread=False) as client:
        address = client.run_on_scheduler(holder, key)
    if address != worker.address:
        raise Interrupted(f"the job was given to {address or 'nobody'} meanwhile: nothing is published")


def holder(key: str, dask_scheduler: Any) -> str | None:
    """The worker that the scheduler believes to have a task; runs there."""
    task = dask_scheduler.tasks.get(key)
    return task.processing_on.address if task and task.processing_on else None
