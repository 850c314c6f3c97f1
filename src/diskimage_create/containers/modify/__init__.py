"""Images that are changed on their way to their destination.

What ``tasks_from`` asks for is what the Ansible role ``tripleo-modify-image`` does, here without Ansible.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from diskimage_create.containers.buildah import Buildah, host_storage, private_storage
from diskimage_create.containers.model import Modification, PreparedImage
from diskimage_create.containers.modify import ansible, tasks
from diskimage_create.containers.modify.variables import OURS, problems
from diskimage_create.errors import DiskImageError, Interrupted, RemoteError
from diskimage_create.references import Reference, parse
from diskimage_create.registries import Registries
from diskimage_create.registries.copying import Copied, Copy, Status, copy_all, of_this_machine

__all__ = ["Cleanup", "modify_all", "problems"]

#: What of images is left in the host's storage: nothing; what was made; that, and what it was made of
Cleanup = Literal["full", "partial", "none"]


@dataclass(frozen=True)
class _Work:
    """An image that is to be changed, and where its content lies: in the repository of its destination, untagged."""

    image: PreparedImage
    modification: Modification
    copy: Copy
    original: Copy
    """Its content, of this machine's architecture, by its digest"""


def modify_all(
    images: Sequence[PreparedImage],
    registries: Registries,
    jobs: int,
    tell: Callable[[str], None],
    cleanup: Cleanup = "full",
) -> list[Copied]:
    """Change images and store them at their destinations; one that fails does not stop the others.

    All have a modification without :func:`problems`, and destinations of their own. A destination that there is
    already is left alone.

    :param jobs: how many at once
    :param tell: gets a line for each step
    :returns: what became of each image, in their order; ``size`` is that of the changed one
    :raises HostError: this host lacks what is needed for it
    """
    for role in sorted({image.modification.role for image in images if image.modification} - OURS):
        ansible.require(role)
    named = {image.destination: image for image in images}
    results: dict[Reference, Copied] = {}
    work: list[_Work] = []
    for destination, found in registries.all_of(lambda name: _look_at(named[name], registries), named).items():
        if isinstance(found, _Work):
            work.append(found)
        elif isinstance(found, Copied):
            tell(f"{named[destination].name}: {destination} is there already")
            results[destination] = found
        else:
            results[destination] = _failed(Copy(named[destination].source, destination, False), found)
    if work:
        results |= _modified_all(work, registries, jobs, tell, cleanup)
    return [results[image.destination] for image in images]


def _look_at(image: PreparedImage, registries: Registries) -> _Work | Copied:
    """What is to be done, or what is there already."""
    assert image.modification is not None
    other = image.modification.variables.get("source_image") if image.modification.role in OURS else None
    source = parse(other) if other else image.source
    copy = Copy(source, image.destination, all_architectures=False)
    if digest := registries.digest(image.destination, direct=True):
        return Copied(copy, Status.PRESENT, digest)
    if image.multi_arch:
        raise RemoteError(f"{source}: an image of several architectures cannot be modified: leave out multi_arch")
    manifest = registries.manifest(source)
    digest = of_this_machine(source, manifest) if manifest.is_index else manifest.digest
    # By way of the destination: so buildah learns which layers are there, and keeps them as they are. Packed anew they
    # would have other digests, and every node would fetch them once more for each image.
    there, here = (Reference(each.registry, each.repository, None, digest) for each in (source, image.destination))
    return _Work(image, image.modification, copy, Copy(there, here, all_architectures=False))


def _failed(copy: Copy, error: DiskImageError, attempts: int = 0) -> Copied:
    return Copied(copy, Status.FAILED, why=error.message, attempts=attempts)


def _modified_all(
    work: Sequence[_Work], registries: Registries, jobs: int, tell: Callable[[str], None], cleanup: Cleanup
) -> dict[Reference, Copied]:
    """Fetch and change images; what became of each, by its destination."""
    storage = private_storage if cleanup == "full" else host_storage
    with storage(registries.access) as buildah:
        tell(f"fetching {len(work)} image{'' if len(work) == 1 else 's'}")
        results: dict[Reference, Copied] = {}
        ready: list[_Work] = []
        for item, copied in zip(work, copy_all([item.original for item in work], registries, jobs), strict=True):
            if copied.status is Status.FAILED:
                results[item.image.destination] = replace(copied, copy=item.copy)
            else:
                ready.append(item)
        # Left in this order: what still runs is stopped before the threads that wait for it are.
        with ThreadPoolExecutor(jobs) as pool, registries.stopping(pool), buildah.children:
            made = pool.map(lambda item: _outcome(item, registries, buildah, tell, cleanup), ready)
            return results | {outcome.copy.destination: outcome for outcome in made}


def _outcome(
    work: _Work, registries: Registries, buildah: Buildah, tell: Callable[[str], None], cleanup: Cleanup
) -> Copied:
    """What became of one image; an error of it is part of that.

    :raises Interrupted: the work was stopped
    """
    started = time.monotonic()
    try:
        digest = _modified(work, buildah, tell, cleanup)
        size = sum(registries.manifest(work.copy.destination, direct=True).blobs.values())
    except Interrupted:
        raise
    except DiskImageError as error:
        return replace(_failed(work.copy, error, 1), seconds=time.monotonic() - started)
    return Copied(work.copy, Status.COPIED, digest, size, time.monotonic() - started, attempts=1)


def _modified(work: _Work, buildah: Buildah, tell: Callable[[str], None], cleanup: Cleanup) -> str:
    """Bring an image into the storage, change it, store it at its destination; the digest there."""
    modification, here, destination = work.modification, work.original.destination, work.copy.destination
    with ExitStack() as stack:
        with tasks.step(f"fetching {here}", RemoteError):
            was_here = buildah.id_of(str(here)) is not None
            base = buildah.pull(here)
        if cleanup == "partial" and not was_here:
            buildah.remove_in_the_end(str(here))
        with buildah.undone_by("rmi", str(destination)):
            tell(f"{work.image.name}: {modification.variables.get('tasks_from', modification.role)}")
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="work-", dir=buildah.scratch)))
            made = tasks.apply(modification, buildah, base, work.copy.source, destination, directory)
            tell(f"{work.image.name}: storing {destination}")
            with tasks.step(f"storing {destination}", RemoteError):
                return buildah.push(made, destination)
