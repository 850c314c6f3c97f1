"""Which images of some files are meant, and which of them a file of overrides can replace."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diskimage_create.errors import InputError, Problem
from diskimage_create.files import refuse_unwritable
from diskimage_create.helm import reading
from diskimage_create.helm.documents import IMAGES, PARAMETERS
from diskimage_create.helm.model import Found, Kind, Used
from diskimage_create.references import Reference
from diskimage_create.yamlfile import Place

_VALUES = "values.yaml"
_OVERRIDES = "values_overrides"
#: Where a chart keeps the charts that it is made of (https://helm.sh/docs/chart_template_guide/subcharts_and_globals/)
_SUBCHARTS = "charts"


@dataclass(frozen=True)
class Selection:
    """The images that files name, in a stable order."""

    found: Found
    images: tuple[Used, ...]
    """Those whose reference is complete"""
    unfinished: tuple[Used, ...]
    """Those of which a part is filled in later"""
    named: Mapping[Path, int]
    """Files that the user named, not a directory that they are in, and which of the paths they are"""
    charts: Mapping[Path, str]
    """The names of charts, by their directories"""

    def uses(self) -> dict[Reference, list[Used]]:
        """What names an image, by the image's full name, in the order of these names."""
        uses: dict[Reference, list[Used]] = {}
        for image in self.images:
            uses.setdefault(full(image), []).append(image)
        return dict(sorted(uses.items(), key=lambda entry: str(entry[0])))


def full(image: Used) -> Reference:
    """The full name of an image whose reference is complete."""
    assert image.reference is not None
    return image.reference.normalised()


def select(paths: Sequence[Path]) -> Selection:
    """Read files, or all that is below directories.

    :raises InputError: a file cannot be read, a reference is none, or there is no image; with every problem
    """
    found = reading.read(paths)
    problems = list(found.problems)
    for image in found.images:
        if image.error is not None:
            problems.append(Problem(f"{image.text!r} is no reference of an image: {image.error}", where(image)))
    if not found.images and not problems:
        problems.append(Problem("no image is named", ", ".join(map(str, paths)), "name values, charts or lists"))
    if problems:
        raise InputError(problems)
    images = tuple(image for image in found.images if image.reference is not None)
    unfinished = tuple(image for image in found.images if image.unfinished)
    named = {_absolute(path): number for number, path in enumerate(paths) if not os.path.isdir(path)}
    charts = {_absolute(chart.directory): chart.name for chart in found.charts}
    return Selection(found, images, unfinished, named, charts)


def check_outputs(selection: Selection, outputs: Mapping[str, Path | None]) -> None:
    """Look at the files that are to be written, before anything is asked or copied.

    :param outputs: by the option that names them
    :raises InputError: one is read, is another one of them, or cannot be written
    """
    taken = {os.path.realpath(file): "is read, and would be replaced" for file in selection.found.files}
    problems: list[Problem] = []
    for option, output in outputs.items():
        if output is None:
            continue
        place = os.path.realpath(output)
        if place in taken:
            problems.append(Problem(f"{output} {taken[place]}", option, "name another file"))
            continue
        taken[place] = "is to be written twice"
        try:
            refuse_unwritable(output, option)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)


def where(image: Used) -> str:
    """``FILE:LINE`` of an image."""
    return f"{image.file}:{image.line}"


def key(image: Used) -> str:
    """What an image is called in its file: ``images.tags.db_init``."""
    return ".".join(map(str, image.place)) or f"line {image.line}"


def keys(images: Iterable[Used]) -> str:
    """What names an image, for people: ``images.tags.api (heat/values.yaml:12), ...``."""
    return ", ".join(f"{key(image)} ({where(image)})" for image in images)


@dataclass(frozen=True)
class Override:
    """What replaces images of some files."""

    data: Mapping[str, Any]
    """Laid out as the files are; of several charts, with a section for each"""
    left: tuple[Used, ...]
    """Images that it cannot replace: they are in lists, which are replaced as a whole, or in templates"""
    alternatives: tuple[Path, ...]
    """Files of ``values_overrides`` that nobody named, and so are not in it"""


def override(selection: Selection, replaced: Mapping[Used, str], kinds: Iterable[Kind]) -> Override:
    """An override with the new references of images.

    Helm merges mappings key by key, and takes later files over earlier ones: so does this with files that were named,
    which come after those that only a directory was named of. Of a chart's directory ``values.yaml`` counts; what else
    it has are alternatives.

    :param replaced: the new reference of each image that gets one
    :param kinds: what can be overridden by whoever reads the override
    :raises InputError: two files that nobody named say different things of one place
    """
    chosen = [image for image in selection.images if image in replaced and _counts(image, selection)]
    below = {image.file: _below(image.file, selection.charts) for image in chosen}
    # What a chart says of a sub-chart's values comes after the sub-chart's own, and wins.
    chosen.sort(key=lambda image: (selection.named.get(_absolute(image.file), -1), -len(below[image.file])))
    patched = [image for image in chosen if image.kind in kinds and _patchable(image.place)]
    owners = {image: _owner(image.file, selection.charts) for image in patched}
    several = len(set(owners.values())) > 1
    problems = list(_homeless(owners)) if several else []
    tree: dict[str, Any] = {}
    said: dict[Place, Used] = {}
    for image, owner in owners.items():
        place: Place = (*([owner] if several and owner else []), *below[image.file], *image.place)
        earlier = said.get(place)
        if earlier and len(below[earlier.file]) == len(below[image.file]):
            problems += _clash(earlier, image, replaced, selection)
        said[place] = image
        _put(tree, place, replaced[image])
    if problems:
        raise InputError(problems)
    others = {image.file for image in selection.images if not _counts(image, selection)}
    return Override(tree, tuple(image for image in chosen if image not in owners), tuple(sorted(others)))


def _counts(image: Used, selection: Selection) -> bool:
    """Whether an image is in a file that says what is used, and not what could be used instead."""
    file = _absolute(image.file)
    if file in selection.named or image.kind is Kind.TEMPLATE:
        return True
    home = _home(file, selection.charts)
    return file == home / _VALUES if home else _OVERRIDES not in file.parts


def _patchable(place: Place) -> bool:
    return bool(place) and all(isinstance(part, str) for part in place)


def _owner(file: Path, charts: Mapping[Path, str]) -> str | None:
    """The chart that a file's values are for; None: the file's top level may be for several."""
    place = _absolute(file)
    home = _home(place, charts)
    while home is not None and (parent := _parent(home, charts)):
        home = parent
    if home is not None:
        return charts[home]
    return place.parent.name if place.parent.parent.name == _OVERRIDES else None


def _below(file: Path, charts: Mapping[Path, str]) -> tuple[str, ...]:
    """The keys that values of a sub-chart have in those of the chart that it is in; nothing for any other file."""
    home = _home(_absolute(file), charts)
    names: tuple[str, ...] = ()
    while home is not None and (parent := _parent(home, charts)):
        home, names = parent, (charts[home], *names)
    return names


def _parent(home: Path, charts: Mapping[Path, str]) -> Path | None:
    """The directory of the chart whose ``charts/`` a chart is in."""
    above = home.parent.parent
    return above if home.parent.name == _SUBCHARTS and above in charts else None


def _home(file: Path, charts: Mapping[Path, str]) -> Path | None:
    """The directory of the chart that a file is in."""
    return next((directory for directory in file.parents if directory in charts), None)


def _homeless(owners: Mapping[Used, str | None]) -> Iterator[Problem]:
    for image, owner in owners.items():
        if owner is None and image.place[0] in (IMAGES, PARAMETERS):
            hint = "give this file and the charts apart, or put it into its chart's directory"
            yield Problem(f"{key(image)} is of no chart, and other files are", where(image), hint)


def _clash(earlier: Used, image: Used, replaced: Mapping[Used, str], selection: Selection) -> list[Problem]:
    if earlier.file == image.file or replaced[earlier] == replaced[image]:
        return []
    if _absolute(image.file) in selection.named:
        return []
    hint = "name the file that counts: it wins, as with helm's --values"
    return [Problem(f"{key(image)} is {image.text}, and {earlier.text} in {where(earlier)}", where(image), hint)]


def _put(tree: dict[str, Any], place: Place, value: str) -> None:
    for part in place[:-1]:
        below = tree.setdefault(str(part), {})
        if not isinstance(below, dict):
            tree[str(part)] = below = {}
        tree = below
    tree[str(place[-1])] = value


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))
