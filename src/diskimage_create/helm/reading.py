"""Which files under a path name images, and what they say: charts, trees of charts, values, lists."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from diskimage_create import yamlfile
from diskimage_create.errors import InputError, Problem
from diskimage_create.helm import placeholders, templates
from diskimage_create.helm.documents import Reading, used
from diskimage_create.helm.model import Chart, Found, Kind, Policy, Section, Template, Used

_CHART = "Chart.yaml"
_VALUES = "values.yaml"
_OVERRIDES = "values_overrides"
_TEMPLATES = "templates"
_YAML = (".yaml", ".yml")
#: A line that begins a YAML document, and no list of references
_YAML_LINE = re.compile(r"---(?:\s|$)|-\s|\[|\{|[\w.\"'-]+:(?:\s|$)")


def read(paths: Iterable[str | Path]) -> Found:
    """Everything that files say of images.

    A path is a file, a chart's directory, or a directory with charts somewhere below. Of a chart, ``values*.yaml``,
    ``values_overrides/`` and ``templates/`` are read; of a directory with charts, ``values_overrides/CHART/`` too;
    of one without, every YAML file. A file that cannot be read is a problem, and the others are read nevertheless.
    """
    reader = _Reader()
    for path in paths:
        reader.read(Path(path))
    return reader.found()


@dataclass
class _File:
    """Where a file belongs."""

    chart: Chart | None = None
    name: str | None = None
    """Of the chart"""
    template: tuple[str, ...] | None = None
    """It is a template: the directories between ``templates`` and the file"""


@dataclass
class _Reader:
    images: list[Used] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    charts: dict[Path, Chart] = field(default_factory=dict)
    """By the absolute directory"""
    templates: dict[Path, list[Template]] = field(default_factory=dict)
    values: dict[Path, tuple[Section, ...]] = field(default_factory=dict)
    """Sections of values files, by the file"""
    seen: set[Path] = field(default_factory=set)

    def found(self) -> Found:
        charts = (
            replace(chart, templates=tuple(self.templates.get(place, ())), sections=self._defaults(chart))
            for place, chart in self.charts.items()
        )
        return Found(
            tuple(self.images),
            tuple(self.sections),
            tuple(self.policies),
            tuple(charts),
            (*sorted(self.seen), *(place / name for place in self.charts for name in (_CHART, _VALUES))),
            tuple(self.problems),
        )

    def read(self, path: Path) -> None:
        if not os.path.isdir(path):  # Path.is_dir() raises what it may not look at
            self._file(path)
            return
        files, charts = _below(path, self._unreadable)
        for directory in charts:
            self._chart(directory, complete=True)
        for file in files:
            self._file(file)

    def _unreadable(self, error: OSError) -> None:
        self.problems.append(Problem(f"cannot be read: {error.strerror}", str(error.filename)))

    def _chart(self, directory: Path, *, complete: bool) -> Chart:
        place = _absolute(directory)
        known = self.charts.get(place)
        if known is None:
            known = Chart(_name(directory / _CHART) or place.name, directory, (), complete=complete)
        elif complete and not known.complete:
            known = replace(known, complete=True)
        self.charts[place] = known
        return known

    def _defaults(self, chart: Chart) -> tuple[Section, ...]:
        """The sections of a chart's values, read if nobody asked for them."""
        path = chart.directory / _VALUES
        if _absolute(path) in self.values or not os.path.isfile(path):
            return self.values.get(_absolute(path), ())
        other = _Reader()
        try:
            other._yaml(path, yamlfile.text_of(path), chart.name)
        except InputError as error:
            self.problems += error.problems
        return tuple(other.sections)

    def _file(self, path: Path) -> None:
        place = _absolute(path)
        if place in self.seen:
            return
        self.seen.add(place)
        belongs = self._belongs(path)
        try:
            text = yamlfile.text_of(path)  # once: a pipe has it no second time
            if belongs.template is not None:
                self._template(path, text, belongs)
            elif path.suffix in _YAML or _is_yaml(text):
                self._yaml(path, text, belongs.name)
            else:
                self._lines(path, text)
        except InputError as error:
            self.problems += error.problems

    def _belongs(self, path: Path) -> _File:
        """The chart of a file: the directory with a Chart.yaml that it is in, or the name in ``values_overrides``."""
        for directory in path.parents if path.is_absolute() else _absolute(path).parents:
            if (chart := self.charts.get(directory)) or os.path.isfile(directory / _CHART):
                relative = _absolute(path).relative_to(directory).parts
                chart = chart or self._chart(directory, complete=False)
                below = relative[1:-1] if relative[0] == _TEMPLATES else None
                return _File(chart, chart.name, below)
        parent = path.parent
        return _File(name=parent.name if parent.parent.name == _OVERRIDES else None)

    def _yaml(self, path: Path, text: str, chart: str | None) -> None:
        """:raises InputError: the text is no YAML"""
        self.values[_absolute(path)] = ()
        sections: list[Section] = []
        for number, document in enumerate(yamlfile.parse_all(path, placeholders.mask(text))):
            for line, message, hint in document.repeated:
                self.problems.append(Problem(message, f"{path}:{line}", hint))
            reading = Reading(document, chart, number)
            self.images += reading.images
            sections += reading.sections
            self.policies += reading.pull_policies
        self.sections += sections
        self.values[_absolute(path)] = tuple(sections)

    def _template(self, path: Path, text: str, belongs: _File) -> None:
        template = templates.read(path, text, belongs.template or ())
        self.images += templates.images(template, belongs.name)
        if belongs.chart:
            self.templates.setdefault(_absolute(belongs.chart.directory), []).append(template)

    def _lines(self, path: Path, text: str) -> None:
        """A list of references: one a line, comments begin with ``#``."""
        for number, line in enumerate(text.split("\n"), 1):
            name = line.partition("#")[0].strip()
            if name:
                self.images.append(used(name, path, number, Kind.LIST, str(number)))


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _name(path: Path) -> str | None:
    """What a Chart.yaml calls the chart. One that cannot be read has no say: the directory's name is the chart's."""
    try:
        data = yamlfile.read(path).data
    except InputError:
        return None
    name = data.get("name") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


def _is_yaml(text: str) -> bool:
    """Whether the first line that says something is one of YAML."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return _YAML_LINE.match(first) is not None


def _below(top: Path, unreadable: Callable[[OSError], None]) -> tuple[list[Path], list[Path]]:
    """The files below a directory that may name images, and the directories of charts."""
    files: dict[Path, list[Path]] = {}
    for name, directories, names in os.walk(top, onerror=unreadable):
        directories[:] = sorted(each for each in directories if not each.startswith("."))
        files[Path(name)] = [Path(name, each) for each in sorted(names) if not each.startswith(".")]
    charts = [directory for directory in files if directory / _CHART in files[directory]]
    every = [path for paths in files.values() for path in paths]
    if not charts and not any(_OVERRIDES in path.relative_to(top).parts for path in every):
        return [path for path in every if path.suffix in _YAML], []
    homes = set(charts)
    return [path for path in every if _is_of_chart(path, top, homes)], charts


def _is_of_chart(path: Path, top: Path, charts: set[Path]) -> bool:
    """Whether a file holds values or is a template of a chart."""
    home = next((directory for directory in path.parents if directory in charts), None)
    below = path.relative_to(home or top).parts
    if home is not None and below[0] == _TEMPLATES:
        return path.suffix in (*_YAML, ".tpl")
    if path.suffix not in _YAML:
        return False
    return _OVERRIDES in below[:-1] or (home is not None and len(below) == 1 and path.name.startswith("values"))
