"""Rules of ``images lint``, and what they find."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from diskimage_create import findings
from diskimage_create.findings import Severity
from diskimage_create.helm import placeholders
from diskimage_create.helm.model import Chart, Found, Section, Used
from diskimage_create.references import Reference
from diskimage_create.yamlfile import Place


@dataclass(frozen=True)
class Broken:
    """Where a rule is broken, and how."""

    message: str
    file: Path
    line: int
    """From 1"""
    place: Place = ()
    reference: str | None = None
    """The image that it is about, as it is written"""
    chart: str | None = None


class Context:
    """What is checked, and what it is compared with."""

    def __init__(self, found: Found, defaults: Iterable[Section] = (), *, require_digest: bool = False) -> None:
        """Check what was found.

        :param defaults: the sections of values that are the charts', whatever is found
        :param require_digest: tags alone are not enough
        """
        self.found = found
        self.require_digest = require_digest
        self._defaults = tuple(defaults)

    @cached_property
    def references(self) -> tuple[tuple[Used, Reference], ...]:
        """The images whose names can be told apart into their parts, unfinished ones too."""
        valid = (each for each in self.found.images if each.error is None)
        both = ((each, each.reference or placeholders.stand_in(each.text)) for each in valid)
        return tuple((each, reference) for each, reference in both if reference)

    @cached_property
    def charts(self) -> dict[str, Chart]:
        """Charts by name: the first of a name."""
        return {chart.name: chart for chart in reversed(self.found.charts)}

    def default(self, section: Section) -> Section | None:
        """The chart's own section, which this one overrides; None: nobody knows it, or it is this one."""
        known = next((each for each in self._defaults if _is_of(each, section)), None)
        if known is None:
            chart = self.charts.get(section.chart or "")
            known = chart.images if chart else None
        return None if known and known.place == section.place and _are_one(known.file, section.file) else known


def _is_of(default: Section, section: Section) -> bool:
    """Whether a section of the given values is the one that another overrides."""
    if default.chart and section.chart:
        return default.chart == section.chart
    return default.place == section.place


def _are_one(one: Path, other: Path) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)


Check = Callable[[Context], Iterable[Broken]]


@dataclass(frozen=True)
class Rule(findings.Rule):
    """Something that should not be in a file that names images."""

    check: Check


#: Every rule by its id; filled by the modules that hold them
RULES: dict[str, Rule] = {}


def rule(id: str, title: str, severity: Severity) -> Callable[[Check], Check]:
    """Make a rule of a function. Its docstring is the explanation."""

    def register(check: Check) -> Check:
        assert id not in RULES
        RULES[id] = Rule(id, title, severity, inspect.cleandoc(check.__doc__ or ""), check)
        return check

    return register


def of(used: Used, message: str) -> Broken:
    """Something that is wrong with an image's name."""
    return Broken(message, used.file, used.line, used.place, used.text, used.chart)


@dataclass(frozen=True)
class Finding:
    """A rule, and where it is broken."""

    rule: Rule
    broken: Broken

    @property
    def place(self) -> str:
        """Where in the document: ``images.tags.db_init``, ``containers[0].image``; empty in a file without keys."""
        text = ""
        for part in self.broken.place:
            if isinstance(part, int):
                text += f"[{part}]"
            else:
                text += f"{'.' if text else ''}{part}"
        return text

    @property
    def sort_key(self) -> tuple[str, int, str, str, str]:
        """The order of a report."""
        return (str(self.broken.file), self.broken.line, self.rule.id, self.place, self.broken.message)
