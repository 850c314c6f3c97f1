"""Rules about the names of images."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diskimage_create.findings import Severity
from diskimage_create.helm import placeholders
from diskimage_create.helm.lint import versions
from diskimage_create.helm.lint.model import Broken, Context, of, rule
from diskimage_create.helm.model import Kind
from diskimage_create.references import DOCKER_HUB

_LATEST = "latest"
_MOVING = frozenset(
    {
        *(_LATEST, "canary", "current", "daily", "dev", "devel", "edge", "head", "main", "master", "nightly"),
        *("rolling", "snapshot", "stable", "testing", "tip", "trunk", "unstable"),
    }
)
_VALUES = "values"


@rule("IMG001", "invalid reference", Severity.ERROR)
def invalid(context: Context) -> Iterator[Broken]:
    """A text is no name of an image: no registry, and no container runtime, will understand it.

    A name is `REGISTRY[:PORT]/REPOSITORY[:TAG][@DIGEST]`. The repository is in lower case; a tag has up to 128
    letters, digits, dots, dashes and underscores. In YAML a tag such as `1.20` alone is a number: put names in
    quotation marks. Where a placeholder (`%%%REPLACE_X%%%`) or a template's expression stands for a part, the other
    parts are looked at.
    """
    for used in context.found.images:
        if used.error is not None:
            yield of(used, f"{used.text!r} is no reference: {used.error}")


@rule("IMG002", "no registry", Severity.ERROR)
def no_registry(context: Context) -> Iterator[Broken]:
    """A name does not say which registry the image is in, so that it depends on the host which one is asked.

    Docker adds `docker.io`; podman and CRI-O ask the registries that the host's `registries.conf` lists. Spell the
    name out: `docker.io/library/nginx:1.27`.
    """
    for used, reference in context.references:
        if reference.registry is None and not _is_all_placeholder(used.text):
            yield of(used, f"{used.text} names no registry: is it {reference.normalised().name}?")


def _is_all_placeholder(text: str) -> bool:
    """Whether the first part of a name is filled in later: it can be a registry."""
    return placeholders.has(text.partition("/")[0].partition(":")[0])


@rule("IMG003", "no tag or digest", Severity.ERROR)
def no_version(context: Context) -> Iterator[Broken]:
    """A name says nothing about which version of the image is meant, so that registries answer with `latest`.

    Add the tag of a version, or the digest. With `--require-digest`, a tag alone does not count: what it names can
    change at any time. `images pin` writes overrides with digests.
    """
    for used, reference in context.references:
        if _is_all_placeholder(used.text) and "/" not in used.text:
            continue
        if not (reference.tag or reference.digest):
            yield of(used, f"{used.text} has no tag and no digest: latest is meant then")
        elif context.require_digest and not reference.digest:
            yield of(used, f"{used.text} has no digest")


@rule("IMG004", "latest", Severity.ERROR)
def latest(context: Context) -> Iterator[Broken]:
    """The tag `latest` names another image whenever somebody pushes one: a deployment cannot be repeated, and two
    nodes may run different versions.

    Name the tag of a version. With a digest behind it, the tag says nothing any more, and is no finding.
    """
    for used, reference in context.references:
        if reference.tag == _LATEST and not reference.digest:
            yield of(used, f"{used.text} is whatever was pushed last")


@rule("IMG101", "moving tag", Severity.WARNING)
def moving(context: Context) -> Iterator[Broken]:
    """A part of the tag says that it moves: `latest-ubuntu_noble`, `current-tripleo`, `master`, `v1-nightly`.

    What it names changes, as with `latest`. Name the tag of a version, or pin what the tag names now: `images pin`
    adds the digest, and `images pin --check` tells when the tag has moved. Names of releases, such as `newton`, are
    no finding.
    """
    for used, reference in context.references:
        if reference.tag and not reference.digest and reference.tag != _LATEST:
            moves = [word for word in re.split(r"[-_.]", reference.tag.lower()) if word in _MOVING]
            if moves:
                yield of(used, f"{used.text}: a tag with {moves[0]!r} moves")


@rule("IMG103", "Docker Hub name without library/", Severity.WARNING)
def no_library(context: Context) -> Iterator[Broken]:
    """Docker Hub keeps images with names of one word in the namespace `library`; that it can be left out is a habit of
    docker's alone.

    A mirror by host and path, or a tool that takes names as they are, looks for `docker.io/rabbitmq` and does not
    find it. Write `docker.io/library/rabbitmq:3.13`.
    """
    for used, reference in context.references:
        full = reference.normalised()
        if reference.registry and full.registry == DOCKER_HUB and "/" not in reference.repository:
            yield of(used, f"{used.text} is in full {full.name}")


@rule("IMG204", "tag of another release", Severity.WARNING)
def other_release(context: Context) -> Iterator[Broken]:
    """The file's name says one release of OpenStack, or of a distribution, and a tag in it says another one, as
    `2023.2-ubuntu_jammy` in `values_overrides/2024.1-ubuntu_jammy.yaml`.

    Most often a line was forgotten when the file was copied. `jammy` is `22.04`, and `caracal` is `2024.1`. Charts'
    own `values.yaml` name no release, and are not looked at.
    """
    for used, reference in context.references:
        stem = used.file.stem
        if not reference.tag or used.kind is Kind.TEMPLATE or stem == _VALUES:
            continue
        for said, means in (
            (versions.releases(stem), versions.releases(reference.tag)),
            (versions.distributions(stem), versions.distributions(reference.tag)),
        ):
            if said and means and not said & means:
                yield of(used, f"{used.text} is of {_listed(means)}, the file's name says {_listed(said)}")


def _listed(words: set[str]) -> str:
    return " and ".join(sorted(words))
