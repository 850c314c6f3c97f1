"""A graph of elements in Graphviz's language, and drawn by Graphviz."""

from __future__ import annotations

from diskimage_create import process
from diskimage_create.catalogue import Catalogue
from diskimage_create.catalogue.graph import Graph, absence
from diskimage_create.errors import HostError

#: Background and frame of each origin, in the order in which they come up: light enough for black text, and told
#: apart by who does not see red and green
_COLOURS = (
    *(("#cfe8ff", "#1f6fb2"), ("#e8e8e8", "#6b6b6b"), ("#ffe5c2", "#b26a00"), ("#d9f2dc", "#2f7d3b")),
    *(("#eadcf7", "#6f3fa0"), ("#fff6b8", "#8a7a00"), ("#fbd9e4", "#a83a63"), ("#d2f1ef", "#1e7d78")),
)
_MISSING = 'style="dashed,rounded", color="#c00000", fontcolor="#c00000"'


def as_dot(graph: Graph, catalogue: Catalogue) -> str:
    """The graph for ``dot``: a box for each element, coloured by where it is from; dashed edges to what is provided."""
    origins = sorted({catalogue.used[name].origin for name in graph.nodes})
    # Ours and diskimage-builder's are always the same two, whatever else there is.
    origins.sort(key=lambda text: not text.startswith("diskimage-"))
    origins.sort(key=lambda text: not text.startswith("diskimage-create"))
    colours = {origin: _COLOURS[number % len(_COLOURS)] for number, origin in enumerate(origins)}
    lines = [
        "digraph elements {",
        '  graph [rankdir=LR, ranksep=0.6, nodesep=0.18, fontname="sans-serif", fontsize=11];',
        '  node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=11];',
        '  node [height=0.3, margin="0.12,0.06"];',
        '  edge [color="#7a7a7a", arrowsize=0.6, fontname="sans-serif", fontsize=9, fontcolor="#4a4a4a"];',
    ]
    for name in graph.nodes:
        fill, frame = colours[catalogue.used[name].origin]
        width = ", penwidth=2.4" if name in graph.roots else ""
        provides = "".join(f"\\nprovides {_escaped(each)}" for each in graph.provides.get(name, ()))
        label = f'label="{_escaped(name)}{provides}"'
        lines.append(f'  {_quoted(name)} [{label}, fillcolor="{fill}", color="{frame}"{width}];')
    for name in graph.missing:
        lines.append(f'  {_quoted(name)} [label="{_escaped(name)}\\n{absence(name, catalogue)}", {_MISSING}];')
    for edge in graph.edges:
        style = f" [style=dashed, label={_quoted(edge.provided)}]" if edge.provided else ""
        lines.append(f"  {_quoted(edge.source)} -> {_quoted(edge.target)}{style};")
    return "\n".join([*lines, *_legend(colours), "}"])


def _legend(colours: dict[str, tuple[str, str]]) -> list[str]:
    rows = "".join(
        f'<tr><td bgcolor="{fill}" width="24"> </td><td align="left">{_html(origin)}</td></tr>'
        for origin, (fill, _) in colours.items()
    )
    rows += '<tr><td border="2" color="#404040"> </td><td align="left">bold frame: asked for</td></tr>'
    rows += '<tr><td>→</td><td align="left">needs (element-deps)</td></tr>'
    rows += '<tr><td>⇢</td><td align="left">dashed: needs what it provides</td></tr>'
    table = f'<table border="1" color="#a0a0a0" cellborder="0" cellspacing="4">{rows}</table>'
    return [
        "  subgraph cluster_legend {",
        '    label=""; style=invis;',
        f"    legend [shape=plaintext, style=solid, margin=0, label=<{table}>];",
        "  }",
    ]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def as_svg(graph: Graph, catalogue: Catalogue) -> str:
    """The graph as a picture.

    :raises HostError: Graphviz is not installed
    """
    if process.which("dot") is None:
        hint = "install the package graphviz, or take --format dot and draw it elsewhere"
        raise HostError("Graphviz's dot is not installed: it draws the SVG", hint)
    return process.run(["dot", "-Tsvg"], input=as_dot(graph, catalogue), timeout=120).stdout
