"""One environment definition for many charts, taken apart into one file of values for each chart.

A section is written as it was read: text stays text, and numbers keep their spelling, whatever a reader of YAML takes
``1e3``, ``0755`` or ``yes`` for. So YAML's nodes are worked on, and no value is ever made of them.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from diskimage_create import yamlfile
from diskimage_create.errors import Findings, InputError, Problem
from diskimage_create.files import TEMPORARY, write_all
from diskimage_create.yamlfile import Document

#: The section that is for all charts, and the key that charts find it under
GLOBAL = "global"
#: The file of ``umbrella``
UMBRELLA = "umbrella.yaml"
#: What Helm takes for the name of a chart, without names that would be hidden files or options
_CHART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,249}", re.ASCII)
#: ``helm package`` makes NAME-VERSION.tgz
_PACKAGED = re.compile(r"(?P<name>.+?)-v?[0-9]+\.[0-9]+\.[0-9]+.*\.tgz", re.ASCII)
#: How a file begins that we may replace
_OURS = "# Made by 'diskimage-create values split' "

_NULL, _STRING, _MAP = (f"tag:yaml.org,2002:{name}" for name in ("null", "str", "map"))
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class Split:
    """The files that an environment definition was taken apart into."""

    texts: Mapping[str, str]
    """By the file's name, in the order of the charts in the definition"""
    source: Path
    """The definition"""


def split(path: Path, *, umbrella: bool = False, charts: Path | None = None) -> Split:
    """Take an environment definition apart: a file of values for each section; ``global`` is merged into each.

    :param umbrella: one file instead, with a section for each chart, for a chart that these charts are sub-charts of
    :param charts: a directory of charts: others must not be in the definition
    :raises InputError: it is no environment definition; with every problem
    :raises Findings: a section's chart is not among the charts
    """
    document = yamlfile.read(path)
    if problems := list(_problems(document)):
        raise InputError(sorted(problems, key=lambda problem: _line(problem.where)))
    sections = _sections(document)
    if charts and (unknown := list(_unknown(document, sections, _charts_in(charts)))):
        raise Findings(unknown)
    head = f"{_OURS}of {path.name}: change that, not this.\n"
    if umbrella:
        whole = _mapping((_text(chart), section) for chart, section in sections.items())
        return Split({UMBRELLA: head + _written(whole)}, path)
    return Split({f"{chart}.yaml": head + _written(section) for chart, section in sections.items()}, path)


def write(parts: Split, directory: Path, *, force: bool = False) -> list[Path]:
    """Write the files, all or none; those of an earlier time that are not among them any more are removed.

    :param force: write where there are files of others; those that have no name of ours stay
    :returns: the files
    :raises InputError: there are files of others, or it cannot be written there
    """
    there = _entries(directory, "--output") if os.path.isdir(directory) else []
    there = [entry for entry in there if not entry.name.startswith(TEMPORARY)]  # of a run that was killed
    ours = {entry.name for entry in there if _is_ours(entry)}
    if same := [name for name in (*parts.texts, *ours) if _are_one(directory / name, parts.source)]:
        what = f"{directory / same[0]} is the definition, and would be replaced or removed"
        raise InputError([Problem(what, "--output", "name another directory")])
    others = [entry.name for entry in there if entry.name not in ours]
    if others and not force:
        hint = "name an empty directory, or use --force: files of the same names are replaced, the others stay"
        raise InputError([Problem(f"{directory} has files that are not of 'values split': {_some(others)}", hint=hint)])
    write_all(directory, parts.texts, obsolete=sorted(ours - parts.texts.keys()))
    return [directory / name for name in parts.texts]


def _are_one(path: Path, source: Path) -> bool:
    return os.path.exists(path) and os.path.samefile(path, source)


def _entries(directory: Path, option: str) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError as error:
        raise InputError([Problem(f"{directory} cannot be read: {error.strerror}", option)]) from None


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_OURS)) == _OURS.encode()
    except OSError:
        return False


def _line(where: str | None) -> int:
    number = (where or "").rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def _problems(document: Document) -> Iterator[Problem]:
    for line, message, hint in document.repeated:
        yield Problem(message, f"{document.path}:{line}", hint)
    if not isinstance(document.data, dict):
        what = "is empty" if document.data is None else "is no mapping of charts"
        yield Problem(f"the file {what}", document.where(), "write a section for each chart, e.g. 'keystone: {...}'")
        return
    for name, section in document.data.items():
        where = document.where(name)
        if not _CHART.fullmatch(name):
            yield Problem(f"{name!r} cannot be the name of a chart", where, "use letters, digits, '-', '_' and '.'")
        if section is not None and not isinstance(section, dict):
            kind = "a list" if isinstance(section, list) else f"{document.texts[name,]!r}"
            yield Problem(f"section {name} must be a mapping, and is {kind}", where, "values of a chart have names")
    if not document.data.keys() - {GLOBAL}:
        yield Problem("there is no section of a chart", document.where(), f"{GLOBAL!r} alone is for no chart")


def _unknown(document: Document, sections: Iterable[str], charts: Mapping[str, Path]) -> Iterator[Problem]:
    for name in sections:
        if name not in charts:
            close = difflib.get_close_matches(name, charts, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {_some(sorted(charts)) or 'none'}"
            yield Problem(f"there is no chart {name}", document.where(name), hint)


def _charts_in(directory: Path) -> dict[str, Path]:
    """Charts by name: directories with a ``Chart.yaml``, and what ``helm package`` has made of some."""
    entries = _entries(directory, "--charts-dir")
    charts = {entry.name: entry for entry in entries if (entry / "Chart.yaml").is_file()}
    packaged = {match["name"]: entry for entry in entries if (match := _PACKAGED.fullmatch(entry.name))}
    return {**packaged, **charts}


def _sections(document: Document) -> dict[str, yaml.MappingNode]:
    """The values of each chart, with what is for all charts."""
    assert isinstance(document.node, yaml.MappingNode)
    top = _pairs(document.node)
    shared = top.pop(GLOBAL, None)
    common = _mapping([shared] if shared and isinstance(shared[1], yaml.MappingNode) else [])
    return {name: _merged(common, _section(value)) for name, (_, value) in top.items()}


def _section(node: yaml.Node) -> yaml.MappingNode:
    return node if isinstance(node, yaml.MappingNode) else _mapping([])


def _merged(below: yaml.MappingNode, above: yaml.MappingNode) -> yaml.MappingNode:
    """As Helm merges files of values: mappings key by key, all else as a whole. A null stays: it removes a default."""
    pairs = _pairs(below)
    for name, (key, value) in _pairs(above).items():
        lower = pairs[name][1] if name in pairs else None
        if isinstance(lower, yaml.MappingNode) and isinstance(value, yaml.MappingNode):
            value = _merged(lower, value)
        pairs[name] = (key, value)
    return _mapping(pairs.values())


def _pairs(node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """By name; of what a merge key has brought, and the mapping has itself, the latter is the later one."""
    return {key.value: (key, value) for key, value in node.value}


def _mapping(pairs: Iterable[tuple[yaml.Node, yaml.Node]]) -> yaml.MappingNode:
    return yaml.MappingNode(_MAP, list(pairs), flow_style=False)


def _text(text: str) -> yaml.ScalarNode:
    return yaml.ScalarNode(_STRING, text)


def _copied(node: yaml.Node) -> yaml.Node:
    """The same without aliases, in block style; scalars keep what decides about their type."""
    if isinstance(node, yaml.MappingNode):
        pairs = [(_copied(key), _copied(value)) for key, value in _pairs(node).values()]
        return yaml.MappingNode(node.tag, pairs, flow_style=False)
    if isinstance(node, yaml.SequenceNode):
        return yaml.SequenceNode(node.tag, [_copied(item) for item in node.value], flow_style=False)
    if node.tag == _NULL:
        return yaml.ScalarNode(_NULL, "null")
    assert isinstance(node, yaml.ScalarNode)
    # Folded text would be folded elsewhere: what is more indented, or ends with spaces, does not survive that.
    return yaml.ScalarNode(node.tag, node.value, style='"' if node.style == ">" else node.style)


def _written(node: yaml.Node) -> str:
    # Lines are not broken: where they are, readers differ.
    text: str = yaml.serialize(_copied(node), Dumper=_Dumper, allow_unicode=True, width=2**30)
    return text
