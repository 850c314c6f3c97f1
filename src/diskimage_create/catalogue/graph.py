"""The closure of elements as a graph: nodes are elements, edges their dependencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diskimage_create import elements
from diskimage_create.catalogue import Catalogue
from diskimage_create.model import Element

SCHEMA = 1


@dataclass(frozen=True)
class Edge:
    """A dependency of one element on another, or on what the other one provides."""

    source: str
    target: str
    """An element of the closure, or one that is missing"""
    provided: str | None = None
    """The name in element-deps, where the target only provides it"""


@dataclass(frozen=True)
class Graph:
    """A closure."""

    roots: tuple[str, ...]
    nodes: tuple[str, ...]
    """Sorted; those that are missing are none"""
    edges: tuple[Edge, ...]
    """Sorted"""
    provides: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


def of(wanted: Sequence[str], available: Mapping[str, Element]) -> Graph:
    """The graph of all that some elements depend on. Unlike for a build, no operating system has to be among them."""
    found = elements.expand(wanted, available)
    present = set(found.present)
    edges = {
        _edge(name, dependency, found)
        for name in present
        for dependency in available[name].depends
        if dependency != name
    }
    return Graph(
        roots=tuple(found.provider.get(name, name) for name in dict.fromkeys(wanted)),
        nodes=tuple(found.present),
        edges=tuple(sorted(edges, key=lambda edge: (edge.source, edge.target, edge.provided or ""))),
        provides={name: tuple(sorted(available[name].provides)) for name in found.present if available[name].provides},
        missing=tuple(sorted(found.missing)),
        conflicts=tuple(str(problem.message) for problem in found.conflicts),
    )


def _edge(source: str, dependency: str, found: elements.Expansion) -> Edge:
    provider = found.provider.get(dependency)
    return Edge(source, dependency) if provider is None else Edge(source, provider, dependency)


def as_json(graph: Graph, catalogue: Catalogue) -> dict[str, Any]:
    """What ``elements graph --format json`` prints."""
    return {
        "schema": SCHEMA,
        "roots": list(graph.roots),
        "nodes": [
            {
                "name": name,
                "path": str(catalogue.used[name].path),
                "origin": catalogue.used[name].origin_as_json(),
                "provides": list(graph.provides.get(name, ())),
            }
            for name in graph.nodes
        ],
        "edges": [{"from": edge.source, "to": edge.target, "provided": edge.provided} for edge in graph.edges],
        "missing": list(graph.missing),
        "conflicts": list(graph.conflicts),
    }


def as_text(graph: Graph, catalogue: Catalogue) -> str:
    """An indented tree. What stands further up already ends with ``...``, and its dependencies are not repeated."""
    below: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        below.setdefault(edge.source, []).append(edge)
    seen: set[str] = set()
    lines: list[str] = []

    def add(name: str, prefix: str, branch: str, provided: str | None = None) -> None:
        dependencies = below.get(name, [])
        repeated = name in seen and bool(dependencies)
        lines.append(f"{branch}{_label(name, graph, catalogue, provided)}{' ...' if repeated else ''}")
        if name in seen:
            return
        seen.add(name)
        for number, edge in enumerate(dependencies, 1):
            last = number == len(dependencies)
            inner = f"{prefix}{'   ' if last else '│  '}"
            add(edge.target, inner, f"{prefix}{'└─ ' if last else '├─ '}", edge.provided)

    for root in dict.fromkeys(graph.roots):
        add(root, "", "")
    for name in graph.nodes:
        if name not in seen:  # asked for by an element that another one turned out to provide
            add(name, "", "")
    lines += [f"conflict: {text}" for text in graph.conflicts]
    return "\n".join(lines)


def _label(name: str, graph: Graph, catalogue: Catalogue, provided: str | None) -> str:
    if name in graph.missing:
        return f"{name}  ({absence(name, catalogue)})"
    remarks = [catalogue.used[name].origin]
    if provided:
        remarks.append(f"as {provided}")
    others = [each for each in graph.provides.get(name, ()) if each != provided]
    if others:
        remarks.append(f"provides {', '.join(others)}")
    return f"{name}  ({'; '.join(remarks)})"


def absence(name: str, catalogue: Catalogue) -> str:
    """Why a name of the closure is no element of it."""
    return "to be provided by another element" if catalogue.providers(name) else "missing"
