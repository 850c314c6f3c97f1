"""Where images are pulled from in truth: what containers-registries.conf(5) says (version 2 of its format).

skopeo and buildah read these files themselves. Pushes go to the registry of an image's name, whatever they say.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diskimage_create.errors import InputError, Problem
from diskimage_create.references import InvalidReference, Reference, is_host, parse

#: The variable that names another file; buildah and podman know it, skopeo has an option for it
VARIABLE = "CONTAINERS_REGISTRIES_CONF"
_SYSTEM = Path("/etc/containers")
_PULLS = frozenset({"", "all", "digest-only", "tag-only"})


@dataclass(frozen=True)
class Endpoint:
    """A place that an image can be pulled from."""

    reference: Reference
    insecure: bool = False


@dataclass(frozen=True)
class Mirror:
    """A ``[[registry.mirror]]``."""

    location: str
    insecure: bool = False
    pulls: str = "all"
    """``all``, ``digest-only`` or ``tag-only``"""

    def serves(self, reference: Reference) -> bool:
        """Whether images may be pulled from it by such a name."""
        return self.pulls == ("digest-only" if reference.digest else "tag-only") or self.pulls == "all"


@dataclass(frozen=True)
class Namespace:
    """A ``[[registry]]``: what holds for all names that begin with a prefix."""

    prefix: str
    location: str
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()

    def matched(self, name: str) -> int:
        """Characters of ``REGISTRY/REPOSITORY[:TAG|@DIGEST]`` that the prefix covers; 0 where it is for other names."""
        if self.prefix.startswith("*."):
            host = name.partition("/")[0].partition(":")[0]
            return len(host) if host.endswith(self.prefix[1:]) else 0
        whole = name.startswith(self.prefix) and name[len(self.prefix) : len(self.prefix) + 1] in {"", "/", ":", "@"}
        return len(self.prefix) if whole else 0


class Blocked(Exception):
    """The files forbid to pull an image."""


@dataclass(frozen=True)
class Configuration:
    """All that the files of a host say."""

    namespaces: tuple[Namespace, ...] = ()

    def endpoints(self, reference: Reference) -> list[Endpoint]:
        """Where to pull an image from: mirrors first, its own registry last.

        :param reference: a full name
        :raises Blocked: it must not be pulled
        """
        name = str(reference)
        namespace = max(self.namespaces, key=lambda each: each.matched(name), default=None)
        if namespace is None or not (matched := namespace.matched(name)):
            return [Endpoint(reference)]
        if namespace.blocked:
            raise Blocked(namespace.prefix)
        rest = name[matched:]
        endpoints = [
            Endpoint(_moved(mirror.location + rest, reference), mirror.insecure)
            for mirror in namespace.mirrors
            if mirror.serves(reference)
        ]
        moved = _moved(namespace.location + rest, reference) if namespace.location else reference
        return [*endpoints, Endpoint(moved, namespace.insecure)]

    def insecure(self, reference: Reference) -> bool:
        """Whether the registry of a name needs no TLS: all that holds for pushes."""
        namespace = max(self.namespaces, key=lambda each: each.matched(str(reference)), default=None)
        return namespace is not None and namespace.matched(str(reference)) > 0 and namespace.insecure


def _moved(name: str, reference: Reference) -> Reference:
    """An image under another ``HOST/REPOSITORY``, to which the reference's tag and digest may be added."""
    bare = name.removesuffix(f"@{reference.digest}").removesuffix(f":{reference.tag}")
    host, _, path = bare.partition("/")
    repository, _, tag = path.partition(":")
    return replace(reference, registry=host, repository=repository, tag=tag or reference.tag)


def read(environ: Mapping[str, str], system: Path = _SYSTEM) -> Configuration:
    """What the files of this host say, the later of two about the same prefix.

    :raises InputError: a file cannot be read, or is not what it should be
    """
    problems: list[Problem] = []
    namespaces: dict[str, Namespace] = {}
    for path in _files(environ, system):
        try:
            content = tomllib.loads(path.read_text())
            namespaces.update({each.prefix: each for each in map(_namespace, content.get("registry", []))})
        except OSError as error:
            problems.append(Problem(f"it cannot be read: {error.strerror}", str(path)))
        except (ValueError, TypeError, AttributeError) as error:  # TOMLDecodeError is a ValueError that says where
            problems.append(Problem(f"it is no configuration of registries: {error}", str(path)))
    if problems:
        raise InputError(problems)
    return Configuration(tuple(namespaces.values()))


def _files(environ: Mapping[str, str], system: Path) -> Iterator[Path]:
    home = environ.get("HOME")
    user = Path(home, ".config", "containers") if home else None
    if named := environ.get(VARIABLE):
        yield Path(named)
    else:
        found = [place / "registries.conf" for place in (user, system) if place]
        yield from [path for path in found if path.exists()][:1]
    for place in (system, user):
        if place:
            yield from sorted((place / "registries.conf.d").glob("*.conf"))


def _namespace(table: Mapping[str, Any]) -> Namespace:
    """One ``[[registry]]``; ValueError says what is wrong with it."""
    location = _text(table, "location").rstrip("/")
    prefix = (_text(table, "prefix") or location).rstrip("/")
    if not prefix:
        raise ValueError("a [[registry]] has neither prefix nor location")
    if not location and not prefix.startswith("*."):
        raise ValueError(f"the [[registry]] of prefix {prefix} has no location")
    namespace = Namespace(prefix, location, _flag(table, "insecure"), _flag(table, "blocked"))
    for place in (location, *((prefix,) if not prefix.startswith("*.") else ())):
        _check(place)
    by_digest = _flag(table, "mirror-by-digest-only")
    return replace(namespace, mirrors=tuple(_mirrors(table.get("mirror", []), by_digest)))


def _mirrors(tables: Sequence[Mapping[str, Any]], by_digest: bool) -> Iterator[Mirror]:
    for table in tables:
        location, pulls = _text(table, "location").rstrip("/"), _text(table, "pull-from-mirror")
        if not location:
            raise ValueError("a mirror has no location")
        if pulls not in _PULLS:
            raise ValueError(f"pull-from-mirror is {pulls!r}, and must be all, digest-only or tag-only")
        _check(location)
        yield Mirror(location, _flag(table, "insecure"), "digest-only" if by_digest else pulls or "all")


def _check(place: str) -> None:
    """``HOST[:PORT][/PATH]``, to which the rest of an image's name is added."""
    if not place:
        return
    host, _, path = place.partition("/")
    try:
        parse(f"{host if is_host(host) else host + ':1'}/{path or 'name'}")
    except InvalidReference as error:
        raise ValueError(f"{place}: {error}") from None


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"{key} must be a text")
    return value


def _flag(table: Mapping[str, Any], key: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false")
    return value
