"""A deployment's images from end to end: which they are, bringing them to their places, telling Heat.

files -> deployment.read -> Deployment -> resolve -> Resolved -> bring -> outcomes -> sections -> environment file
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from diskimage_create import progress
from diskimage_create.containers.deployment import INSECURE, Deployment
from diskimage_create.containers.discovery import Discovery
from diskimage_create.containers.environment import Section, renamed
from diskimage_create.containers.model import PreparedImage
from diskimage_create.errors import InputError, Problem, RemoteProblems
from diskimage_create.references import Reference
from diskimage_create.registries import Registries
from diskimage_create.registries.copying import Copied, Copy, Status, copy_all
from diskimage_create.registries.plain import speaks_plain_http

if TYPE_CHECKING:
    from diskimage_create.containers.modify import Cleanup

Tell = Callable[[str], None]
#: Why a dry run brings nothing
DRY_RUN = "a dry run"


@dataclass(frozen=True)
class Resolved:
    """The images of a deployment, with all that registries had to be asked."""

    images: tuple[PreparedImage, ...]
    registries: Registries
    notes: tuple[str, ...] = ()
    """What the user should know of how they were found"""


@contextmanager
def resolve(deployment: Deployment, connections: int) -> Iterator[Resolved]:
    """Find out where images are, what their tags are, and where they go. Nothing is copied.

    :param connections: requests at a time
    :raises RemoteProblems: what registries refused, and tags that there are not
    :raises InputError: two images would get the same name
    """
    plain = _plain_destinations(deployment)
    notes = [f"{host} has no TLS, and nothing secret is sent there: it is used without" for host in plain]
    access = replace(deployment.access, insecure=deployment.access.insecure.union(plain))
    with Registries(access, connections) as registries:
        discovery = Discovery(registries, deployment.mirror)
        images = discovery.images(deployment.wanted)
        _refuse_conflicts(images)
        notes += [_of_fallback(template, names) for template, names in discovery.fallbacks.items()]
        yield Resolved(tuple(images), registries, tuple(notes))


def _plain_destinations(deployment: Deployment) -> list[str]:
    """The registries that images go to, nobody said anything about, and that have no TLS."""
    places = (wanted.entry.push_destination for wanted in deployment.wanted)
    hosts = dict.fromkeys(place.partition("/")[0] for place in places if place is not None)
    unknown = [host for host in hosts if host not in deployment.access.insecure]
    return [host for host in unknown if speaks_plain_http(host, deployment.access)]


def _of_fallback(template: str, names: Sequence[str]) -> str:
    count = f"{len(names)} images have" if len(names) > 1 else "1 image has"
    return f"{count} not the labels of tag_from_label {template}, and keep the tag: {', '.join(sorted(set(names)))}"


def _refuse_conflicts(images: Iterable[PreparedImage]) -> None:
    """Two images of one name: the one that is copied last would be what both are."""
    first: dict[Reference, PreparedImage] = {}
    problems = []
    for image in images:
        other = first.setdefault(image.destination, image)
        if (other.source, other.modification) != (image.source, image.modification):
            message = f"both {other.source} and {image.source} would become {image.destination}"
            problems.append(Problem(message, None, "give them different tags, or another push_destination"))
    if problems:
        raise InputError(problems)


def bring(resolved: Resolved, jobs: int, cleanup: Cleanup, tell: Tell) -> list[Copied]:
    """Copy and change images; one that fails does not stop the others.

    :param jobs: images at a time
    :param cleanup: what stays in the host's storage of images of what was changed
    :param tell: gets a line for each step of a change
    :returns: what became of each image, in their order
    :raises HostError: this host lacks what is needed for it
    """
    images = list({image.destination: image for image in resolved.images}.values())
    outcomes = {image.destination: _stays(image) for image in images if not _moves(image)}
    moving = [image for image in images if _moves(image)]
    outcomes |= _copied([image for image in moving if image.modification is None], resolved.registries, jobs)
    outcomes |= _modified(
        [image for image in moving if image.modification is not None], resolved.registries, jobs, cleanup, tell
    )
    return [outcomes[image.destination] for image in resolved.images]


def _moves(image: PreparedImage) -> bool:
    return image.pushed and image.source != image.destination


def _stays(image: PreparedImage) -> Copied:
    copy = Copy(image.source, image.destination, image.multi_arch)
    if image.pushed:
        return Copied(copy, Status.PRESENT)
    return Copied(copy, Status.SKIPPED, why="there is no push_destination")


def not_brought(resolved: Resolved) -> list[Copied]:
    """What a dry run does with each image."""
    return [
        Copied(Copy(image.source, image.destination, image.multi_arch), Status.SKIPPED, why=DRY_RUN)
        if _moves(image)
        else _stays(image)
        for image in resolved.images
    ]


def _copied(images: Sequence[PreparedImage], registries: Registries, jobs: int) -> dict[Reference, Copied]:
    if not images:
        return {}
    copies = [Copy(image.source, image.destination, image.multi_arch) for image in images]
    with progress.transfers(len(copies)) as display:
        return {copied.copy.destination: copied for copied in copy_all(copies, registries, jobs, display)}


def _modified(
    images: Sequence[PreparedImage], registries: Registries, jobs: int, cleanup: Cleanup, tell: Tell
) -> dict[Reference, Copied]:
    if not images:
        return {}
    from diskimage_create.containers import modify

    outcomes = modify.modify_all(images, registries, jobs, tell, cleanup)
    return {outcome.copy.destination: outcome for outcome in outcomes}


def require_success(images: Sequence[PreparedImage], outcomes: Sequence[Copied]) -> None:
    """Nodes must not be told of images that are not there.

    :raises RemoteProblems: which images failed, and why
    """
    failed = dict.fromkeys(
        (f"{image.name}: {outcome.why}", outcome.hint)
        for image, outcome in zip(images, outcomes, strict=True)
        if outcome.status == Status.FAILED
    )
    last = {hint: what for what, hint in failed}  # below all that it is about, and not below each of them
    if failed:
        raise RemoteProblems([Problem(what, hint=hint if last[hint] == what else None) for what, hint in failed])


def sections(deployment: Deployment, resolved: Resolved, prefix: str) -> list[Section]:
    """What Heat is told.

    :param prefix: that names of images' parameters begin with
    """
    images = {
        renamed(parameter, prefix): str(image.destination)
        for image in resolved.images
        for parameter in image.parameters
    }
    used = {image.destination.registry for image in resolved.images}
    insecure = sorted({*deployment.insecure, *(host for host in resolved.registries.access.insecure if host in used)})
    found = [
        Section("Images", images),
        Section(
            "Registries without TLS, or with a certificate that nobody knows", {INSECURE: insecure} if insecure else {}
        ),
    ]
    if ceph := deployment.ceph:
        credentials = {"ceph_docker_registry_username": ceph.user, "ceph_docker_registry_password": ceph.password}
        found.append(Section("Credentials of the registry that Ceph's images come from", credentials, secret=True))
    return found
