"""Offline proof of an image: is it what was asked for, whole, and free of leftovers?

:func:`validate` opens the image read-only and runs every check of :data:`CHECKS`.

From below: ``formats/`` and ``root.py``, then ``system/``, ``opening/`` with ``image.py``, ``registry.py``, ``suites/``
and ``checks/``. A module imports from what is before it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from diskimage_create import process
from diskimage_create.model import Expectation, Finding, Report, Status
from diskimage_create.validate import checks as _checks  # noqa: F401  (registers them)
from diskimage_create.validate.as_root import validate_as_root
from diskimage_create.validate.content import content_of
from diskimage_create.validate.expect import expectation_for, expectation_in, from_json, recorded_expectation, to_json
from diskimage_create.validate.how import How
from diskimage_create.validate.image import open_image, require_file
from diskimage_create.validate.opening import may_mount
from diskimage_create.validate.registry import CHECKS, Check, printable, run_check
from diskimage_create.validate.said import amended
from diskimage_create.validate.selection import BY_SKIP, Selection, require_matched
from diskimage_create.validate.suites import applicable
from diskimage_create.validate.view import Damaged, ImageView
from diskimage_create.workspace import workspace

__all__ = [
    "CHECKS",
    "OF_ELEMENTS",
    "Check",
    "How",
    "expectation_for",
    "from_json",
    "is_of_element",
    "to_json",
    "validate",
    "validate_view",
]

# Checks wait for the disk more than they compute. Half of these wait for the listing of all files: the others go on.
_PARALLEL = 8

#: The check that runs the tests of elements
ELEMENT_CHECKS = "element-checks"
#: That one, and the tests that it runs
OF_ELEMENTS = Selection(only=(ELEMENT_CHECKS, "*/*"))
USUAL = How()


def validate(path: Path, expectation: Expectation | None = None, how: How = USUAL) -> Report:
    """Check an image against what it should be.

    A bad image never raises: it is a report with failed findings.

    :param expectation: by default, what the record beside the image or the image itself tells
    :raises InputError: there is no such file, its record cannot be understood, or no check was selected
    :raises HostError: this host cannot open images, or not that way
    """
    require_file(path)
    if not process.is_root() and _through_sudo(how.backend):
        return validate_as_root(path, expectation, how)
    started = time.monotonic()
    held = None
    with workspace() as work:
        try:
            with open_image(path, workspace=work.tmp, backend=how.backend) as view:
                wanted = expectation or recorded_expectation(path) or expectation_in(view)
                wanted = amended(wanted, how.said)
                wanted = replace(wanted, suites=applicable([*wanted.suites, *how.suites], wanted.elements))
                findings = _run_all(view, wanted, how)
                held = content_of(view) if how.content else None
        except Damaged as damage:
            findings = _not_opened(damage, how.selection)
    if not any(finding.id == ELEMENT_CHECKS and finding.status is not Status.PASS for finding in findings):
        require_matched(how.selection, [finding.id for finding in findings])
    return Report(path, findings, time.monotonic() - started, content=held)


def validate_view(view: ImageView, expectation: Expectation, how: How = USUAL) -> Report:
    """The checks of an image that is open already; whoever is not root has to have it opened again."""
    if not process.is_root():
        return validate(view.path, expectation, how)
    started = time.monotonic()
    findings = _run_all(view, expectation, how)
    return Report(view.path, findings, time.monotonic() - started)


def _through_sudo(backend: str) -> bool:
    """Whether a user's image is looked into by root: quicker, and all files of the image can be read."""
    return backend == "loop" or (backend == "auto" and may_mount())


def _run_all(view: ImageView, expectation: Expectation, how: How) -> tuple[Finding, ...]:
    selection = how.selection
    with_tests = selection.wants_tests and expectation.suites
    wanted = [check for check in CHECKS if selection.wants(check.id) or (with_tests and check.id == ELEMENT_CHECKS)]
    found: dict[str, tuple[Finding, ...]] = {check.id: (_left_out(check, BY_SKIP),) for check in wanted}
    to_run = [check for check in wanted if not selection.skips(check.id)]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        if not selection.only and view.tree:  # several checks wait for it
            pool.submit(getattr, view.root, "entries")
        run = partial(run_check, view=view, expectation=expectation, deep=how.deep)
        running = {check.id: pool.submit(run, check) for check in to_run if check.id != ELEMENT_CHECKS}
        # They take longest, and a signal, which reaches the main thread alone, is to end them at once.
        found |= {check.id: run(check) for check in to_run if check.id == ELEMENT_CHECKS}
        found |= {id: future.result() for id, future in running.items()}
    return tuple(finding for check in wanted for finding in _selected(found[check.id], selection))


def is_of_element(finding: Finding) -> bool:
    """Whether it is of a test that an element brings."""
    return "/" in finding.id


def _selected(findings: tuple[Finding, ...], selection: Selection) -> Iterator[Finding]:
    """A check's finding, and those of the tests that it ran, as far as they are wanted."""
    yield findings[0]
    for test in findings[1:]:
        if selection.skips(test.id):
            yield replace(test, status=Status.SKIP, message=BY_SKIP)
        elif selection.wants(test.id):
            yield test


def _left_out(check: Check, why: str) -> Finding:
    return Finding(check.id, check.title, Status.SKIP, why, severity=check.severity)


def _not_opened(damage: Damaged, selection: Selection) -> tuple[Finding, ...]:
    """The check that the damage fails, whether or not it was asked for, and all others skipped."""
    return tuple(
        Finding(check.id, check.title, Status.FAIL, printable(damage.message))
        if check.id == damage.check
        else _left_out(check, "the image could not be opened")
        for check in CHECKS
        if check.id == damage.check or selection.wants(check.id)
    )
