"""Many images on a cluster of Dask: the jobs of a run become tasks, each placed where it can be built.

Images, records, logs and stages go to a URL that all workers reach, never through the scheduler.
"""

from __future__ import annotations

import queue
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from diskimage_create import filesystems
from diskimage_create.errors import HostError, Problem, RemoteError
from diskimage_create.farm import attempt, order, placement
from diskimage_create.farm.jobs import Failed, Job, Outcome, Unbuilt, error_from_json, made_from_json
from diskimage_create.farm.pool import Listener
from diskimage_create.pipeline import BuildOptions

if TYPE_CHECKING:
    from distributed import Client, Future

_CONNECT_SECONDS = 15.0
#: How often the workers are looked at: one that alone could take a job may be gone
_LOOK_SECONDS = 5.0


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
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise HostError("distributed is not installed", "pip install 'diskimage-create[farm]'") from None


def build_all(
    jobs: Sequence[Job], options: BuildOptions, cluster: Cluster, told: Listener, *, keep_going: bool
) -> Iterator[Outcome]:
    """Build images on a cluster; what became of each, as soon as it is known.

    A job that no worker can take is over at once.

    :param told: hears what the jobs say, from any thread
    :param keep_going: whether to begin others after one has failed
    :raises RemoteError: there is no such scheduler, or it goes away
    """
    needs = order.made_of(jobs)
    with _connected(cluster) as client:
        run = _Run(client, cluster, options, told)
        good = True
        for job in order.in_order(jobs):
            refused = _refusal(job, needs[job.name], run.workers())
            if refused:
                good = False
                yield Outcome(job, error=refused)
            elif keep_going or good:
                run.submit(job)
            else:
                yield Outcome(job, error=Unbuilt("not begun, as another one failed", "--keep-going"))
        for outcome in run.outcomes():
            if outcome.error and not keep_going:
                run.cancel_waiting()
            yield outcome


class _Run:
    """The tasks of one call."""

    def __init__(self, client: Client, cluster: Cluster, options: BuildOptions, told: Listener) -> None:
        self._client = client
        self._cluster = cluster
        self._options = options
        self._told = told
        self._id = uuid.uuid4().hex[:12]
        self._topic = f"diskimage-create-{self._id}"
        self._jobs: dict[str, Job] = {}
        self._futures: dict[str, Future] = {}
        self._begun: dict[str, float] = {}
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        client.subscribe_topic(self._topic, self._heard)

    def workers(self) -> list[placement.Resources]:
        """What each worker offers that is there now."""
        known = self._client.scheduler_info(n_workers=-1)["workers"]
        return [worker["resources"] for worker in known.values()]

    def submit(self, job: Job) -> None:
        """Let a worker build an image.

        :raises LookupError: none of them can
        """
        key = f"diskimage-create-{self._id}-{job.name}"
        message = attempt.message(job, self._options, key, self._cluster.artifacts, self._topic)
        resources = placement.needed(job.plan.spec, job.plan.environment, self.workers())
        # Not pure: the same image may be asked for again tomorrow.
        future = self._client.submit(attempt.run, message, key=key, pure=False, resources=resources)
        self._jobs[key], self._futures[key] = job, future
        future.add_done_callback(lambda done: self._done.put(done.key))

    def outcomes(self) -> Iterator[Outcome]:
        """What became of each job, in the order in which they end."""
        left = set(self._futures)
        while left:
            try:
                key = self._done.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                yield from self._without_workers(left)
                continue
            if key in left:
                left.remove(key)
                yield self._outcome(key)

    def cancel_waiting(self) -> None:
        """Forget the tasks that no worker has begun."""
        waiting = [future for key, future in self._futures.items() if not future.done() and key not in self._begun]
        self._client.cancel(waiting, reason="another one failed")

    def _outcome(self, key: str) -> Outcome:
        from distributed import CancelledError

        job, future = self._jobs[key], self._futures[key]
        seconds = monotonic() - self._begun.get(key, monotonic())
        try:
            result: Mapping[str, Any] = future.result()
        except CancelledError:
            if self._client.status != "running":
                raise RemoteError(f"the scheduler at {self._cluster.scheduler} went away") from None
            return Outcome(job, error=Unbuilt("not begun, as another one failed", "--keep-going"))
        except Exception as error:  # of Dask: the task itself answers with what went wrong
            return Outcome(job, error=_broken(error), seconds=seconds)
        if result["event"] == "failed":
            return Outcome(job, error=error_from_json(result), seconds=seconds, seen=result["seen"])
        return Outcome(job, made_from_json(result["artifacts"]), seconds=seconds)

    def _without_workers(self, left: set[str]) -> Iterator[Outcome]:
        """Jobs that wait for a worker which has gone: they go to another one, or are over."""
        workers = self.workers()
        for key in sorted(left - self._begun.keys()):
            job, future = self._jobs[key], self._futures[key]
            try:
                placement.needed(job.plan.spec, job.plan.environment, workers)
            except LookupError as error:
                left.remove(key)
                future.cancel()
                yield Outcome(job, error=HostError(f"no worker can build it any more: {error}"))

    def _heard(self, event: tuple[float, Mapping[str, Any]]) -> None:
        said = dict(event[1])
        key = f"diskimage-create-{self._id}-{said.pop('job')}"
        if said["event"] == "begin":
            self._begun.setdefault(key, monotonic())
        self._told(self._jobs[key], said)


def _refusal(job: Job, made_of: frozenset[str], workers: Sequence[placement.Resources]) -> HostError | None:
    """Why a job cannot be built on the cluster."""
    if made_of:
        what = f"{job.name} is made of {', '.join(sorted(made_of))}, whose file workers do not have"
        return HostError(what, "build the two on this machine, without --scheduler")
    try:
        placement.needed(job.plan.spec, job.plan.environment, workers)
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
def _connected(cluster: Cluster) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(cluster.scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        what = f"no scheduler answers at {cluster.scheduler}: {error}"
        raise RemoteError(what, "is 'dask scheduler' running there?") from None
    try:
        yield client
    finally:
        with suppress(OSError, TimeoutError):
            client.close()  # which lets the scheduler forget the tasks, and their workers stop building
