"""What lint found, for people, for programs and for GitHub; and the page that explains the rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from diskimage_create import findings
from diskimage_create.catalogue.lint.model import RULES, Rule, Severity, Violation

SCHEMA = 1
_PAGE = """\
# Rules of `elements lint`

Written by `scripts/update-lint-rules` from the rules' own explanations: change those.
[elements.md](elements.md) says how to call it.

An element may break a rule for a reason. A comment says so, on the line, on one of its own right above, or, where the
finding has no line, anywhere in the file:

    # lint: EL501 the password is what this element is for

Without a reason it does not count. `# dib-lint: disable=sete` (EL204) and `disable=executable` (EL201), which
diskimage-builder's own lint reads, count for the file that they stand in. Errors and warnings make the exit code 1;
hints do not.
"""


def is_clean(violations: Iterable[Violation]) -> bool:
    """Whether there is nothing but hints."""
    return all(each.rule.severity is Severity.HINT for each in violations)


def as_text(violations: Sequence[Violation]) -> str:
    """A line for each, grouped by element."""
    lines = []
    for entry, group in groupby(violations, key=lambda each: each.entry):
        lines.append(f"{entry.name}  ({entry.origin})")
        found = list(group)
        width = max(len(each.where) for each in found)
        for each in found:
            where = f"{each.where:<{width}}  " if width else ""
            lines.append(f"  {each.rule.severity:<7}  {each.rule.id}  {where}{each.found.message}")
    return "\n".join(lines)


def summary(violations: Iterable[Violation], elements: int) -> str:
    """How much there was, on one line."""
    return findings.summary(findings.counted(elements, "element"), (each.rule.severity for each in violations))


def as_json(violations: Sequence[Violation], elements: Sequence[str], rules: Sequence[Rule]) -> dict[str, Any]:
    """What ``elements lint --format json`` prints."""
    return {
        "schema": SCHEMA,
        "ok": is_clean(violations),
        "elements": list(elements),
        "rules": [rule.id for rule in rules],
        "findings": [
            {
                "rule": each.rule.id,
                "title": each.rule.title,
                "severity": each.rule.severity.value,
                "element": each.entry.name,
                "path": str(each.entry.path / each.found.path),
                "line": each.found.line,
                "message": each.found.message,
            }
            for each in violations
        ],
    }


def as_github(violations: Iterable[Violation]) -> str:
    """Commands of GitHub's workflows, which show each finding beside its line."""
    return findings.as_github(
        findings.Located(each.rule, str(each.entry.path / each.found.path), each.found.message, each.found.line)
        for each in violations
    )


def page() -> str:
    """``docs/elements-lint.md``."""
    return findings.page(_PAGE, RULES.values())
