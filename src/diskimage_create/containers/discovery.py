"""What registries must be asked about images before it is known what to copy: where they are, labels, tags."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from diskimage_create.containers import destinations
from diskimage_create.containers.layering import Wanted
from diskimage_create.containers.model import PreparedImage
from diskimage_create.errors import Problem, RemoteError, RemoteProblems
from diskimage_create.references import Reference
from diskimage_create.registries import Registries, labels

_Answer = TypeVar("_Answer")
#: How many tags are named where the right one is missing, and how alike they must be
_NEAR = 5
_ALIKE = 0.4


@dataclass
class Discovery:
    """Asks registries, everything at once and once."""

    registries: Registries
    mirror: str | None = None
    """The registry that images of Docker Hub are read from"""
    problems: list[Problem] = field(default_factory=list)
    """Labels that make no tag, and tags that there are not"""
    refused: dict[tuple[str | None, str, str | None], list[Reference]] = field(default_factory=dict)
    """Registry, what it says, what to do about it -> the images that it says so of"""
    fallbacks: dict[str, list[str]] = field(default_factory=dict)
    """Template of labels -> names of the images that have not these labels"""

    def images(self, wanted: Sequence[Wanted]) -> list[PreparedImage]:
        """The images, with the tags that were discovered.

        :raises RemoteProblems: what registries refused, and tags that there are not
        """
        places = self._places(wanted)
        found = self._labels(wanted, places)
        tagged = [self._tagged(each, place, found.get(place)) for each, place in zip(wanted, places, strict=True)]
        self._require_tags(
            {source: place for place, source in zip(places, tagged, strict=True) if source.tag != place.tag}
        )
        self._raise_problems()
        return [
            _prepared(each, source, found.get(place, {}))
            for each, place, source in zip(wanted, places, tagged, strict=True)
        ]

    def _places(self, wanted: Sequence[Wanted]) -> list[Reference]:
        """Where each image is. One whose name has no registry may already be where it is to go: it is looked for there.

        Otherwise it is on Docker Hub, which may have somebody else's image of that name for one that was built here.
        A registry that does not answer now complains when images are copied there.
        """
        named = [destinations.source(each.row.imagename, each.entry.pull_source) for each in wanted]
        local = [
            destinations.destination(name, each.entry.push_destination)
            if name.registry is None and each.entry.push_destination is not None
            else None
            for name, each in zip(named, wanted, strict=True)
        ]
        there = self.registries.all_of(lambda image: self.registries.digest(image, direct=True), filter(None, local))
        return [
            image if image and isinstance(there[image], str) else destinations.through(name, self.mirror)
            for name, image in zip(named, local, strict=True)
        ]

    def _labels(self, wanted: Sequence[Wanted], places: Sequence[Reference]) -> dict[Reference, dict[str, str]]:
        """The labels of those images whose tags, or whose changes, depend on them."""
        asked = [place for each, place in zip(wanted, places, strict=True) if _needs_labels(each)]
        return self._ask(self.registries.labels, asked)

    def _tagged(self, wanted: Wanted, place: Reference, found: Mapping[str, str] | None) -> Reference:
        """An image under the tag that its labels make; under its own where it has not these labels."""
        template = wanted.entry.tag_from_label
        if template is None or found is None:
            return place
        try:
            return place.tagged(labels.tag(template, found))
        except labels.NoSuchLabel:
            self.fallbacks.setdefault(template, []).append(wanted.row.name)
        except labels.NoSuchTag as error:
            self.problems.append(Problem(f"{place}: {error}", wanted.entry.where))
        return place

    def _require_tags(self, tagged: Mapping[Reference, Reference]) -> None:
        """Complain of discovered tags that there are not, and name similar ones.

        :param tagged: the image whose labels made the tag, by the image under that tag
        """
        missing = [source for source, digest in self._ask(self.registries.digest, tagged).items() if digest is None]
        known = self._ask(self.registries.tags, (source.tagged("latest") for source in missing))
        for source in missing:
            tag = source.tag or ""
            near = difflib.get_close_matches(tag, known.get(source.tagged("latest"), ()), _NEAR, _ALIKE)
            hint = f"there are {', '.join(near)}" if near else "check tag_from_label, or name the tag itself"
            self.problems.append(
                Problem(f"{tagged[source]}: its labels make the tag {tag}, and the registry has none", None, hint)
            )

    def _raise_problems(self) -> None:
        problems = [*self.problems]
        for (host, what, hint), images in self.refused.items():
            first, *more = images
            others = f"; and of {len(more)} more images of {host}" if more else ""
            problems.append(Problem(f"{first}: {what}{others}", None, hint))
        if problems:
            raise RemoteProblems(list(dict.fromkeys(problems)))

    def _ask(self, ask: Callable[[Reference], _Answer], references: Iterable[Reference]) -> dict[Reference, _Answer]:
        """The answers; what registries refuse is a problem."""
        answers = {}
        for reference, answer in self.registries.all_of(ask, references).items():
            if isinstance(answer, RemoteError):
                what = answer.message.removeprefix(f"{reference}: ")
                self.refused.setdefault((reference.registry, what, answer.hint), []).append(reference)
            else:
                answers[reference] = answer
        return answers


def _needs_labels(wanted: Wanted) -> bool:
    modification = wanted.entry.modification
    return bool(wanted.entry.tag_from_label or (modification and modification.only_with_labels))


def _prepared(wanted: Wanted, source: Reference, found: Mapping[str, str]) -> PreparedImage:
    entry = wanted.entry
    modification = entry.modification if _is_modified(wanted, found) else None
    named = destinations.source(wanted.row.imagename, entry.pull_source)
    named = replace(named, tag=source.tag)  # the registry may be that of a mirror, or of the destination
    appended = modification.append_tag if modification else ""
    to = entry.push_destination
    return PreparedImage(
        name=wanted.row.name,
        source=source,
        destination=named if to is None else destinations.destination(named, to, appended),
        parameters=wanted.parameters,
        modification=modification,
        multi_arch=entry.multi_arch,
        pushed=to is not None,
    )


def _is_modified(wanted: Wanted, found: Mapping[str, str]) -> bool:
    """Whether an image is changed: where labels or sources are named, it needs one of them."""
    modification = wanted.entry.modification
    if modification is None:
        return False
    if not modification.only_with_labels and not modification.only_with_source:
        return True
    with_label = any(label in found for label in modification.only_with_labels)
    return with_label or wanted.row.source in modification.only_with_source
