"""Offline proof of an image: is it what was asked for, whole, and free of leftovers?

:func:`validate` opens the image read-only and runs every check of :data:`CHECKS`.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from diskimage_create import process
from diskimage_create.model import Expectation, Finding, Report, Status
from diskimage_create.validate import checks as _checks  # noqa: F401  (registers them)
from diskimage_create.validate.as_root import validate_as_root
from diskimage_create.validate.expect import expectation_for, expectation_in, from_json, recorded_expectation, to_json
from diskimage_create.validate.image import Damaged, ImageView, open_image, require_file
from diskimage_create.validate.opening import may_mount
from diskimage_create.validate.registry import CHECKS, Check, printable, run_check
from diskimage_create.workspace import workspace

__all__ = ["CHECKS", "Check", "expectation_for", "from_json", "to_json", "validate", "validate_view"]

# Checks wait for the disk more than they compute, and qemu-img runs beside them.
_PARALLEL = 4


def validate(
    path: Path, expectation: Expectation | None = None, *, deep: bool = False, backend: str = "auto"
) -> Report:
    """Check an image against what it should be.

    A bad image never raises: it is a report with failed findings.

    :param expectation: by default, what the record beside the image or the image itself tells
    :param deep: also read all content
    :param backend: the way to look into it, one of :data:`diskimage_create.validate.opening.BACKENDS`
    :raises InputError: there is no such file, or its record cannot be understood
    :raises HostError: this host cannot open images, or not that way
    """
    if not process.is_root() and path.is_file() and _through_sudo(backend):
        return validate_as_root(path, expectation, deep=deep, backend=backend)
    started = time.monotonic()
    require_file(path)
    with workspace() as work:
        try:
            with open_image(path, workspace=work.tmp, backend=backend) as view:
                wanted = expectation or recorded_expectation(path) or expectation_in(view)
                findings = _run_all(view, wanted, deep=deep)
        except Damaged as damage:
            findings = _not_opened(damage)
    return Report(path, findings, time.monotonic() - started)


def validate_view(view: ImageView, expectation: Expectation, *, deep: bool = False) -> Report:
    """The checks of an image that is open already; whoever is not root has to have it opened again."""
    if not process.is_root():
        return validate(view.path, expectation, deep=deep)
    started = time.monotonic()
    findings = _run_all(view, expectation, deep=deep)
    return Report(view.path, findings, time.monotonic() - started)


def _through_sudo(backend: str) -> bool:
    """Whether a user's image is looked into by root: quicker, and all files of the image can be read."""
    return backend == "loop" or (backend == "auto" and may_mount())


def _run_all(view: ImageView, expectation: Expectation, *, deep: bool) -> tuple[Finding, ...]:
    with ThreadPoolExecutor(_PARALLEL) as pool:
        running = [pool.submit(run_check, check, view, expectation, deep=deep) for check in CHECKS]
        findings = [future.result() for future in running]
    return (*_access_notes(view), *findings)


def _access_notes(view: ImageView) -> list[Finding]:
    title = "The image could be looked into"
    said = [(Status.PASS, view.access)] if view.access else []
    said += [(Status.WARN, note) for note in view.notes]
    return [Finding("image-access", title, status, printable(text)) for status, text in said]


def _not_opened(damage: Damaged) -> tuple[Finding, ...]:
    """The check that the damage fails, and all others skipped."""
    return tuple(
        Finding(check.id, check.title, Status.FAIL, printable(damage.message))
        if check.id == damage.check
        else Finding(check.id, check.title, Status.SKIP, "the image could not be opened")
        for check in CHECKS
    )
