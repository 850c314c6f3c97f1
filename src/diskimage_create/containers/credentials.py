"""``ContainerImageRegistryCredentials``. No message shows what is in it: the words may be the wrong way round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from diskimage_create.containers import heat
from diskimage_create.containers.heat import Environment
from diskimage_create.errors import Problem
from diskimage_create.references import DOCKER_HUB, InvalidReference, Reference, parse
from diskimage_create.registries import Credentials

PARAMETER = heat.CREDENTIALS
_FORM = "write 'HOST': {'USER': 'PASSWORD'}, each in quotes"


def read(environment: Environment, problems: list[Problem]) -> dict[str, Credentials]:
    """The credentials, by registry.

    :param problems: gets everything that is wrong with them
    """
    given = environment.get(PARAMETER)
    if given is None:
        return {}
    found = list(_wrong(given, environment))
    problems += found
    if found:
        return {}
    return {host.rstrip("/"): Credentials(*next(iter(entry.items()))) for host, entry in given.items()}


def _wrong(given: Any, environment: Environment) -> Iterator[Problem]:
    if not isinstance(given, Mapping):
        yield Problem(f"{PARAMETER} must be a mapping of registries", environment.where(PARAMETER), _FORM)
        return
    for number, (host, entry) in enumerate(given.items(), 1):
        where = environment.where(PARAMETER, host)
        what = f"{PARAMETER}: the entry {number}"
        if not _is_registry(host):
            yield Problem(f"{what} names no registry", where, "as in names of images, e.g. quay.io or HOST:PORT")
        if not isinstance(entry, Mapping) or len(entry) != 1:
            yield Problem(f"{what} has not one user with one password", where, _FORM)
            continue
        ((user, password),) = entry.items()
        if not user or not isinstance(password, str) or not password:
            yield Problem(f"{what} has a user or a password that is no text", where, _FORM)
        elif ":" in user:
            yield Problem(f"{what} has a user with a colon, which HTTP cannot tell from the password", where)


def _is_registry(text: str) -> bool:
    """``HOST[:PORT]``, or a part of a registry: ``HOST[:PORT]/PATH``."""
    try:
        return parse(f"{text.rstrip('/')}/x").registry is not None
    except InvalidReference:
        return False


def of_namespace(namespace: str, credentials: Mapping[str, Credentials]) -> Credentials | None:
    """The credentials of the registry that a namespace is in: of the longest path that is known."""
    try:
        image: Reference = parse(f"{namespace}/x").normalised()
    except InvalidReference:
        return None
    path = image.name.rpartition("/")[0]
    while path:
        if path in credentials:
            return credentials[path]
        path = path.rpartition("/")[0]
    return credentials.get(DOCKER_HUB) if image.registry == DOCKER_HUB else None
