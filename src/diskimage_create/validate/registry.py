"""What a check is, and how one is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from diskimage_create.errors import DiskImageError, HostError, Interrupted
from diskimage_create.model import Expectation, Finding, Severity, Status
from diskimage_create.validate.room import no_room
from diskimage_create.validate.view import ImageView, Unavailable


@dataclass(frozen=True)
class Outcome:
    """What a check found."""

    status: Status
    message: str
    parts: tuple[Finding, ...] = ()
    """What it found besides, each with an id of its own"""


CheckFunction = Callable[[ImageView, Expectation], Outcome]


@dataclass(frozen=True)
class Check:
    """A check and when it applies."""

    id: str
    title: str
    run: CheckFunction
    elements: frozenset[str]
    """Any of these elements makes the check apply; empty: it applies to every image."""
    deep: bool
    """Whether it reads all content, and so runs only when asked for."""
    severity: Severity = Severity.ERROR
    """What a problem that it finds means."""


CHECKS: list[Check] = []
"""Every check, in the order of the report."""


def check(
    id: str,
    title: str,
    *,
    element: str | tuple[str, ...] = (),
    deep: bool = False,
    severity: Severity = Severity.ERROR,
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a function as a check.

    :param id: kebab-case, names what would be damaged
    :param title: what holds for a good image, as a short statement
    :param element: the check belongs to (any of) these elements
    :param deep: run only by ``validate --deep``
    :param severity: whether what it fails rejects the image, or is a warning
    """
    elements = frozenset((element,) if isinstance(element, str) else element)

    def register(function: CheckFunction) -> CheckFunction:
        CHECKS.append(Check(id, title, function, elements, deep, severity))
        return function

    return register


def passed(message: str) -> Outcome:
    """The image is as it should be."""
    return Outcome(Status.PASS, message)


def warned(message: str) -> Outcome:
    """Nothing is broken, but someone should look."""
    return Outcome(Status.WARN, message)


def skipped(reason: str) -> Outcome:
    """The check cannot apply here."""
    return Outcome(Status.SKIP, reason)


def verdict(problems: Iterable[str], good: str) -> Outcome:
    """Failed with all the problems, or passed with ``good``."""
    found = list(problems)
    return Outcome(Status.FAIL, "; ".join(found)) if found else passed(good)


def listed(names: Iterable[str], limit: int = 8) -> str:
    """Names in one line, the first few in full."""
    everything = list(names)
    rest = len(everything) - limit
    return ", ".join(everything[:limit]) + (f" and {rest} more" if rest > 0 else "")


def run_check(check: Check, view: ImageView, expectation: Expectation, *, deep: bool) -> tuple[Finding, ...]:
    """Run one check; whatever the image does to it becomes a finding. Behind that, what the check found besides.

    :raises HostError: there is no room for what the check has to keep: it might have found something
    """
    started = time.monotonic()
    outcome = _not_applicable(check, expectation, deep) or _outcome(check, view, expectation)
    status = outcome.status
    if status is Status.FAIL and check.severity is Severity.WARNING:
        status = Status.WARN
    seconds = time.monotonic() - started
    found = Finding(check.id, check.title, status, printable(outcome.message), seconds, check.severity)
    return found, *outcome.parts


def printable(text: str) -> str:
    """The text in one line, with control characters written out: a message quotes names that an image made up."""
    return visible(" ".join(text.split()))


def visible(text: str) -> str:
    """The text with all that could not be shown, or would do something to a terminal, written out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _not_applicable(check: Check, expectation: Expectation, deep: bool) -> Outcome | None:
    if check.deep and not deep:
        return skipped("reads all content: only with --deep")
    if check.elements and not check.elements & expectation.elements:
        return skipped(f"belongs to {' or '.join(sorted(check.elements))}, which this image is not made of")
    return None


def _outcome(check: Check, view: ImageView, expectation: Expectation) -> Outcome:
    try:
        return check.run(view, expectation)
    except Interrupted:
        raise
    except (Unavailable, HostError) as reason:
        return skipped(str(reason))
    except PermissionError as error:
        return skipped(f"only root may read {error.filename}")
    except (OSError, DiskImageError) as error:
        if lack := no_room(error):
            raise lack from None
        # The file system of a damaged image answers with I/O errors.
        return Outcome(Status.FAIL, f"cannot be examined: {error}")
    except Exception as error:  # no image may end the validation, whatever is in its files
        return Outcome(Status.FAIL, f"cannot be examined: {type(error).__name__}: {error}")
