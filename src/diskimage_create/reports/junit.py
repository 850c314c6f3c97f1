"""Reports as JUnit XML, which CI systems show: GitLab, Jenkins, Zuul's and GitHub's tools.

There is no standard: this is the part that all of them read. A test suite is a group of checks of one image; a warning
is a test that passed, with what was found in ``system-out``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any
from xml.etree import ElementTree as ET

from diskimage_create.reports.explanations import group_of
from diskimage_create.reports.subject import Subject, counts

Check = Mapping[str, Any]

#: What XML 1.0 has no way to say (section 2.2, Char)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: Begins like a date and a time (ISO 8601)
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_PROPERTIES = ("sha256", "profile", "os", "release", "arch", "fingerprint")


def as_xml(subjects: Sequence[Subject]) -> str:
    """The report as a document."""
    suites = [suite for subject in subjects for suite in _suites(subject)]
    everything = [check for subject in subjects for check in subject.checks]
    missing = [subject for subject in subjects if _is_missing(subject)]
    top = ET.Element("testsuites", {"name": "diskimage-create", **_numbers(everything, len(missing))})
    top.extend(suites)
    ET.indent(top)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(top, encoding="unicode")}\n'


def legal(text: str) -> str:
    """A text without the characters that XML forbids: they are written out."""
    return _FORBIDDEN.sub(lambda match: repr(match[0])[1:-1], text)


def _is_missing(subject: Subject) -> bool:
    """Whether there is no image that checks could have failed."""
    return subject.failure is not None and not subject.documents


def _suites(subject: Subject) -> list[ET.Element]:
    suites = [_missing(subject)] if _is_missing(subject) else []
    for kind, document in (("validate", subject.validation), ("boot", subject.boot)):
        checks = sorted((document or {}).get("checks", ()), key=lambda check: group_of(check["id"]))
        for group, of_group in groupby(checks, key=lambda check: group_of(check["id"])):
            suites.append(_suite(subject, kind, group, list(of_group)))
    return suites


def _suite(subject: Subject, kind: str, group: str, checks: Sequence[Check]) -> ET.Element:
    name = legal(f"{kind} {subject.image.name}: {group}")
    attributes = {"name": name, **_numbers(checks)}
    if _DATE.match(subject.history.started):
        attributes["timestamp"] = subject.history.started[:19]
    suite = ET.Element("testsuite", attributes)
    properties = ET.SubElement(suite, "properties")
    for key, value in _properties(subject).items():
        ET.SubElement(properties, "property", {"name": key, "value": legal(str(value))})
    suite.extend(_case(f"{kind}.{group}", check) for check in checks)
    return suite


def _missing(subject: Subject) -> ET.Element:
    """An image that was not built is one test that could not be run."""
    suite = ET.Element("testsuite", {"name": legal(f"build {subject.image.name}"), **_numbers([], 1)})
    case = ET.SubElement(suite, "testcase", {"classname": "build", "name": legal(subject.image.name), "time": "0.000"})
    message = legal(subject.failure or "")
    ET.SubElement(case, "error", {"message": message.partition("\n")[0], "type": "build"}).text = message
    return suite


def _numbers(checks: Sequence[Check], errors: int = 0) -> dict[str, str]:
    found = counts(checks)
    seconds = sum(check["seconds"] for check in checks)
    return {
        "tests": str(len(checks) + errors),
        "failures": str(found["fail"]),
        "errors": str(errors),
        "skipped": str(found["skip"]),
        "time": f"{seconds:.3f}",
    }


def _properties(subject: Subject) -> dict[str, str]:
    made = {name: getattr(subject.history, name) for name in _PROPERTIES}
    return {"image": str(subject.image), **{name: value for name, value in made.items() if value}}


def _case(group: str, check: Check) -> ET.Element:
    name, message = legal(f"{check['id']}: {check['title']}"), legal(check["message"])
    case = ET.Element("testcase", {"classname": legal(group), "name": name, "time": f"{check['seconds']:.3f}"})
    if check["status"] == "fail":
        ET.SubElement(case, "failure", {"message": message, "type": legal(check["id"])}).text = message
    elif check["status"] == "skip":
        ET.SubElement(case, "skipped", {"message": message})
    else:
        prefix = "warning: " if check["status"] == "warn" else ""
        ET.SubElement(case, "system-out").text = f"{prefix}{message}"
    return case
