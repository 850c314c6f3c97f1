"""Reports as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from diskimage_create.reports.subject import Subject, summary, verdict, written_out
from diskimage_create.validate.report import WORDS

SCHEMA = 1


def as_json(subjects: Sequence[Subject]) -> str:
    """The report as ``--report FILE.json`` writes it."""
    images = [_image(subject) for subject in subjects]
    return json.dumps({"schema": SCHEMA, "ok": all(each.ok for each in subjects), "images": images}, indent=2) + "\n"


def _image(subject: Subject) -> dict[str, Any]:
    return {
        "image": str(subject.image),
        "ok": subject.ok,
        "failure": subject.failure,
        "validation": subject.validation,
        "boot": subject.boot,
        "timings": [asdict(timing) for timing in subject.history.timings],
    }


def as_text(subjects: Sequence[Subject]) -> str:
    """One line for each check and each event, and the verdict of each image."""
    return "\n\n".join("\n".join(_lines(subject)) for subject in subjects) + "\n"


def _lines(subject: Subject) -> Iterator[str]:
    yield f"{written_out(subject.image)}: {verdict(subject)}, {summary(subject)}"
    if subject.failure:
        yield from ("", written_out(subject.failure, newlines=True))
    for document in subject.documents:
        yield ""
        for each in document.get("timeline", ()):
            yield f"{each['seconds']:6.1f} s  {written_out(each['event'])}"
        yield from _checks(document["checks"])
    if subject.console:
        yield from ("", "the last lines of the serial console:")
        yield from (f"  {written_out(line)}" for line in subject.console)


def _checks(checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    width = max((len(check["id"]) for check in checks), default=0)
    for check in checks:
        yield f"{WORDS[check['status']]:4}  {written_out(check['id']):{width}}  {written_out(check['message'])}"
