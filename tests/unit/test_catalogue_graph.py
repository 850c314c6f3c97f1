"""Graphs of closures, as text, for Graphviz, and drawn by it."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_elements import read, write

from diskimage_create import catalogue, elements, process
from diskimage_create.catalogue import Catalogue, Entry, drawing, graph
from diskimage_create.errors import HostError, InputError
from diskimage_create.model import Element
from diskimage_create.places import Place

FILES = {
    "system/element-provides": "operating-system\n",
    "system/element-deps": "tools\n",
    "app/element-deps": "tools\noperating-system\nlibrary\n",
    "library/element-deps": "tools\n",
    "tools/element-deps": "base\n",
    "base/README.rst": "",
}

names = st.sampled_from("abcdefgh")
some = st.dictionaries(
    names,
    st.tuples(st.frozensets(names | st.sampled_from(["virtual", "ghost"]), max_size=4), st.booleans()),
    min_size=2,
)


def made_of(tree: dict[str, tuple[frozenset[str], bool]]) -> dict[str, Element]:
    """Elements that depend on one another at random; a few provide something."""
    available = {
        name: Element(name, Path("/e", name), depends, frozenset({"virtual"}) if provides else frozenset())
        for name, (depends, provides) in tree.items()
    }
    available["system"] = Element("system", Path("/e/system"), frozenset("a"), frozenset({"operating-system"}))
    return available


@given(tree=some, wanted=st.lists(names, unique=True, max_size=3))
@settings(max_examples=400)
def test_the_nodes_are_the_closure(tree: dict[str, tuple[frozenset[str], bool]], wanted: list[str]) -> None:
    available = made_of(tree)
    asked = ["system", *wanted]
    drawn = graph.of(asked, available)
    try:
        closure = elements.closure(asked, available)
    except InputError:
        closure = None
    if closure is not None:
        assert drawn.nodes == tuple(element.name for element in closure)
        assert drawn.missing == drawn.conflicts == ()
    for edge in drawn.edges:
        assert edge.source in drawn.nodes
        assert edge.target in (*drawn.nodes, *drawn.missing)
        assert (edge.provided or edge.target) in available[edge.source].depends
    for name in drawn.nodes:
        from_here = {edge.provided or edge.target for edge in drawn.edges if edge.source == name}
        assert from_here == available[name].depends - {name}


@given(tree=some, wanted=st.lists(names, unique=True, max_size=3))
@settings(max_examples=200)
def test_every_node_is_in_the_tree_and_in_the_drawing(
    tree: dict[str, tuple[frozenset[str], bool]], wanted: list[str]
) -> None:
    available = made_of(tree)
    drawn = graph.of(["system", *wanted], available)
    known = Catalogue(tuple(Entry(element, Place(Path("/e"))) for element in available.values()))
    text = graph.as_text(drawn, known)
    shown = {line.lstrip("│├└─ ").split("  ")[0] for line in text.splitlines()}
    assert {*drawn.nodes, *drawn.missing} <= shown
    # Once with its dependencies, never again.
    for name in drawn.nodes:
        lines = [line for line in text.splitlines() if line.lstrip("│├└─ ").split("  ")[0] == name]
        if any(edge.source == name for edge in drawn.edges):
            assert sum(not line.endswith(" ...") for line in lines) == 1
    dot = drawing.as_dot(drawn, known)
    for name in (*drawn.nodes, *drawn.missing):
        assert f'  "{name}" [' in dot


def test_the_tree_marks_what_it_has_shown(tmp_path: Path) -> None:
    found = read(write(tmp_path, FILES))
    text = graph.as_text(graph.of(["app", "system"], found.elements), found)
    assert text.replace(f"  ({tmp_path}", " (") == (
        "app ()\n"
        "├─ library ()\n"
        "│  └─ tools ()\n"
        "│     └─ base ()\n"
        "├─ system (; as operating-system)\n"
        "│  └─ tools () ...\n"
        "└─ tools () ...\n"
        "system (; provides operating-system) ..."
    )


def test_what_is_not_there_is_said_with_the_reason(tmp_path: Path) -> None:
    files = {"one/element-deps": "gone\nthing\n", "two/element-provides": "thing\n", "three/element-provides": "thing"}
    found = read(write(tmp_path, files))
    text = graph.as_text(graph.of(["one"], found.elements), found)
    assert "├─ gone  (missing)" in text
    assert "└─ thing  (to be provided by another element)" in text
    both = graph.as_text(graph.of(["two", "three"], found.elements), found)
    assert both.splitlines()[-1] == "conflict: thing is provided by both two and three"


def test_names_and_origins_of_any_characters_can_be_drawn(tmp_path: Path) -> None:
    found = read(write(tmp_path / 'a<b>&"c', {'x"y\\z/README.rst': ""}))
    dot = drawing.as_dot(graph.of(['x"y\\z'], found.elements), found)
    assert r'"x\"y\\z" [label="x\"y\\z"' in dot
    assert 'a&lt;b&gt;&amp;"c' in dot


@pytest.mark.subprocess("draws with Graphviz")
def test_the_svg_has_every_element_and_a_legend() -> None:
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    found = catalogue.read(catalogue.where({}))
    drawn = graph.of(["os-collect-config", "debian", "vm", "block-device-mbr"], found.elements)
    root = ElementTree.fromstring(drawing.as_svg(drawn, found))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(drawn.nodes) <= set(text)
    assert {found.used[name].origin for name in drawn.nodes} <= set(text)
    assert "provides block-device" in text
    titles = {each.text for each in root.iter("{http://www.w3.org/2000/svg}title")}
    assert "vm->block-device-mbr" in titles


@pytest.mark.subprocess("draws with Graphviz")
def test_strange_names_reach_the_svg(tmp_path: Path) -> None:
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    found = read(write(tmp_path / 'a<b>&"c', {'x"y\\z/README.rst': ""}))
    root = ElementTree.fromstring(drawing.as_svg(graph.of(['x"y\\z'], found.elements), found))
    assert {'x"y\\z', str(tmp_path / 'a<b>&"c')} <= set(root.itertext())


def test_without_graphviz_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(write(tmp_path, FILES))
    monkeypatch.setattr(process, "which", lambda _name: None)
    with pytest.raises(HostError, match="Graphviz's dot is not installed") as caught:
        drawing.as_svg(graph.of(["base"], found.elements), found)
    assert "package graphviz" in (caught.value.hint or "")
