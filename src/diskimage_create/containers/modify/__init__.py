"""Images that are changed on their way to their destination.

What ``tasks_from`` asks for is what the Ansible role ``tripleo-modify-image`` does, here without Ansible.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from diskimage_create import host, parallel
from diskimage_create.containers.buildah import Buildah, host_storage, private_storage
from diskimage_create.containers.model import Modification, PreparedImage
from diskimage_create.containers.modify import ansible, tasks
from diskimage_create.containers.modify.outcome import Copied, Copy
from diskimage_create.containers.modify.variables import OURS, problems
from diskimage_create.errors import DiskImageError, RemoteError
from diskimage_create.references import Reference, parse
from diskimage_create.registries import Registries, content

__all__ = ["Cleanup", "Copied", "Copy", "modify_all", "problems"]

#: What of images is left in the host's storage: nothing; what was made; that, and what it was made of
Cleanup = Literal["full", "partial", "none"]

#: Go's names of architectures (GOARCH), where Debian's differ
_GO = {"i386": "386", "armhf": "arm", "aarch64": "arm64", "ppc64el": "ppc64le"}


def modify_all(
    images: Sequence[PreparedImage],
    registries: Registries,
    jobs: int,
    tell: Callable[[str], None],
    cleanup: Cleanup = "full",
) -> list[Copied]:
    """Change images and store them at their destinations; one that fails does not stop the others.

    All have a modification without :func:`problems`. A destination that there is already is left alone.

    :param jobs: how many at once
    :param tell: gets a line for each step
    :raises HostError: this host lacks what is needed for it
    """
    roles = {image.modification.role for image in images if image.modification} - OURS
    for role in sorted(roles):
        ansible.require(role)
    with _storage(registries, cleanup) as buildah:
        return parallel.each(lambda image: _outcome(image, registries, buildah, tell, cleanup), images, jobs)


def _storage(registries: Registries, cleanup: Cleanup) -> AbstractContextManager[Buildah]:
    return private_storage(registries.access) if cleanup == "full" else host_storage(registries.access)


def _outcome(
    image: PreparedImage, registries: Registries, buildah: Buildah, tell: Callable[[str], None], cleanup: Cleanup
) -> Copied:
    """What became of one image; an error of it is part of that."""
    assert image.modification is not None
    started = time.monotonic()
    named = image.modification.variables.get("source_image") if image.modification.role in OURS else None
    source = parse(named) if named else image.source
    copy = Copy(source, image.destination, all_architectures=False)

    def became(status: Literal["copied", "present", "failed"], digest: str | None, size: int, why: str) -> Copied:
        return Copied(copy, status, digest, size, time.monotonic() - started, why, 1)

    try:
        if digest := registries.digest(image.destination):
            tell(f"{image.name}: {image.destination} is there already")
            return became("present", digest, 0, "")
        if image.multi_arch:
            raise DiskImageError("an image of several architectures cannot be modified", "leave out multi_arch")
        digest = _modified(image, image.modification, source, registries, buildah, tell, cleanup)
        return became("copied", digest, sum(registries.manifest(image.destination).blobs.values()), "")
    except DiskImageError as error:
        return became("failed", None, 0, f"{image.name}: {error.message}")


def _modified(
    image: PreparedImage,
    modification: Modification,
    source: Reference,
    registries: Registries,
    buildah: Buildah,
    tell: Callable[[str], None],
    cleanup: Cleanup,
) -> str:
    """Bring an image into the storage, change it, store it at its destination; the digest there."""
    destination = image.destination
    manifest = registries.instance(source, _architecture())
    here = Reference(destination.registry, destination.repository, None, manifest.digest)
    tell(f"{image.name}: fetching {source}")
    with tasks.step(f"fetching {source}", RemoteError):
        # By way of the destination, without a tag: so buildah learns which layers are there, and keeps them as they
        # are. Packed anew they would have other digests, and every node would fetch them once more for each image.
        original = Reference(source.registry, source.repository, None, manifest.digest)
        content.copy(original, here, buildah.access, buildah.auth, buildah.environment)
        was_here = buildah.id_of(str(here)) is not None
        base = buildah.pull(here)
    try:
        with tempfile.TemporaryDirectory(prefix="work-", dir=buildah.scratch) as directory:
            tell(f"{image.name}: {modification.variables.get('tasks_from', modification.role)}")
            made = tasks.apply(modification, buildah, base, source, destination, Path(directory))
        tell(f"{image.name}: storing {destination}")
        with tasks.step(f"storing {destination}", RemoteError):
            return buildah.push(made, destination)
    except BaseException:
        buildah.remove(str(destination))
        raise
    finally:
        if cleanup == "partial" and not was_here:
            buildah.remove(str(here), base)


def _architecture() -> str:
    arch = host.detect({}).arch
    return _GO.get(arch, arch)
