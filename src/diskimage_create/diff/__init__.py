"""What changed between two images, or between the records of two builds.

:func:`compare` opens both images read-only, side by side. Nothing in them is executed, and
no link in them leads out of them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diskimage_create import as_root, process
from diskimage_create.diff import ignore as ignoring
from diskimage_create.diff import published
from diskimage_create.diff.changelogs import with_cves
from diskimage_create.diff.disk import compare_disks
from diskimage_create.diff.files import compare_trees
from diskimage_create.diff.ignore import IgnoreList
from diskimage_create.diff.model import Aspect, Change, Difference, Kind, compare_values, from_json
from diskimage_create.diff.packages import compare_packages
from diskimage_create.diff.records import Record, compare_records, is_record, parse_record, read_record
from diskimage_create.diff.system import kernel_command_lines
from diskimage_create.errors import InputError, Problem
from diskimage_create.validate.image import open_image
from diskimage_create.validate.opening.kinds import image_kind
from diskimage_create.validate.system.inventory import read_inventory
from diskimage_create.validate.system.units import unit_states
from diskimage_create.validate.view import Damaged, ImageView, Unavailable
from diskimage_create.workspace import workspace

if TYPE_CHECKING:
    from diskimage_create.registries import Access

__all__ = ["Aspect", "Change", "Difference", "Kind", "compare"]

_NO_CHANGELOGS = "CVE identifiers: a record holds no changelogs; compare the images for what upgrades name"


def compare(a: Path | str, b: Path | str, *, ignore: bool = False, access: Access | None = None) -> Difference:
    """Compare two images, of any types; or two records; or the packages of one with the other.

    :param a: a file, or a published image, of which the record is taken (:mod:`.published`)
    :param b: the same
    :param ignore: leave out what two builds of one image may differ in (``ignore.yaml``)
    :param access: to registries
    :raises InputError: either of them, or both, is neither an image nor a record, or is damaged
    :raises HostError: this host cannot open images, or go where one was published
    :raises RemoteError: where one was published, it cannot be fetched
    """
    sides = _recognise(str(a), str(b), access=access)
    found = _compare(sides[0], sides[1], ignore)
    return replace(found, a=str(a), b=str(b))


@dataclass(frozen=True)
class _Side:
    """What is compared."""

    name: str
    path: Path
    """Of a published image: in no use"""
    record: Record | None
    """None: it is an image"""


def _compare(a: _Side, b: _Side, ignore: bool) -> Difference:
    if a.record and b.record:
        groups = compare_records(a.record, b.record)
        upgraded = any(change.kind is Kind.UPGRADED for change in groups["packages"])
        return Difference(a.name, b.name, groups, (_NO_CHANGELOGS,) if upgraded else ())
    if not process.is_root():
        return _compare_as_root(a, b, ignore)
    patterns = ignoring.load() if ignore else ignoring.NOTHING
    with workspace() as work, ExitStack() as stack:
        views = _open((a, b), work.tmp, stack)
        try:
            if views[0] and views[1]:
                return _compare_images(views[0], views[1], patterns, work.out)
            return _compare_packages_only(views[0] or a, views[1] or b)
        except OSError as error:  # of a damaged file system; names both what, and in which tree
            raise InputError([Problem(f"an image cannot be read: {error}", where=f"{a.name}, {b.name}")]) from None


def _compare_as_root(a: _Side, b: _Side, ignore: bool) -> Difference:
    """Root opens the image; a record that was fetched is handed to it in a file."""
    with tempfile.TemporaryDirectory(prefix="diskimage-diff-") as directory:
        request: dict[str, Any] = {"ignore": ignore}
        for key, side in (("a", a), ("b", b)):
            path = side.path
            if side.record:
                path = Path(directory) / f"{key}.json"
                path.write_text(json.dumps(side.record), encoding="utf-8")
            request[key] = str(path.absolute())
        return from_json(as_root.ask("diskimage_create.diff.as_root", request))


def _recognise(*names: str, access: Access | None) -> list[_Side]:
    """What is a record, and what an image. All that is wrong with any is said at once."""
    found: list[_Side] = []
    problems: list[Problem] = []
    for name in names:
        try:
            found.append(_side(name, access))
        except InputError as error:
            problems += error.problems
        except (Damaged, OSError) as error:
            problems.append(Problem(str(error), where=name))
    if problems:
        raise InputError(problems)
    return found


def _side(name: str, access: Access | None) -> _Side:
    if published.is_published(name):
        path = published.record_of(name, access)
        if isinstance(path, bytes):
            return _Side(name, Path(name), parse_record(path, name))
    else:
        path = Path(name)
    if not path.is_file():
        raise InputError([Problem("there is no such image or record", where=name)])
    if is_record(path):
        return _Side(name, path, read_record(path))
    image_kind(path)
    return _Side(name, path, None)


def _open(sides: Sequence[_Side], directory: Path, stack: ExitStack) -> list[ImageView | None]:
    """Open what is no record. All that is wrong with any image is said at once."""
    views: list[ImageView | None] = []
    problems: list[Problem] = []
    for letter, side in zip("ab", sides, strict=True):
        if side.record is not None:
            views.append(None)
            continue
        place = directory / letter
        place.mkdir()
        try:
            view = stack.enter_context(open_image(side.path, workspace=place, devices=True))
        except Damaged as damage:
            problems.append(Problem(damage.message, where=side.name))
            continue
        if view.mount_error:
            problems.append(Problem(f"its root file system cannot be mounted: {view.mount_error}", where=side.name))
        views.append(view)
    if problems:
        raise InputError(problems)
    return views


def _compare_images(a: ImageView, b: ImageView, ignore: IgnoreList, directory: Path) -> Difference:
    notes = [f"{view.path}: {note}" for view in (a, b) for note in view.notes]
    groups = {"files": compare_trees(a.root.path, b.root.path, ignore)}
    try:
        changes = compare_packages(read_inventory(a), read_inventory(b))
        groups["packages"], without = with_cves(changes, a.root, b.root)
        notes += without
    except Unavailable as reason:
        notes.append(f"packages: {reason}")
    groups["services"] = compare_values(unit_states(a.root), unit_states(b.root))
    groups["kernel_command_line"] = compare_values(
        kernel_command_lines(a.root, ignore), kernel_command_lines(b.root, ignore)
    )
    try:
        groups["boot_loader"], in_part = compare_disks(a, b, ignore, directory)
        notes += in_part
    except Unavailable as reason:
        notes.append(f"boot loader: {reason}")
    return Difference(str(a.path), str(b.path), groups, tuple(notes))


def _compare_packages_only(*sides: ImageView | _Side) -> Difference:
    """All that an image and a record have in common."""
    a, b = (str(side.path) for side in sides)
    try:
        old, new = (_packages(side) for side in sides)
    except Unavailable as reason:
        return Difference(a, b, {}, (f"packages: {reason}",))
    note = "a record knows no files: of an image and a record, packages only are compared"
    return Difference(a, b, {"packages": compare_packages(old, new)}, (note,))


def _packages(side: ImageView | _Side) -> Iterable[Mapping[str, str]]:
    if isinstance(side, ImageView):
        return read_inventory(side)
    packages: Iterable[Mapping[str, str]] = side.record["packages"] if side.record else ()
    return packages
