"""Which checks of an image are asked for: ``validate --only``, ``--skip`` and ``--list``."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from diskimage_create.errors import InputError, Problem
from diskimage_create.validate.registry import CHECKS, Check

SCHEMA = 1
BY_SKIP = "by --skip"
_OF_ALL = "leave --only out to see what it has"
_OF_TESTS = "--element-checks runs those that elements bring, --checks DIR those of a directory"


@dataclass(frozen=True)
class Selection:
    """Patterns of ids, with ``*`` and ``?``. The checks of elements are called ``ELEMENT/TEST``."""

    only: tuple[str, ...] = ()
    """Empty: every check"""
    skip: tuple[str, ...] = ()

    def wants(self, id: str) -> bool:
        """Whether the report is to have this check at all."""
        return not self.only or _matches(id, self.only)

    def skips(self, id: str) -> bool:
        """Whether the check is left out, and the report says so."""
        return _matches(id, self.skip)

    @property
    def wants_tests(self) -> bool:
        """Whether it can be that checks of elements are wanted: their ids are known when they have been collected."""
        return not self.only or any("/" in pattern or "*" in pattern for pattern in self.only)


EVERYTHING = Selection()


def select(only: Iterable[str], skip: Iterable[str]) -> Selection:
    """The selection that options make.

    :param only: ids and patterns, each perhaps several of them, comma separated
    :raises InputError: no check has such an id; those of elements' checks are not looked at
    """
    wanted, unwanted = _patterns(only), _patterns(skip)
    if problems := [*_unknown(wanted, "--only"), *_unknown(unwanted, "--skip")]:
        raise InputError(problems)
    return Selection(wanted, unwanted)


def require_matched(selection: Selection, ids: Collection[str]) -> None:
    """Refuse an ``--only`` that found nothing to check: the image would seem to be good.

    :param ids: of all that was reported
    :raises InputError: names what no check was called
    """
    problems = [
        Problem(f"this image has no check {pattern}", "--only", _OF_TESTS if "/" in pattern else _OF_ALL)
        for pattern in selection.only
        if not any(fnmatchcase(id, pattern) for id in ids)
    ]
    if problems:
        raise InputError(problems)


def explanation(check: Check) -> str:
    """What a check looks at and why it matters: the paragraphs of its docstring."""
    return inspect.getdoc(check.run) or ""


def page_of(id: str) -> str:
    """Where a check is explained, in the project's documentation."""
    return f"docs/checks/{id}.md"


def as_json(checks: Iterable[Check]) -> dict[str, Any]:
    """What ``validate --list --format json`` prints."""
    return {
        "schema": SCHEMA,
        "checks": [
            {
                "id": check.id,
                "severity": check.severity.value,
                "title": check.title,
                "elements": sorted(check.elements),
                "deep": check.deep,
                "explanation": explanation(check),
                "documentation": page_of(check.id),
            }
            for check in checks
        ],
    }


def as_text(checks: Iterable[Check]) -> str:
    """A line for each check."""
    rows = list(checks)
    width = max((len(check.id) for check in rows), default=0)
    return "\n".join(f"{check.id:{width}}  {check.severity:7}  {check.title}{_remarks(check)}" for check in rows)


def _remarks(check: Check) -> str:
    remarks = [f"of {' or '.join(sorted(check.elements))}"] if check.elements else []
    remarks += ["--deep"] if check.deep else []
    return f"  ({', '.join(remarks)})" if remarks else ""


def _patterns(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for text in given for word in text.replace(",", " ").split()))


def _unknown(patterns: Iterable[str], where: str) -> list[Problem]:
    known = [check.id for check in CHECKS]
    problems = []
    for pattern in patterns:
        if "/" not in pattern and not any(fnmatchcase(id, pattern) for id in known):
            close = difflib.get_close_matches(pattern, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "'diskimage-create validate --list' shows all"
            problems.append(Problem(f"there is no check {pattern}", where, hint))
    return problems


def _matches(id: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(id, pattern) for pattern in patterns)
