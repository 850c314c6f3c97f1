"""Configuration files: TripleO's ``disk_images``, with keys of ours, and diskimage-builder's own lists of images.

    files -> yamlfile.read -> merging -> ConfiguredImage -> as_request.request -> config.read

Formats: docs/configuration-files.md. A file's variables are those of its images alone: nothing here, or later, sets a
variable of this process.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from diskimage_create import yamlfile
from diskimage_create.errors import InputError, Problem
from diskimage_create.imageconfig import builders, merging
from diskimage_create.imageconfig.image import ConfiguredImage, as_written
from diskimage_create.yamlfile import Document, Place

__all__ = ["ConfiguredImage", "read"]


def read(paths: Sequence[Path], wanted: Sequence[str], problems: list[Problem]) -> list[ConfiguredImage]:
    """The images of configuration files, in the order in which they are first named.

    :param wanted: names of images; none: all
    :param problems: gets what is wrong with images, which are left out then
    :raises InputError: files have not the right form; with every problem of every file
    """
    wrong: list[Problem] = []
    documents = list(_documents(paths, wrong))
    lists = [document for document in documents if isinstance(document.data, list)]
    if lists and len(lists) < len(documents):
        other = next(document for document in documents if document not in lists)
        hint = f"{other.path} is of TripleO's; build the two one after the other"
        wrong.append(Problem("is of diskimage-builder's format", str(lists[0].path), hint))
    if wrong:
        raise InputError(wrong)
    images = builders.merge(documents) if lists else _merge(documents)
    problems += _unknown(wanted, images, paths)
    chosen = [image for image in images if not wanted or image.name in wanted]
    good = []
    for image in chosen:
        found = [*([] if lists else _without_distro(image)), *image.problems()]
        problems += found
        if not found:
            good.append(image)
    return good


def _documents(paths: Sequence[Path], problems: list[Problem]) -> Iterator[Document]:
    for path in paths:
        try:
            document = yamlfile.read(path)
        except InputError as error:
            problems += error.problems
            continue
        if wrong := _form(document):
            problems += wrong
        else:
            yield document


def _form(document: Document) -> list[Problem]:
    if document.data is None:
        return [Problem("is empty", document.where(), "list images below disk_images:")]
    return document.problems("config", "diskimage-builder" if isinstance(document.data, list) else "configuration")


def _merge(documents: Iterable[Document]) -> list[ConfiguredImage]:
    entries: list[dict[str, Any]] = []
    places: dict[str, dict[str, str]] = {}
    for document in documents:
        for number, entry in enumerate(document.data["disk_images"]):
            top: Place = ("disk_images", number)
            entries.append(as_written(entry, document, top))
            known = places.setdefault(entry["imagename"], {"": document.where(*top)})
            for key in entry:
                known.setdefault(key, document.where(*top, key))
    merged = merging.merge(entries)
    return [ConfiguredImage(name, values, places[name]) for name, values in merged.items()]


def _without_distro(image: ConfiguredImage) -> Iterator[Problem]:
    if image.profile is None and "distro" not in image.values:
        hint = "name the distribution's element, e.g. distro: debian-minimal, or a profile"
        yield Problem(f"image {image.name} has no distro", image.where(), hint)


def _unknown(wanted: Sequence[str], images: Sequence[ConfiguredImage], paths: Sequence[Path]) -> Iterator[Problem]:
    names = [image.name for image in images]
    for name in wanted:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
            yield Problem(f"no image is called {name!r}", f"--image, in {', '.join(map(str, paths))}", hint)
