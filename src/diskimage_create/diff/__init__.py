"""What changed between two images, or between the records of two builds.

:func:`compare` opens both images read-only, side by side. Nothing in them is executed, and
no link in them leads out of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from diskimage_create import as_root, process
from diskimage_create.diff import ignore as ignoring
from diskimage_create.diff.changelogs import with_cves
from diskimage_create.diff.disk import compare_disks
from diskimage_create.diff.files import compare_trees
from diskimage_create.diff.ignore import IgnoreList
from diskimage_create.diff.model import Aspect, Change, Difference, Kind, compare_values, from_json
from diskimage_create.diff.packages import compare_packages
from diskimage_create.diff.records import Record, compare_records, is_record, read_record
from diskimage_create.diff.system import kernel_command_lines
from diskimage_create.errors import InputError, Problem
from diskimage_create.validate.image import open_image
from diskimage_create.validate.opening.kinds import image_kind
from diskimage_create.validate.system.inventory import read_inventory
from diskimage_create.validate.system.units import unit_states
from diskimage_create.validate.view import Damaged, ImageView, Unavailable
from diskimage_create.workspace import workspace

__all__ = ["Aspect", "Change", "Difference", "Kind", "compare"]

_NO_CHANGELOGS = "CVE identifiers: a record holds no changelogs; compare the images for what upgrades name"


def compare(a: Path, b: Path, *, ignore: bool = False) -> Difference:
    """Compare two images, of any types; or two records; or the packages of one with the other.

    :param ignore: leave out what two builds of one image may differ in (``ignore.yaml``)
    :raises InputError: either of them, or both, is neither an image nor a record, or is damaged
    :raises HostError: this host cannot open images
    """
    records = _recognise(a, b)
    if records[0] and records[1]:
        groups = compare_records(records[0], records[1])
        upgraded = any(change.kind is Kind.UPGRADED for change in groups["packages"])
        return Difference(a, b, groups, (_NO_CHANGELOGS,) if upgraded else ())
    if not process.is_root():
        request = {"a": str(a.absolute()), "b": str(b.absolute()), "ignore": ignore}
        return replace(from_json(as_root.ask("diskimage_create.diff.as_root", request)), a=a, b=b)
    patterns = ignoring.load() if ignore else ignoring.NOTHING
    with workspace() as work, ExitStack() as stack:
        views = _open((a, b), records, work.tmp, stack)
        try:
            if views[0] and views[1]:
                return _compare_images(views[0], views[1], patterns, work.out)
            return _compare_packages_only(a, b, [view or record for view, record in zip(views, records, strict=True)])
        except OSError as error:  # of a damaged file system; names both what, and in which tree
            raise InputError([Problem(f"an image cannot be read: {error}", where=f"{a}, {b}")]) from None


def _recognise(*paths: Path) -> list[Record | None]:
    """The records among the files; None is an image. All that is wrong with any is said at once."""
    found: list[Record | None] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            if not path.is_file():
                raise InputError([Problem("there is no such image or record", where=str(path))])
            found.append(read_record(path) if is_record(path) else None)
            if found[-1] is None:
                image_kind(path)
        except InputError as error:
            problems += error.problems
        except (Damaged, OSError) as error:
            problems.append(Problem(str(error), where=str(path)))
    if problems:
        raise InputError(problems)
    return found


def _open(
    paths: Sequence[Path], records: Sequence[Record | None], directory: Path, stack: ExitStack
) -> list[ImageView | None]:
    """Open what is no record. All that is wrong with any image is said at once."""
    views: list[ImageView | None] = []
    problems: list[Problem] = []
    for side, path, record in zip("ab", paths, records, strict=True):
        if record is not None:
            views.append(None)
            continue
        place = directory / side
        place.mkdir()
        try:
            view = stack.enter_context(open_image(path, workspace=place, devices=True))
        except Damaged as damage:
            problems.append(Problem(damage.message, where=str(path)))
            continue
        if view.mount_error:
            problems.append(Problem(f"its root file system cannot be mounted: {view.mount_error}", where=str(path)))
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
    return Difference(a.path, b.path, groups, tuple(notes))


def _compare_packages_only(a: Path, b: Path, sides: Sequence[Any]) -> Difference:
    """All that an image and a record have in common."""
    try:
        old, new = (read_inventory(side) if isinstance(side, ImageView) else side["packages"] for side in sides)
    except Unavailable as reason:
        return Difference(a, b, {}, (f"packages: {reason}",))
    note = "a record knows no files: of an image and a record, packages only are compared"
    return Difference(a, b, {"packages": compare_packages(old, new)}, (note,))
