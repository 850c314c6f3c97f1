"""Showing a report: as text for people, as JSON for programs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from typing import TextIO

from diskimage_create.model import Report, Status
from diskimage_create.validate.registry import visible

#: How each is shown to people
WORDS = {Status.PASS: "ok", Status.FAIL: "FAIL", Status.WARN: "warn", Status.SKIP: "skip"}
_STYLES = {Status.PASS: "green", Status.FAIL: "bold red", Status.WARN: "yellow", Status.SKIP: "dim"}


def as_json(report: Report) -> str:
    """The report as ``validate --format json`` prints it."""
    return json.dumps(report.as_json(), indent=2)


def as_text(report: Report) -> str:
    """One line for each check, then the verdict."""
    width = max((len(finding.id) for finding in report.findings), default=0)
    lines = [f"{WORDS[f.status]:4}  {f.id:{width}}  {f.message}" for f in report.findings]
    return "\n".join([*lines, "", summary(report)])


def summary(report: Report) -> str:
    """The verdict in one line."""
    counts = Counter(finding.status.value for finding in report.findings)
    verdict = "good" if report.ok else "rejected"
    return f"{visible(str(report.image))}: {verdict}, {tally(counts, report.seconds)}"


def tally(counts: Mapping[str, int], seconds: float) -> str:
    """How many checks ended how, and how long they took.

    :param counts: by :class:`Status`
    """
    passed, failed, warnings, skipped = (counts.get(status, 0) for status in ("pass", "fail", "warn", "skip"))
    plural = "" if warnings == 1 else "s"
    return f"{passed} passed, {failed} failed, {warnings} warning{plural}, {skipped} skipped, {seconds:.1f} s"


def print_report(report: Report, stream: TextIO) -> None:
    """Print the text report; with colours on a terminal."""
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        print(as_text(report), file=stream)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in report.findings:
        # Messages hold file names, which are no markup.
        message = finding.message.replace("[", "\\[")
        table.add_row(WORDS[finding.status], finding.id, message, style=_STYLES[finding.status])
    console = Console(file=stream)
    console.print(table)
    console.print(f"\n{summary(report)}", markup=False, highlight=False)
