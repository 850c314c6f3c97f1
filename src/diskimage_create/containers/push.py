"""One image, to a registry."""

from __future__ import annotations

import re

from diskimage_create import progress
from diskimage_create.containers.buildah import host_storage
from diskimage_create.containers.modify.tasks import step
from diskimage_create.errors import InputError, Problem, RemoteError
from diskimage_create.references import InvalidReference, Reference, parse
from diskimage_create.registries import Registries
from diskimage_create.registries.copying import Copy, Status, copy_all


def destination_of(image: str, registry: str, append_tag: str = "") -> tuple[Reference, Reference]:
    """An image, and its name in another registry: the same with another host before it.

    :param registry: ``HOST[:PORT]``, with ``/PREFIX`` after it where all names there shall begin with one
    :param append_tag: comes after the tag
    :raises InputError: all that is wrong with it
    """
    wrong: list[Problem] = []
    host, _, prefix = _without_scheme(registry).partition("/")
    try:
        host_of(host, "--registry-url")
        parse(f"{host}/{prefix}/image" if prefix else f"{host}/image")
    except InputError as error:
        wrong += error.problems
    except InvalidReference as error:
        wrong.append(Problem(f"{prefix}: {error}", "--registry-url"))
    try:
        source = parse(image)
        if source.digest:
            raise InvalidReference("it has a digest; name it by a tag, which it is stored under")
        source = source.normalised().tagged(source.tag or "latest")
        tagged = source.tagged(f"{source.tag}{append_tag}")
    except InvalidReference as error:
        wrong.append(Problem(f"{image}{append_tag}: {error}", "IMAGE"))
    if wrong:
        raise InputError(wrong)
    path = f"{prefix}/{tagged.repository}" if prefix else tagged.repository
    return source, Reference(host, path, tagged.tag)


def host_of(text: str, option: str) -> str:
    """``HOST[:PORT]`` of a registry.

    :raises InputError: it is none
    """
    host = _without_scheme(text)
    try:
        if parse(f"{host}/image").registry == host:
            return host
        reason = f"{host!r} cannot be a registry's address"
    except InvalidReference as error:
        reason = str(error)
    raise InputError([Problem(reason, option, "e.g. 192.168.24.1:8787")])


def _without_scheme(text: str) -> str:
    return re.sub(r"^(https?|docker)://", "", text).rstrip("/")


def push(source: Reference, destination: Reference, local: bool, registries: Registries) -> str:
    """Store an image in a registry; the digest of its manifest there.

    :param local: it is in the storage of this host's container tools; otherwise it is in its registry
    :raises InputError: there is no such image in the storage
    :raises RemoteError: a registry refuses, or fails
    """
    if local:
        return _from_storage(source, destination, registries)
    with progress.transfers(1) as display:
        (copied,) = copy_all([Copy(source, destination)], registries, 1, display)
    if copied.status is Status.FAILED or copied.digest is None:
        raise RemoteError(f"{source}: {copied.why.removeprefix(f'{source}: ')}", copied.hint)
    return copied.digest


def _from_storage(source: Reference, destination: Reference, registries: Registries) -> str:
    with host_storage(registries.access) as buildah:
        identity = buildah.id_of(str(source))
        if identity is None:
            hint = "'buildah images' shows what there is; without --local it is taken from its registry"
            raise InputError([Problem(f"there is no image {source} on this host", "IMAGE", hint)])
        with step(f"storing {destination}", RemoteError):
            return buildah.push(identity, destination)
