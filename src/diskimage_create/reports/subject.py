"""What a report is about: an image, and all that is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diskimage_create import validate
from diskimage_create.errors import DiskImageError, ImageRejected
from diskimage_create.model import Artifact, Content, ImageSpec, Report
from diskimage_create.reports.history import UNKNOWN, History, history
from diskimage_create.validate.record import read_record
from diskimage_create.validate.registry import visible
from diskimage_create.validate.report import tally
from diskimage_create.validate.selection import Selection

if TYPE_CHECKING:
    from diskimage_create.boot.report import BootReport

#: What a build's own checks have not said yet; they are not run once more
_CONTENT = validate.How(selection=Selection(only=("image-intact",)), content=True)
#: Found by checks, as ``validate --format json`` and ``boot --format json`` say it
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """One image."""

    image: Path
    validation: Document | None = None
    """None where nobody looked into it"""
    boot: Document | None = None
    """None where it was not booted"""
    content: Content | None = None
    """None where it is not known"""
    history: History = UNKNOWN
    """Of its build, as its record says"""
    failure: str | None = None
    """Why there is no such image"""
    console: tuple[str, ...] = ()
    """Of a boot that failed, the last lines of the serial console"""

    @property
    def documents(self) -> tuple[Document, ...]:
        """What was looked at, in order."""
        return tuple(each for each in (self.validation, self.boot) if each)

    @property
    def ok(self) -> bool:
        """Whether it was made, and no check failed."""
        return self.failure is None and all(each["ok"] for each in self.documents)

    @property
    def checks(self) -> list[Mapping[str, Any]]:
        """All findings, in order."""
        return [check for each in self.documents for check in each["checks"]]

    @property
    def seconds(self) -> float:
        """How long it was looked at."""
        return float(sum(each["seconds"] for each in self.documents))


def of_validation(report: Report) -> Subject:
    """An image that was looked into."""
    made = history(read_record(report.image))
    return Subject(report.image, validation=report.as_json(), content=report.content, history=made)


def of_boot(report: BootReport) -> Subject:
    """An image that was booted."""
    made = history(read_record(report.image))
    return Subject(report.image, boot=report.as_json(), history=made, console=_console(report))


def _console(report: BootReport) -> tuple[str, ...]:
    return () if report.ok else report.tail


def of_build(artifacts: Sequence[Artifact], *, content: bool) -> list[Subject]:
    """The images of one build, as their records say it.

    :param content: whether to say of the first one what it holds: they are all made of one disk
    """
    subjects = []
    for number, artifact in enumerate(artifacts):
        made = read_record(artifact.path) or {}
        looked_at = content and number == 0 and artifact.path.is_file()
        held = validate.validate(artifact.path, how=_CONTENT).content if looked_at else None
        subjects.append(Subject(artifact.path, made.get("validation"), made.get("boot"), held, history(made)))
    return subjects


def of_failure(spec: ImageSpec, error: DiskImageError, seen: Document | None = None) -> Subject:
    """An image that was not built, or was rejected.

    :param seen: what :func:`seen_of` told of the error in another process
    """
    more = seen_of(error) if seen is None else {**seen, "console": tuple(seen.get("console", ()))}
    return Subject(spec.path_of(spec.types[0]), failure=error.message, **more)


def seen_of(error: DiskImageError) -> dict[str, Any]:
    """What was looked at before an image was rejected, as a :class:`Subject` has it; it can be written as JSON."""
    from diskimage_create.boot.report import BootReport  # slow to import, and validate needs nothing of it

    found = error.reports if isinstance(error, ImageRejected) else ()
    boot = next((report for report in found if isinstance(report, BootReport)), None)
    return {
        "validation": next((report.as_json() for report in found if not isinstance(report, BootReport)), None),
        "boot": boot.as_json() if boot else None,
        "console": _console(boot) if boot else (),
    }


def counts(checks: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Status -> how many checks ended so."""
    found = dict.fromkeys(("fail", "warn", "pass", "skip"), 0)
    for check in checks:
        found[check["status"]] += 1
    return found


def summary(subject: Subject) -> str:
    """The verdict in one line."""
    return tally(counts(subject.checks), subject.seconds)


def verdict(subject: Subject) -> str:
    """The verdict in a word or two."""
    if subject.failure is not None and not subject.documents:
        return "not built"
    if not subject.documents:
        return "not checked"
    return "good" if subject.ok else "rejected"


def written_out(text: object, *, newlines: bool = False) -> str:
    """A text without characters that could not be shown or written: an image's names may be any bytes."""
    return "\n".join(map(visible, str(text).split("\n"))) if newlines else visible(str(text))
