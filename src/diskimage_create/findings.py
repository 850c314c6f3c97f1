"""What checks of files find: how bad it is, the rules that explain it, and forms that other programs read."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

#: Where the form is described (OASIS, 2020)
_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


class Severity(StrEnum):
    """What a finding means for whoever wants no findings: hints are no reason to fail."""

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"


_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.HINT: "notice"}
_GITLAB = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.HINT: "info"}
_SARIF = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.HINT: "note"}


@dataclass(frozen=True)
class Rule:
    """Something that should not be."""

    id: str
    title: str
    severity: Severity
    explanation: str
    """Paragraphs: why, and what to do"""


@dataclass(frozen=True)
class Located:
    """A finding in a file."""

    rule: Rule
    path: str
    message: str
    line: int | None = None
    """From 1; None: the file as a whole"""
    place: str = ""
    """Where in the document, such as ``images.tags.db_init``"""


def visible(text: str) -> str:
    """A text on one line, with escapes for line breaks and for what controls terminals."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def counted(number: int, noun: str) -> str:
    """A number and what it counts: ``1 error``, ``2 errors``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def summary(checked: str, severities: Iterable[Severity], kinds: Sequence[Severity] = tuple(Severity)) -> str:
    """How much there was, on one line."""
    count = Counter(severities)
    return ", ".join([checked, *(counted(count[severity], severity) for severity in kinds)])


def as_github(found: Iterable[Located]) -> str:
    """Commands of GitHub's workflows, which show each finding beside its line."""
    lines = []
    for each in found:
        title = f"{each.rule.id} {each.rule.title}"
        properties = f"file={_property(each.path)},line={each.line or 1},title={_property(title)}"
        lines.append(f"::{_GITHUB[each.rule.severity]} {properties}::{_data(each.message)}")
    return "\n".join(lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_gitlab(found: Iterable[Located]) -> str:
    """A report of GitLab's code quality."""
    marks = _fingerprints()
    return _dump(
        [
            {
                "description": each.message,
                "check_name": each.rule.id,
                "fingerprint": marks(each),
                "severity": _GITLAB[each.rule.severity],
                "location": {"path": _relative(each.path), "lines": {"begin": each.line or 1}},
            }
            for each in found
        ]
    )


def as_sarif(found: Iterable[Located], rules: Sequence[Rule], version: str) -> str:
    """A log in the Static Analysis Results Interchange Format 2.1.0.

    :param rules: all that were asked
    :param version: ours
    """
    order = {rule.id: index for index, rule in enumerate(rules)}
    marks = _fingerprints()
    driver = {"name": "diskimage-create", "version": version, "rules": [_sarif_rule(rule) for rule in rules]}
    results = [_sarif_result(each, order[each.rule.id], marks(each)) for each in found]
    return _dump(
        {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    )


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.explanation},
        "defaultConfiguration": {"level": _SARIF[rule.severity]},
    }


def _sarif_result(each: Located, index: int, mark: str) -> dict[str, Any]:
    physical = {
        "artifactLocation": {"uri": quote(os.fsencode(_relative(each.path)))},
        "region": {"startLine": each.line or 1},
    }
    location: dict[str, Any] = {"physicalLocation": physical}
    if each.place:
        location["logicalLocations"] = [{"fullyQualifiedName": each.place}]
    return {
        "ruleId": each.rule.id,
        "ruleIndex": index,
        "level": _SARIF[each.rule.severity],
        "message": {"text": each.message},
        "locations": [location],
        "partialFingerprints": {"diskimageCreate/v1": mark},
    }


def _relative(path: str) -> str:
    """A path as one below the current directory, where it is: what is read elsewhere has another root."""
    relative = os.path.relpath(path)
    return os.path.normpath(path) if relative.startswith("..") else relative


def _fingerprints() -> Any:
    """A function that gives a finding its mark: the same in another run, though lines were added above it."""
    seen: Counter[str] = Counter()

    def mark(each: Located) -> str:
        text = json.dumps([each.rule.id, _relative(each.path), each.place, each.message])
        seen[text] += 1
        return hashlib.sha256(f"{text}{seen[text]}".encode()).hexdigest()

    return mark


def _dump(data: Any) -> str:
    return json.dumps(data, indent=1)


def rules_as_text(rules: Iterable[Rule]) -> str:
    """A line for each rule."""
    return "\n".join(f"{rule.id}  {rule.severity:<7}  {rule.title}" for rule in rules)


def rules_as_json(rules: Iterable[Rule]) -> dict[str, Any]:
    """What ``lint --list-rules --format json`` prints."""
    return {
        "schema": 1,
        "rules": [
            {
                "id": rule.id,
                "severity": rule.severity.value,
                "title": rule.title,
                "explanation": rule.explanation,
            }
            for rule in rules
        ],
    }


def page(introduction: str, rules: Iterable[Rule]) -> str:
    """A page that explains rules, in the order of their ids."""
    sections = (
        f"## {rule.id}: {rule.title}\n\nSeverity: {rule.severity}.\n\n{rule.explanation}\n"
        for rule in sorted(rules, key=lambda rule: rule.id)
    )
    return "\n".join([introduction, *sections])
