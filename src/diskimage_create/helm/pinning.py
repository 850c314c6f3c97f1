"""Images by what they are, not by what they are called: tags looked up, and held in a lock file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diskimage_create import yamlfile
from diskimage_create.errors import Findings, InputError, Problem, Problems, RemoteError, RemoteProblems
from diskimage_create.helm import selecting
from diskimage_create.helm.model import Kind
from diskimage_create.helm.selecting import Override, Selection, full, keys
from diskimage_create.helm.writing import as_yaml
from diskimage_create.references import Reference
from diskimage_create.registries import NotFound, Registries, labels

_LABEL = "label:"
_OVERRIDE_HEAD = "# Made by 'diskimage-create images pin'."
_LOCK_HEAD = "# What images were when 'diskimage-create images pin' looked; change nothing here."
LOCK_SCHEMA = 1


@dataclass(frozen=True)
class Pin:
    """What a registry has under a name."""

    digest: str
    """Of the index, where there are several architectures"""
    tag: str | None = None
    """The tag that the image's labels make, which has this digest"""

    def of(self, reference: Reference, *, digest_only: bool = False) -> str:
        """A reference that means this, and nothing else later.

        :param digest_only: without the tag, for tools that reject both
        """
        if self.tag is not None:
            return str(reference.tagged(self.tag))
        return f"{reference.name}@{self.digest}" if digest_only else str(reference.pinned(self.digest))


@dataclass(frozen=True)
class Looked:
    """What registries said, by the full name of the image."""

    pins: Mapping[Reference, Pin]
    failures: Mapping[Reference, RemoteError]

    def error(self, selection: Selection) -> Problems | None:
        """All that could not be found out: an unknown tag is a finding, a registry that does not answer is none."""
        uses = selection.uses()
        problems = []
        for reference, failure in self.failures.items():
            message = f"{failure.message}, for {keys(uses[reference])}"
            problems.append(Problem(message, hint=failure.hint))
        if not problems:
            return None
        unknown = all(isinstance(failure, NotFound) for failure in self.failures.values())
        return Findings(problems) if unknown else RemoteProblems(problems)


def template_of(by: str, *, digest_only: bool = False) -> str | None:
    """The template of labels in ``label:TEMPLATE``; None for ``digest``.

    :param digest_only: references without a tag are wanted
    :raises InputError: it is neither, or there would be no tag
    """
    if by == "digest":
        return None
    if not by.startswith(_LABEL):
        raise InputError(
            [Problem(f"images cannot be pinned by {by!r}", "--by", "digest, or label:{version}-{release}")]
        )
    template = by.removeprefix(_LABEL)
    problems = list(labels.problems(template, "--by"))
    if digest_only:
        problems.append(Problem("labels make tags, and references without a tag are wanted", "--by and --format"))
    if problems:
        raise InputError(problems)
    return template


def look_up(references: Iterable[Reference], registries: Registries, template: str | None = None) -> Looked:
    """Ask for each image once, for many at a time. One that has a digest already is what it says.

    :param references: full names
    :param template: makes of an image's labels the tag to use; None: digests are what is wanted
    """

    def ask(reference: Reference) -> Pin:
        return _by_label(reference, registries, template) if template else _by_digest(reference, registries)

    wanted = list(references)
    answers = registries.all_of(ask, [reference for reference in wanted if not reference.digest])
    pins = {reference: Pin(reference.digest) for reference in wanted if reference.digest}
    failures = {}
    for reference, answer in answers.items():
        if isinstance(answer, RemoteError):
            failures[reference] = answer
        else:
            pins[reference] = answer
    return Looked({reference: pins[reference] for reference in wanted if reference in pins}, failures)


def _by_digest(reference: Reference, registries: Registries) -> Pin:
    digest = registries.digest(reference)
    if digest is None:
        raise NotFound(f"{reference}: the registry has no such image", "check the name and the tag")
    return Pin(digest)


def _by_label(reference: Reference, registries: Registries, template: str) -> Pin:
    try:
        tag = labels.tag(template, registries.labels(reference))
    except labels.NoSuchTag as error:
        raise NotFound(f"{reference}: {error}") from None
    digest = registries.digest(reference.tagged(tag))
    if digest is None:
        near = difflib.get_close_matches(tag, registries.tags(reference), n=3, cutoff=0.4)
        hint = f"there are {', '.join(near)}" if near else None
        raise NotFound(f"{reference}: its labels say {tag}, and the registry has no such tag", hint)
    return Pin(digest, tag)


# The override


def override(looked: Looked, selection: Selection, *, digest_only: bool = False) -> Override:
    """An override in which images are what registries said; it is laid out as the files are.

    :raises InputError: two files say different things of one place
    """
    pinned = {
        image: looked.pins[full(image)].of(image.reference, digest_only=digest_only)
        for image in selection.images
        if image.reference and full(image) in looked.pins
    }
    return selecting.override(selection, pinned, (Kind.VALUES, Kind.CONTAINER, Kind.TRIPLEO))


def override_text(made: Override) -> str:
    """A file that Helm, TripleO or 'values split' reads."""
    return as_yaml(made.data, _OVERRIDE_HEAD)


# The lock


def lock_text(pins: Mapping[Reference, Pin]) -> str:
    """The lock file's content, in the order of the names."""
    images = {
        str(reference): {"digest": pin.digest} | ({"tag": pin.tag} if pin.tag else {})
        for reference, pin in pins.items()
    }
    return as_yaml({"schema": LOCK_SCHEMA, "images": images}, _LOCK_HEAD)


def read_lock(path: Path) -> dict[str, Pin]:
    """A lock file's content, by the full names.

    :raises InputError: it cannot be read, or is none
    """
    document = yamlfile.read(path)
    if problems := document.problems("images-lock"):
        raise InputError(problems)
    images: dict[str, Any] = document.data["images"]
    return {name: Pin(entry["digest"], entry.get("tag")) for name, entry in images.items()}


def drift(lock: Mapping[str, Pin], looked: Looked, selection: Selection) -> Iterator[str]:
    """What is not as it was when the lock was written, a line each."""
    uses = selection.uses()
    for reference, pin in looked.pins.items():
        was = lock.get(str(reference))
        if was is None:
            yield f"{reference}: not in the lock, for {keys(uses[reference])}"
        elif was != pin:
            yield f"{reference}: was {_said(was)}, is {_said(pin)}, for {keys(uses[reference])}"
    for name in sorted(lock.keys() - {str(reference) for reference in uses}):
        yield f"{name}: in the lock, but nothing names it"


def _said(pin: Pin) -> str:
    return f"{pin.tag} {pin.digest}" if pin.tag else pin.digest
