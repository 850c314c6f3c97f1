"""Reports that others read: a page for people, JUnit XML for CI systems, JSON and text.

One file may be about several images: those of one build.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from diskimage_create import files
from diskimage_create.errors import DiskImageError, InputError, Problem
from diskimage_create.model import ImageSpec
from diskimage_create.reports.subject import Subject, of_boot, of_build, of_failure, of_validation, seen_of

__all__ = [
    "Subject",
    "collected",
    "kept_beside",
    "made_by",
    "of_boot",
    "of_build",
    "of_failure",
    "of_validation",
    "refuse",
    "seen_of",
    "show_content",
]

#: Endings of files' names
_KINDS = (".html", ".xml", ".json", ".txt")
_OPTION = "--report"


@contextmanager
def collected(reports: Sequence[Path], keep: Sequence[Path]) -> Iterator[list[Subject]]:
    """What a block appends to the list is written when it ends, also when it fails.

    :param reports: files to be written, each of the kind that its name says
    :param keep: files that must stay as they are
    :raises InputError: before the block, with all reports that could not, or must not, be written
    """
    refuse(reports, keep)
    subjects: list[Subject] = []
    try:
        yield subjects
    except DiskImageError:
        with suppress(InputError):  # the first error is the one to know
            _write(reports, subjects)
        raise
    _write(reports, subjects)


def kept_beside(image: Path) -> list[Path]:
    """An image, and what a build leaves beside it: no report is written there."""
    return [image, *(image.with_name(f"{image.name}.{kind}") for kind in ("json", "sha256"))]


def made_by(spec: ImageSpec) -> list[Path]:
    """All files that a build makes."""
    images = [path for kind in spec.types for path in kept_beside(spec.path_of(kind))]
    return [*images, spec.logfile or spec.output.with_name(f"{spec.output.name}.log")]


def show_content(reports: Iterable[Path]) -> bool:
    """Whether one of them shows what the images hold."""
    return any(path.suffix.lower() == ".html" for path in reports)


def refuse(reports: Iterable[Path], keep: Sequence[Path]) -> None:
    """Tell before long work of all reports that could not, or must not, be written.

    :param keep: files that must stay as they are
    :raises InputError: names all of them, and why
    """
    problems: list[Problem] = []
    taken = {os.path.realpath(path): f"{path} is not overwritten" for path in keep}
    for path in reports:
        where = f"{_OPTION} {path}"
        if path.suffix.lower() not in _KINDS:
            problems.append(Problem("the kind of a report is its ending", where, f"one of {', '.join(_KINDS)}"))
            continue
        if reason := taken.get(os.path.realpath(path)) or _same(path, keep):
            problems.append(Problem(reason, where, "name another file"))
        taken[os.path.realpath(path)] = f"{path} was named twice"
        try:
            files.refuse_unwritable(path, _OPTION)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)


def _same(path: Path, keep: Sequence[Path]) -> str | None:
    """Whether it is one of these files by another name, such as a hard link."""
    if not path.exists():
        return None
    return next((f"{each} is not overwritten" for each in keep if each.exists() and path.samefile(each)), None)


def _write(reports: Iterable[Path], subjects: Sequence[Subject]) -> None:
    for path in reports if subjects else ():
        files.write(path, _text(path.suffix.lower(), subjects), _OPTION)


def _text(kind: str, subjects: Sequence[Subject]) -> str:
    from diskimage_create.reports import junit, page, plain  # slow to import, and most commands write no report

    makers = {".html": page.as_html, ".xml": junit.as_xml, ".json": plain.as_json, ".txt": plain.as_text}
    return makers[kind](subjects)
