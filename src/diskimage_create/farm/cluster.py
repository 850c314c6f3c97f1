"""Many images on a cluster of Dask: the jobs of a run become tasks, each placed where it can be built.

Images, records, logs and stages go to a URL that all workers reach, never through the scheduler.
"""

from __future__ import annotations

import queue
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from time import monotonic
from typing import Any

from diskimage_create import filesystems
from diskimage_create.errors import DiskImageError, HostError, InputError, Problem, RemoteError
from diskimage_create.farm import attempt, bundle, order, placement
from diskimage_create.farm.jobs import Failed, Job, Outcome, not_begun, outcome_of
from diskimage_create.farm.pool import Listener
from diskimage_create.farm.site import require_dask
from diskimage_create.pipeline import BuildOptions

_CONNECT_SECONDS = 15.0
#: How often the workers are looked at: others may have come, and one that alone could take a job may be gone
_LOOK_SECONDS = 2.0
#: How long a job waits for a worker that could build it: one that was killed may be started again
_PATIENCE_SECONDS = 60.0
_PREFIX = "diskimage-create-"


#: What placement depends on: architecture, bytes of memory
_Kind = tuple[str, int]


@dataclass(frozen=True)
class Cluster:
    """Where to build, and where the images go."""

    scheduler: str
    artifacts: str
    """URL of a directory"""


def require(cluster: Cluster) -> None:
    """Say what is missing before anything begins.

    :raises InputError: the URL is none
    :raises HostError: a library is not installed
    """
    filesystems.refuse(cluster.artifacts)
    filesystems.require(cluster.artifacts)
    require_dask()


def build_all(
    jobs: Sequence[Job], options: BuildOptions, cluster: Cluster, told: Listener, *, keep_going: bool
) -> Iterator[Outcome]:
    """Build images on a cluster; what became of each, as soon as it is known.

    A job that no worker can take is over at once.

    :param told: hears what the jobs say, from any thread
    :param keep_going: whether to begin others after one has failed
    :raises RemoteError: there is no such scheduler, or it goes away; or the place of the images refuses what jobs need
    """
    jobs, made_of = attempt.settled(jobs), order.made_of(jobs)
    with _connected(cluster) as client:
        run = _Run(client, cluster, options, told, bundle.bring(jobs, attempt.shared_url(cluster.artifacts)))
        possible = []
        for job in order.in_order(jobs):
            if refused := _refusal(job, made_of[job.name], run.workers()):
                yield Outcome(job, error=refused)
            else:
                possible.append(job)
        if not keep_going and len(possible) < len(jobs):
            yield from map(not_begun, possible)
        else:
            yield from run.all(possible, keep_going=keep_going)


class _Run:
    """The tasks of one call.

    Dask gives a task that needs resources to a worker as soon as it is submitted, and never takes it away again while
    the worker is there. So a task is submitted when there is a slot for it: a long build keeps none waiting behind it.
    """

    def __init__(
        self, client: Any, cluster: Cluster, options: BuildOptions, told: Listener, taken: bundle.Bundle | None
    ) -> None:
        """
        :param taken: what the jobs take along
        """
        self._client = client
        self._cluster = cluster
        self._options = options
        self._told = told
        self._taken = taken
        self._id = uuid.uuid4().hex[:12]
        self._topic = f"{_PREFIX}{self._id}"
        self._tasks: dict[str, _Task] = {}
        """Those that are submitted and not over, by their keys"""
        self._workers: list[placement.Resources] = []
        self._looked = -_LOOK_SECONDS
        self._alone: dict[object, float] = {}
        """Since when no worker could build a kind of image"""
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        client.subscribe_topic(self._topic, self._heard)

    def workers(self) -> list[placement.Resources]:
        """What each worker offers that was there a moment ago.

        :raises RemoteError: the scheduler is not there any more
        """
        if self._client.status != "running":
            raise RemoteError(f"the scheduler at {self._cluster.scheduler} went away", "the same line again goes on")
        if monotonic() - self._looked > _LOOK_SECONDS:
            known = self._client.scheduler_info(n_workers=-1)["workers"]
            self._workers = [worker["resources"] for worker in known.values()]
            self._looked = monotonic()
        return self._workers

    def all(self, jobs: Sequence[Job], *, keep_going: bool) -> Iterator[Outcome]:
        """Build images; what became of each, in the order in which they end."""
        waiting: dict[_Kind, deque[Job]] = {}
        for job in jobs:
            waiting.setdefault(_kind(job), deque()).append(job)
        while waiting or self._tasks:
            for outcome in self._ended(waiting, keep_going=keep_going):
                yield outcome
                if outcome.error and not keep_going:
                    yield from map(not_begun, chain.from_iterable(waiting.values()))
                    waiting.clear()

    def _ended(self, waiting: dict[_Kind, deque[Job]], *, keep_going: bool) -> Iterator[Outcome]:
        """What became of those that are over by now; others begin in their place."""
        yield from self._submit(waiting)
        task = self._next()
        if task and keep_going:
            yield from self._submit(waiting)  # its slot waits for no answer
        if task:
            yield task.outcome(self._cluster)
        yield from self._stranded()

    def _submit(self, waiting: dict[_Kind, deque[Job]]) -> Iterator[Outcome]:
        """Submit what there is a slot for; a kind of image is over that no worker can build any more."""
        workers = self.workers()
        for kind in list(waiting):
            if kind not in waiting:  # whoever heard of an outcome has given up all others
                continue
            jobs = waiting[kind]
            try:
                resources = placement.needed(*kind, workers)
            except LookupError as error:
                if self._is_hopeless(kind):
                    what = f"no worker can build it any more: {error}"
                    yield from (Outcome(job, error=HostError(what)) for job in waiting.pop(kind))
                continue
            self._alone.pop(kind, None)
            while jobs and placement.has_room(resources, [task.resources for task in self._tasks.values()], workers):
                self._submit_one(jobs.popleft(), resources)
            if not jobs:
                del waiting[kind]

    def _submit_one(self, job: Job, resources: placement.Resources) -> None:
        key = f"{self._topic}-{job.name}"
        message = attempt.message(job, self._options, key, self._cluster.artifacts, self._topic, self._taken)
        # Not pure: the same image may be asked for again tomorrow.
        future = self._client.submit(attempt.run, message, key=key, pure=False, resources=dict(resources))
        self._tasks[key] = _Task(job, future, resources)
        future.add_done_callback(lambda done: self._done.put(done.key))

    def _next(self) -> _Task | None:
        """The task that ends next, if one ends soon."""
        with suppress(queue.Empty):
            return self._tasks.pop(self._done.get(timeout=_LOOK_SECONDS), None)
        return None

    def _stranded(self) -> Iterator[Outcome]:
        """Tasks whose worker has gone, and that no other one can take."""
        workers = self.workers()
        for key, task in list(self._tasks.items()):
            if task.future.done() or any(placement.can(worker, task.resources) for worker in workers):
                self._alone.pop(key, None)
            elif self._is_hopeless(key):
                del self._tasks[key]
                task.future.cancel()
                what = f"the worker that could build {task.job.name} has gone"
                yield Outcome(task.job, error=HostError(what, "start it again, and build once more"))

    def _is_hopeless(self, what: object) -> bool:
        """Whether something has been without a worker for long enough."""
        return monotonic() - self._alone.setdefault(what, monotonic()) > _PATIENCE_SECONDS

    def _heard(self, event: tuple[float, Mapping[str, Any]]) -> None:
        said = dict(event[1])
        said.pop("worker", None)  # its address, which the scheduler adds
        task = self._tasks.get(f"{self._topic}-{said.pop('job')}")
        if task:
            task.started = task.started or monotonic()
            self._told(task.job, said)


@dataclass
class _Task:
    """A job that was submitted."""

    job: Job
    future: Any
    resources: placement.Resources
    started: float | None = None

    def outcome(self, cluster: Cluster) -> Outcome:
        """What became of it."""
        seconds = monotonic() - self.started if self.started else 0.0
        try:
            result: Mapping[str, Any] = self.future.result()
        except Exception as error:  # of Dask: the task itself answers with what went wrong
            return Outcome(self.job, error=_broken(error), seconds=seconds)
        return replace(outcome_of(self.job, result, attempt.directory_url(cluster.artifacts)), seconds=seconds)


def _kind(job: Job) -> _Kind:
    return job.plan.spec.arch, order.memory_bytes(job.plan.spec, job.plan.environment)


def _refusal(job: Job, made_of: frozenset[str], workers: Sequence[placement.Resources]) -> DiskImageError | None:
    """Why a job cannot be built on the cluster."""
    if "docker" in job.plan.spec.types:
        hint = "-t tar, and then: publish X.tar docker:NAME:TAG"
        return InputError([Problem(f"{job.name} would go to the docker daemon of a worker", "--type", hint)])
    if made_of:
        what = f"{job.name} is made of {', '.join(sorted(made_of))}, whose file workers do not have"
        return HostError(what, "build the two on this machine, without --scheduler")
    try:
        placement.needed(*_kind(job), workers)
    except LookupError as error:
        return HostError(f"no worker can build {job.name}: {error}", "start one: diskimage-create worker --help")
    return None


def _broken(error: Exception) -> Failed:
    """What Dask says of a task whose workers went away."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        hint = "the scheduler's option distributed.scheduler.allowed-failures says how often a job is tried"
        return Failed(4, [Problem("each of the workers that had it died", None, hint)])
    return Failed(4, [Problem(f"the task failed: {type(error).__name__}: {error}")])


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    """Dask's client, whose methods have no types."""
    import distributed

    make: Any = distributed.Client
    try:
        client = make(cluster.scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        what = f"no scheduler answers at {cluster.scheduler}: {error}"
        raise RemoteError(what, "is 'dask scheduler' running there?") from None
    try:
        yield client
    finally:
        with suppress(OSError, TimeoutError):
            client.close()  # which lets the scheduler forget the tasks, and their workers stop building
