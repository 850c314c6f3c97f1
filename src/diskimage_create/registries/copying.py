"""Copies images from registry to registry with skopeo: several at once, each layer once.

skopeo remembers which repository of a registry a layer is in, and has it mounted in the next one that needs it
(OCI Distribution Specification 1.1, "Mounting a blob from another repository"). So a layer travels once if nobody
begins to send it while another sends it already: an image waits for the one that brings one of its layers.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from diskimage_create.errors import InputError, Problem, RemoteError
from diskimage_create.host import MACHINES
from diskimage_create.progress import Transfers
from diskimage_create.references import Reference, go_name
from diskimage_create.registries.client import Manifest, Registries
from diskimage_create.registries.connections import NotFound
from diskimage_create.registries.skopeo import Failed, Skopeo, ready

#: Times that a copy is tried, and seconds before the second time; each further pause is twice as long
_ATTEMPTS = 5
_PAUSE = 1.0


class Status(StrEnum):
    """How a copy ended."""

    COPIED = "copied"
    PRESENT = "present"
    """The destination has the same digest already"""
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Copy:
    """An image to copy, and where to."""

    source: Reference
    destination: Reference
    all_architectures: bool = True
    """Or this machine's alone, of an image that has several"""

    def __str__(self) -> str:
        return str(self.source)


@dataclass(frozen=True)
class Copied:
    """What became of a copy."""

    copy: Copy
    status: Status
    digest: str | None = None
    """Of what the destination has now"""
    size: int = 0
    """Bytes of all blobs of the image, transferred or not"""
    seconds: float = 0.0
    why: str = ""
    """Why it failed or was skipped"""
    attempts: int = 0
    hint: str | None = None
    """What to do about a failure"""

    @property
    def in_words(self) -> str:
        """The status, and why."""
        return f"{self.status}: {self.why}" if self.why else str(self.status)


#: A registry, and the digest of a blob that goes there
_Blob = tuple[str | None, str]


@dataclass(frozen=True)
class _Image:
    """What is known of an image before it is copied."""

    digest: str
    blobs: dict[str, int] = field(repr=False, hash=False)
    present: bool

    @property
    def size(self) -> int:
        return sum(self.blobs.values())


@dataclass(frozen=True)
class _Work:
    """A copy that has to be made."""

    copy: Copy
    image: _Image

    @cached_property
    def blobs(self) -> set[_Blob]:
        """Where each of its blobs goes to."""
        host = self.copy.destination.normalised().registry
        return {(host, digest) for digest in self.image.blobs}


def copy_all(
    copies: Sequence[Copy], registries: Registries, jobs: int, display: Transfers | None = None
) -> list[Copied]:
    """Copy images, and say what became of each, in their order; one that fails does not stop the others.

    :param jobs: copies at a time
    :raises InputError: two images would get the same name
    :raises HostError: skopeo is not installed
    :raises Interrupted: what still ran was stopped, and no image that is not complete has its name
    """
    _refuse_conflicts(copies)
    results: dict[Copy, Copied] = {}
    work: list[_Work] = []
    for copy, image in registries.all_of(lambda copy: _look_at(copy, registries), copies).items():
        if isinstance(image, RemoteError):
            results[copy] = Copied(copy, Status.FAILED, why=image.message, hint=image.hint)
        elif image.present:
            results[copy] = Copied(copy, Status.PRESENT, image.digest, image.size)
        else:
            work.append(_Work(copy, image))
        if display and copy in results:
            display.end(str(copy), results[copy].in_words)
    if work:
        # Left in this order: what still runs is stopped before the threads that wait for it are.
        with ThreadPoolExecutor(jobs) as pool, registries.stopping(pool), ready(registries.access) as skopeo:
            results |= _Copying(registries, skopeo, display).run(work, pool, jobs)
    return [results[copy] for copy in copies]


def _refuse_conflicts(copies: Iterable[Copy]) -> None:
    named: dict[Reference, Copy] = {}
    problems = []
    for copy in dict.fromkeys(copies):
        first = named.setdefault(_target(copy), copy)
        if first != copy:
            hint = "give them different names, or leave one out"
            problems.append(Problem(f"both {first} and {copy} would become {copy.destination}", hint=hint))
    if problems:
        raise InputError(problems)


def _target(copy: Copy) -> Reference:
    """What skopeo is to push to: a tag, or a digest where that is all there is."""
    full = copy.destination.normalised()
    if full.digest and not full.tag:
        return full
    return replace(full, tag=full.tag or "latest", digest=None)


def _look_at(copy: Copy, registries: Registries) -> _Image:
    """What the image has, and whether the destination has it.

    Registries that limit how often images may be pulled do not count requests for a digest alone.
    """
    there: Manifest | None = None
    with suppress(NotFound):
        there = registries.manifest(_target(copy), direct=True)
    if there and there.digest == (copy.source.digest or registries.digest(copy.source)):
        return _Image(there.digest, _blobs(registries, _target(copy), there, direct=True), present=True)
    manifest = registries.manifest(copy.source)
    if manifest.is_index and not copy.all_architectures:
        manifest = registries.manifest(_by_digest(copy.source, of_this_machine(copy.source, manifest)))
    present = there is not None and there.digest == manifest.digest
    return _Image(manifest.digest, _blobs(registries, copy.source, manifest), present)


def _blobs(registries: Registries, reference: Reference, manifest: Manifest, direct: bool = False) -> dict[str, int]:
    """Bytes by digest, of all blobs of an image, or of all images of an index."""
    if not manifest.is_index:
        return manifest.blobs
    found: dict[str, int] = {}
    for digest in manifest.members:
        found |= registries.manifest(_by_digest(reference, digest), direct=direct).blobs
    return found


def _by_digest(reference: Reference, digest: str) -> Reference:
    """skopeo wants no tag beside a digest."""
    return replace(reference, tag=None, digest=digest)


def of_this_machine(reference: Reference, index: Manifest) -> str:
    """The digest of the image for this machine's architecture.

    :raises RemoteError: the index has none
    """
    wanted = go_name(MACHINES.get(platform.machine(), platform.machine()))
    for digest, architecture in index.members.items():
        if architecture == wanted:
            return digest
    offered = ", ".join(sorted(set(index.members.values()))) or "nothing"
    raise RemoteError(f"{reference}: there is no image for {wanted}, but for {offered}")


class _Copying:
    """Copies that go on at once."""

    def __init__(self, registries: Registries, skopeo: Skopeo, display: Transfers | None) -> None:
        self._registries = registries
        self._skopeo = skopeo
        self._display = display

    def run(self, work: Sequence[_Work], pool: ThreadPoolExecutor, jobs: int) -> dict[Copy, Copied]:
        """Start what may start, whenever another one has ended."""
        waiting = list(work)
        running: dict[Future[Copied], _Work] = {}
        arrived: set[_Blob] = set()
        results: dict[Copy, Copied] = {}
        while waiting or running:
            for item in _startable(waiting, running.values(), arrived, jobs):
                waiting.remove(item)
                running[pool.submit(self._copy, item)] = item
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                results[item.copy] = outcome = future.result()
                if outcome.status is Status.COPIED:
                    arrived |= item.blobs
        return results

    def _copy(self, work: _Work) -> Copied:
        shown = _Shown(self._display, str(work.copy), len(work.image.blobs))
        started = time.monotonic()
        outcome = replace(self._tried(work, shown), seconds=time.monotonic() - started)
        shown.end(outcome.in_words)
        return outcome

    def _tried(self, work: _Work, shown: _Shown) -> Copied:
        """Copy an image, as often as it takes."""
        copy, image = work.copy, work.image
        source = _by_digest(copy.source.normalised(), image.digest)
        for attempt in range(1, _ATTEMPTS + 1):
            shown.begin()
            try:
                self._skopeo.copy(source, _target(copy), image.size, shown.part, copy.all_architectures)
            except Failed as error:
                if error.permanent or attempt == _ATTEMPTS:
                    why = f"it could not be copied to {copy.destination}: {error}"
                    return Copied(copy, Status.FAILED, size=image.size, why=why, attempts=attempt)
            else:
                return Copied(copy, Status.COPIED, image.digest, image.size, attempts=attempt)
            self._pause(work, attempt)
        raise AssertionError("the last attempt returns")

    def _pause(self, work: _Work, attempt: int) -> None:
        """Wait longer each time, and as long as the registries ask for: their answer to us may say (Retry-After)."""
        self._skopeo.children.pause(_PAUSE * 2 ** (attempt - 1))
        with suppress(RemoteError):
            self._registries.digest(work.copy.source)
            self._registries.digest(_target(work.copy), direct=True)


def _startable(waiting: Sequence[_Work], running: Iterable[_Work], arrived: set[_Blob], jobs: int) -> list[_Work]:
    """The first images that nobody has to wait for: none of their blobs is on its way to the same registry."""
    on_the_way: set[_Blob] = set()
    free = jobs
    for item in running:
        on_the_way |= item.blobs - arrived
        free -= 1
    found = []
    for item in waiting:
        if free <= 0:
            break
        if on_the_way.isdisjoint(item.blobs):
            found.append(item)
            on_the_way |= item.blobs - arrived
            free -= 1
    return found


class _Shown:
    """An image on the display; parts are counted anew with each attempt."""

    def __init__(self, display: Transfers | None, name: str, total: int) -> None:
        self._display = display
        self._name = name
        self._total = total
        self._begun = 0

    def begin(self) -> None:
        self._begun = 0
        if self._display:
            self._display.begin(self._name, self._total)

    def part(self) -> None:
        """Another part begins, so those before it count as done."""
        if self._display:
            self._display.advance(self._name, min(self._begun, self._total))
        self._begun += 1

    def end(self, outcome: str) -> None:
        if self._display:
            self._display.end(self._name, outcome)
