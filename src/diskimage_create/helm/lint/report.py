"""What ``images lint`` found, for people and for programs; and the page that explains the rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from diskimage_create import findings
from diskimage_create.findings import Severity, visible
from diskimage_create.helm.lint.model import RULES, Finding

_PAGE = """\
# Rules of `images lint`

Written by `scripts/update-lint-rules` from the rules' own explanations: change those.
[images.md](images.md) says how to call it.

Errors make the exit code 1; warnings do so with `--strict`.
"""
#: Columns of a terminal that is too small for a table
_NARROW = 60
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.HINT: "cyan"}


def as_text(found: Iterable[Finding]) -> str:
    """A line for each: ``FILE:LINE: IMG004 error: MESSAGE (PLACE)``."""
    lines = []
    for each in found:
        where = f"{each.broken.file}:{each.broken.line}"
        place = f" ({each.place})" if each.place else ""
        lines.append(visible(f"{where}: {each.rule.id} {each.rule.severity}: {each.broken.message}{place}"))
    return "\n".join(lines)


def print_table(found: Sequence[Finding]) -> None:
    """A table for a terminal, grouped by chart; lines where it is too narrow for columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if console.width < _NARROW:
        console.print(Text(as_text(found)))
        return
    ordered = sorted(found, key=lambda each: each.broken.chart or "")  # those without a chart first
    for chart, group in groupby(ordered, key=lambda each: each.broken.chart):
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold", ratio=2)
        table.add_column(overflow="fold", ratio=3)
        for each in group:
            where = Text(visible(f"{each.broken.file}:{each.broken.line}"))
            if each.place:
                where.append(f"\n{visible(each.place)}", style="dim")
            severity = Text(each.rule.severity.value, style=_COLOURS[each.rule.severity])
            table.add_row(each.rule.id, severity, where, Text(visible(each.broken.message)))
        console.print(Text(visible(chart or "no chart"), style="bold"))
        console.print(table)


def summary(found: Iterable[Finding], checked: int) -> str:
    """How much there was, on one line."""
    kinds = (Severity.ERROR, Severity.WARNING)
    return findings.summary(findings.counted(checked, "reference"), (each.rule.severity for each in found), kinds)


def as_json(found: Iterable[Finding], checked: int) -> dict[str, Any]:
    """What ``images lint --format json`` prints.

    :param checked: how many references were looked at
    """
    return {
        "findings": [
            {
                "rule": each.rule.id,
                "severity": each.rule.severity.value,
                "file": str(each.broken.file),
                "line": each.broken.line,
                "path": each.place,
                "reference": each.broken.reference,
                "message": each.broken.message,
            }
            for each in found
        ],
        "checked": checked,
    }


def located(found: Iterable[Finding]) -> list[findings.Located]:
    """Findings as other programs' forms have them."""
    return [
        findings.Located(each.rule, str(each.broken.file), each.broken.message, each.broken.line, each.place)
        for each in found
    ]


def page() -> str:
    """``docs/images-lint.md``."""
    return findings.page(_PAGE, RULES.values())
