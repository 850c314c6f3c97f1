"""Images under the names that they have in a registry of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from diskimage_create.errors import InputError, Problem, RemoteError, RemoteProblems
from diskimage_create.helm import selecting
from diskimage_create.helm.documents import PARAMETERS
from diskimage_create.helm.model import Kind, Used
from diskimage_create.helm.selecting import Selection, full, keys, where
from diskimage_create.helm.writing import as_yaml
from diskimage_create.progress import Transfers
from diskimage_create.references import InvalidReference, Reference, is_host, parse
from diskimage_create.registries import Registries
from diskimage_create.registries.copying import Copied, Copy, Status, copy_all

_HEAD = "# Made by 'diskimage-create images mirror --to {to}'."
#: Hexadecimal digits of a digest in a tag, which has up to 128 characters
_DIGITS = 64
_INSECURE = "DockerInsecureRegistryAddress"


class Emit(StrEnum):
    """Who reads what is written about the mirrored images."""

    HELM = "helm"
    """Values that override those of charts"""
    TRIPLEO = "tripleo-env"
    """An environment file with ``Container*Image`` parameters"""
    SKOPEO = "skopeo-sync"
    """The list that ``skopeo sync --src yaml`` copies"""


#: What an override can replace, by who reads it; a list of skopeo's replaces nothing
_KINDS: Mapping[Emit, tuple[Kind, ...]] = {
    Emit.HELM: (Kind.VALUES, Kind.CONTAINER),
    Emit.TRIPLEO: (Kind.TRIPLEO,),
    Emit.SKOPEO: (),
}


@dataclass(frozen=True)
class Target:
    """The registry that images are copied to."""

    host: str
    namespace: str = ""
    """Path that all names begin with"""
    keep_host: bool = True
    """The source's registry is a part of the name: ``TARGET/quay.io/airshipit/heat``"""

    def __str__(self) -> str:
        return f"{self.host}/{self.namespace}" if self.namespace else self.host

    def has(self, reference: Reference) -> bool:
        """Whether an image is there already, by its name."""
        return f"{reference.normalised().name}/".startswith(f"{self}/")

    def name(self, reference: Reference) -> Reference:
        """What an image is called there; with a digest where it has one.

        :raises InvalidReference: the name becomes too long
        """
        source = reference.normalised()
        if self.has(source):
            return source
        assert source.registry is not None
        parts = [self.namespace, _as_path(source.registry) if self.keep_host else "", source.repository]
        moved = replace(source, registry=self.host, repository="/".join(filter(None, parts)))
        return parse(str(moved))


def _as_path(host: str) -> str:
    """A registry's address as a part of a name, which has neither colons nor brackets nor capitals."""
    return host.lower().strip("[]").replace("]:", "-").replace(":", "-").strip("-")


def target(text: str, *, keep_host: bool) -> Target:
    """The target that a user named.

    :param text: ``HOST[:PORT][/NAMESPACE]``
    :raises InputError: it is none
    """
    host, _, namespace = text.rstrip("/").partition("/")
    try:
        if not is_host(host):
            raise InvalidReference("its first part is no registry's address")
        parse(f"{host}/{namespace or 'x'}/x" if namespace else f"{host}/x")
        if ":" in namespace or "@" in namespace:
            raise InvalidReference("a namespace has no tag")
    except InvalidReference as error:
        hint = "HOST[:PORT][/NAMESPACE], e.g. registry.example.com:5000/openstack"
        raise InputError([Problem(f"{text!r} is no place in a registry: {error}", "--to", hint)]) from None
    return Target(host, namespace, keep_host)


@dataclass(frozen=True)
class Move:
    """An image that is to be copied."""

    source: Reference
    """Its full name; by digest alone where it has one"""
    destination: Reference
    """By a tag: what has none may be swept away by its registry"""
    users: tuple[Used, ...]


@dataclass(frozen=True)
class Plan:
    """What is to be copied, and what the images are called then."""

    moves: tuple[Move, ...]
    """In the order of the sources"""
    names: Mapping[Used, str]
    """The new reference of each image, of those that were there already too"""


def plan(selection: Selection, to: Target, *, respect_exclude: bool = False) -> Plan:
    """Work out what to copy where.

    :param respect_exclude: leave out what ``local_registry.exclude`` of a chart names
    :raises InputError: two images would get one name, or a name would be none
    """
    excluded = frozenset(_excluded(selection)) if respect_exclude else frozenset()
    wanted = [image for image in selection.images if image not in excluded]
    names: dict[Used, Reference] = {}
    problems = []
    for image in wanted:
        try:
            names[image] = to.name(full(image))
        except InvalidReference as error:
            problems.append(Problem(f"{image.text} can have no name in {to}: {error}", where(image)))
    moves = tuple(_moves(names, to))
    problems += _clashes(moves)
    if problems:
        raise InputError(problems)
    return Plan(moves, {image: str(name) for image, name in names.items()})


def _excluded(selection: Selection) -> Iterator[Used]:
    """Images that the section which names them, or that of the chart's own values, excludes."""
    own = [section for chart in selection.found.charts for section in chart.sections]
    named = {(section.chart, word.text) for section in (*selection.found.sections, *own) for word in section.excluded}
    return (image for image in selection.images if image.kind is Kind.VALUES and (image.chart, image.key) in named)


def _moves(names: Mapping[Used, Reference], to: Target) -> Iterator[Move]:
    users: dict[tuple[Reference, Reference], list[Used]] = {}
    for image, name in names.items():
        if not to.has(full(image)):
            source = full(image)
            # A tag may be of another image by now; a digest cannot be.
            source = replace(source, tag=None if source.digest else source.tag or _tag_of(None))
            users.setdefault((source, name.tagged(name.tag or _tag_of(name.digest))), []).append(image)
    for (source, destination), images in sorted(users.items(), key=lambda entry: tuple(map(str, entry[0]))):
        yield Move(source, destination, tuple(images))


def _tag_of(digest: str | None) -> str:
    """A tag for what has none. ``sha256-...`` would say something else (OCI Distribution Specification 1.1)."""
    return f"digest-{digest.partition(':')[2][:_DIGITS]}" if digest else "latest"


def _clashes(moves: Sequence[Move]) -> Iterator[Problem]:
    """Images of which one would replace the other."""
    first: dict[Reference, Move] = {}
    for move in moves:
        other = first.setdefault(move.destination, move)
        if other.source != move.source:
            what = f"{other.source} and {move.source} would both be {move.destination}"
            hint = "use --layout keep-host, or another namespace for one of them"
            yield Problem(f"{what}: {keys((*other.users, *move.users))}", where(move.users[0]), hint)


def copy(made: Plan, registries: Registries, jobs: int, display: Transfers | None = None) -> list[Copied]:
    """Copy all images, for all of their architectures, and ask the target for their digests; what is there stays.

    :param jobs: copies at a time
    :raises RemoteProblems: some could not be copied
    :raises HostError: skopeo is not installed
    """
    copies = [Copy(move.source, move.destination, all_architectures=True) for move in made.moves]
    copied = copy_all(copies, registries, jobs, display)
    has = registries.all_of(partial(registries.digest, direct=True), (move.destination for move in made.moves))
    problems = [
        Problem(f"{move.source} was not copied to {move.destination}: {why}", where(move.users[0]))
        for move, done in zip(made.moves, copied, strict=True)
        if (why := _failure(done, has[move.destination]))
    ]
    if problems:
        raise RemoteProblems(problems)
    return copied


def _failure(done: Copied, has: str | RemoteError | None) -> str:
    """Why an image is not where it should be; nothing where it is.

    :param has: the digest that the target names
    """
    if done.status not in (Status.COPIED, Status.PRESENT):
        return done.why
    if isinstance(has, RemoteError):
        return has.message
    return "" if has == done.digest else f"it has the digest {has} there, and {done.digest} where it comes from"


# What is written


@dataclass(frozen=True)
class Emitted:
    """A file for whoever uses the mirrored images."""

    text: str
    left: tuple[Used, ...]
    """Images that it cannot replace"""
    override: selecting.Override


def emit(selection: Selection, made: Plan, to: Target, form: Emit, insecure: frozenset[str]) -> Emitted:
    """The file, always the same for the same images.

    :param insecure: registries that have no TLS, or a certificate that nobody knows
    :raises InputError: two files say different things of one place
    """
    override = selecting.override(selection, made.names, _KINDS[form])
    if form is Emit.SKOPEO:
        return Emitted(as_yaml(_sync_list(made, insecure), _HEAD.format(to=to)), (), override)
    data = override.data
    if form is Emit.TRIPLEO:
        parameters = {**data, **data.get(PARAMETERS, {})}
        parameters.pop(PARAMETERS, None)
        data = {PARAMETERS: parameters | ({_INSECURE: [to.host]} if to.host in insecure else {})}
    return Emitted(as_yaml(data, _HEAD.format(to=to)), override.left, override)


def _sync_list(made: Plan, insecure: frozenset[str]) -> dict[str, Any]:
    """By registry: the tags, or digests, of each repository (skopeo-sync(1))."""
    registries: dict[str, Any] = {}
    for move in made.moves:
        host = str(move.source.registry)
        registry = registries.setdefault(host, {"images": {}} | ({"tls-verify": False} if host in insecure else {}))
        versions = registry["images"].setdefault(move.source.repository, [])
        version = move.source.digest or move.source.tag or "latest"
        if version not in versions:
            versions.append(version)
    return dict(sorted(registries.items()))


def unpatched(left: Sequence[Used], names: Mapping[Used, str]) -> list[Problem]:
    """Findings about images whose new name whoever deploys them must write down."""
    hint = "an override cannot replace what is in a list, in a template, or for another tool: change it there"
    return [
        Problem(f"{selecting.key(image)} still is {image.text}, and should be {names[image]}", where(image), hint)
        for image in left
    ]
