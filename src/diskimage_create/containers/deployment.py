"""What environment files, roles and the table of images say together; no registry is asked."""

from __future__ import annotations

import difflib
import ipaddress
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from diskimage_create.containers import credentials, destinations, entries, filters, heat, packaged, roles, table
from diskimage_create.containers.entries import Entry
from diskimage_create.containers.heat import Environment
from diskimage_create.containers.layering import Wanted, layered
from diskimage_create.containers.table import Row, Table
from diskimage_create.containers.undercloud import local_registry
from diskimage_create.errors import HostError, InputError, Problem
from diskimage_create.references import InvalidReference
from diskimage_create.registries import Access, Credentials

MIRROR = "DockerRegistryMirror"
INSECURE = "DockerInsecureRegistryAddress"
_LOCAL = "LocalContainerRegistry"
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Given:
    """The files that the user named."""

    environments: tuple[Path, ...] = ()
    directories: tuple[Path, ...] = ()
    """Of environment files; they come before the others"""
    roles: Path | None = None
    defaults: Path | None = None
    """In the place of tripleo-common's"""
    template: Path | None = None
    """In the place of tripleo-common's"""


@dataclass(frozen=True)
class Deployment:
    """The images of a deployment, as far as no registry has to be asked."""

    wanted: tuple[Wanted, ...]
    access: Access
    """What the user, the host and the files say about registries"""
    mirror: str | None = None
    """The registry that images of Docker Hub are read from"""
    insecure: tuple[str, ...] = ()
    """Registries that nodes are told to use without TLS"""
    ceph: Credentials | None = field(default=None, repr=False)
    """Those of the registry that Ceph's images are in"""
    notes: tuple[str, ...] = ()


def read(given: Given, access: Access, now: time.struct_time) -> Deployment:
    """Read and check everything.

    :param access: what the user and the host say about registries
    :param now: when tags say that images were changed
    :raises InputError: with every problem of every file
    :raises HostError: tripleo-common's files are needed, and not installed
    """
    problems: list[Problem] = []
    environment = heat.read(heat.files(given.environments, given.directories, problems), problems)
    misshapen = bool(problems)
    services = _tried(lambda: _services(given.roles, environment), problems)
    defaults, images = _packaged(given, problems)
    if misshapen or defaults is None or images is None:  # what can be checked without all of them, is
        entries.read(environment, lambda: local_registry("localhost"), now, problems)
        credentials.read(environment, problems)
        raise InputError(problems)
    reading = _Reading(environment, defaults, images, services, problems)
    deployment = reading.deployment(access, now)
    if problems:
        raise InputError(problems)
    return deployment


def _services(path: Path | None, environment: Environment) -> frozenset[str] | None:
    return roles.services(roles.read(path), environment) if path else None


def _packaged(given: Given, problems: list[Problem]) -> tuple[Environment | None, Table | None]:
    """The defaults, and the table. Where they are not installed, what is wrong with the input is told first."""
    try:
        path = given.defaults or packaged.find(packaged.DEFAULTS, "--defaults")
        template = given.template or packaged.find(packaged.TABLE, "--template")
        beside = [] if given.template is None else _directory_of_table()
    except HostError:
        if problems:
            raise InputError(problems) from None
        raise
    return _tried(lambda: entries.read_defaults(path), problems), _tried(
        lambda: table.load(template, *beside), problems
    )


def _directory_of_table() -> list[Path]:
    """Where a template of the user's finds what tripleo-common's includes."""
    try:
        return [packaged.find(packaged.TABLE, "--template").parent]
    except HostError:
        return []


def _tried(read: Callable[[], _Value], problems: list[Problem]) -> _Value | None:
    """What a function returns; None where it has problems, which are kept."""
    try:
        return read()
    except InputError as error:
        problems += error.problems
        return None


@dataclass
class _Reading:
    """Puts together what the files say."""

    environment: Environment
    defaults: Environment
    images: Table
    services: frozenset[str] | None
    problems: list[Problem]
    notes: list[str] = field(default_factory=list)

    def deployment(self, access: Access, now: time.struct_time) -> Deployment:
        """All of it; the problems are kept."""
        found = self._entries(now)
        given = credentials.read(self.environment, self.problems)
        insecure = tuple(self._insecure())
        mirror, plain = self._mirror()
        values = [(entry, self._values(entry)) for entry in found]
        wanted = layered([(entry, self._rows(entry, each)) for entry, each in values])
        return Deployment(
            wanted=tuple(wanted),
            access=replace(
                access,
                credentials={**access.credentials, **given},
                insecure=access.insecure.union(insecure, [mirror] if mirror and plain else []),
            ),
            mirror=mirror,
            insecure=insecure,
            ceph=_of_ceph([each for _, each in values], given),
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def _entries(self, now: time.struct_time) -> list[Entry]:
        source = self.environment
        if not source.get(entries.PARAMETER):
            self.notes.append(f"there is no {entries.PARAMETER}: tripleo-common's defaults are used")
            source = self.defaults
        return entries.read(source, lambda: self._local, now, self.problems)

    @cached_property
    def _local(self) -> str:
        """The local registry, which takes a look-up of this host's address in the control plane's network."""
        configured = self.environment.get(_LOCAL)
        if configured and _is_ipv6(configured):
            configured = f"[{configured}]"
        local = local_registry(configured or None)
        if destinations.wrong_with(local):
            message = f"{_LOCAL} must be an address, or a name, without a port"
            self.problems.append(Problem(message, self.environment.where(_LOCAL)))
            return local_registry("localhost")
        if not configured:
            self.notes.append(f"push_destination: true is {local}")
        return local

    def _insecure(self) -> Iterator[str]:
        given = self.environment.get(INSECURE) or []
        for text in given.split(",") if isinstance(given, str) else given:
            host = text.strip()
            if "/" in host or destinations.wrong_with(host):
                where = self.environment.where(INSECURE)
                self.problems.append(Problem(f"{INSECURE}: {host!r} is no HOST:PORT", where))
            else:
                yield host

    def _mirror(self) -> tuple[str | None, bool]:
        """The registry that is Docker Hub's mirror, and whether it has no TLS."""
        given = self.environment.get(MIRROR)
        if not given:
            return None, False
        try:
            return destinations.mirror(given)
        except (ValueError, InvalidReference) as error:
            self.problems.append(Problem(f"{MIRROR} {error}", self.environment.where(MIRROR)))
            return None, False

    def _values(self, entry: Entry) -> dict[str, Any]:
        """What the template is evaluated with for an entry."""
        defaults = self.defaults.written(entries.PARAMETER, 0, "set")
        known = {*defaults, *self.images.variables}
        for key in sorted(entry.values.keys() - known):
            close = difflib.get_close_matches(key, known, n=1)
            guess = f": did you mean {close[0]}?" if close else ""
            self.notes.append(f"set.{key} ({entry.where}) is nothing that the table of images uses{guess}")
        return table.values(entry.values, defaults, self.environment.get("NeutronMechanismDrivers"))

    def _rows(self, entry: Entry, values: Mapping[str, Any]) -> list[Row]:
        """The images of an entry, each with a name that can be one."""
        rows = _tried(lambda: self.images.rows(values), self.problems) or []
        for pattern in entry.includes:
            if not any(filters.matches(row, [pattern]) for row in rows):
                self.notes.append(f"includes: {pattern} ({entry.where}) is in no image's name")
        if entry.pull_source:
            self.notes.append(f"pull_source ({entry.where}) is deprecated: write it into set.namespace")
        chosen = filters.chosen(rows, entry.includes, entry.excludes, self.services)
        self.problems += _unnameable(entry, chosen)
        return chosen


def _unnameable(entry: Entry, rows: Sequence[Row]) -> Iterator[Problem]:
    """What is wrong with names of images: each thing once, however many have it."""
    wrong: dict[str, list[str]] = {}
    for row in rows:
        try:
            image = destinations.source(row.imagename, entry.pull_source)
            if entry.push_destination is not None and not destinations.wrong_with(entry.push_destination):
                destinations.destination(image, entry.push_destination)
        except InvalidReference as error:
            wrong.setdefault(str(error), []).append(row.imagename)
    for why, (first, *more) in wrong.items():
        others = f" (and {len(more)} more)" if more else ""
        yield Problem(f"image {first}{others}: {why}", entry.where, "check the values of set")


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def _of_ceph(values: Sequence[Mapping[str, Any]], given: Mapping[str, Credentials]) -> Credentials | None:
    """The credentials of the registry that the last entry with Ceph's images takes them from."""
    namespaces = [str(each.get("ceph_namespace") or "") for each in values if each.get("ceph_images", True)]
    found = [credentials.of_namespace(namespace, given) for namespace in namespaces]
    return next((each for each in reversed(found) if each), None)
