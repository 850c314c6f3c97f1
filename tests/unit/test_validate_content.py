"""A tree of any size becomes one that fits on a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create.model import Content, Heavy, Node, SizedPackage
from diskimage_create.validate.content import content_of, from_json, to_json, tree_of
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.inventory import sized_packages
from diskimage_create.validate.view import ImageView

NAMES = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=4).filter(
    lambda name: name not in (".", "..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


@st.composite
def sizes(draw: st.DrawFn) -> dict[str, int]:
    """Files and their bytes; no file is also a directory."""
    found = draw(st.dictionaries(PATHS, st.integers(0, 2**40), max_size=30))
    return {name: size for name, size in found.items() if not any(other.startswith(f"{name}/") for other in found)}


@given(sizes())
def test_nothing_is_lost(files: dict[str, int]) -> None:
    tree = tree_of(files)
    assert (tree[0].bytes, tree[0].files) == (sum(files.values()), len(files))
    for index, node in enumerate(tree):
        assert node.parent < index
        below = [child.bytes for child in tree if child.parent == index]
        # Either nothing below it is told of, or all of it.
        assert not below or sum(below) == node.bytes


@given(sizes())
def test_names_are_those_of_the_files(files: dict[str, int]) -> None:
    tree = tree_of(files)
    paths: list[str] = []
    for node in tree:
        paths.append("" if node.parent < 0 else f"{paths[node.parent]}/{node.name}")
        if node.kind == "file":
            assert files[paths[-1]] == node.bytes
        elif node.kind == "directory":
            assert sum(size for name, size in files.items() if name.startswith(f"{paths[-1]}/")) == node.bytes


@pytest.mark.parametrize(
    "files",
    [
        {f"/{number}": 1000 for number in range(100_000)},
        {f"/{number % 300}/{number % 7}/{number}": number for number in range(50_000)},
        {"/" + "d/" * 3000 + "file": 10},
        {"/" + "x" * 100_000: 10},
    ],
)
def test_a_page_has_room_for_any_tree(files: dict[str, int]) -> None:
    tree = tree_of(files)
    assert len(tree) <= 3000
    assert sum(len(node.name) for node in tree) < 100_000
    assert tree[0].bytes == sum(files.values())


def test_what_holds_most_is_looked_into_first() -> None:
    deep = {f"/big/{a}/{b}/{c}": 1000 for a in range(15) for b in range(15) for c in range(15)}
    tree = tree_of({**deep, **{f"/small/{number}": 1 for number in range(1000)}})
    small = next(index for index, node in enumerate(tree) if node.name == "small")
    assert [node for node in tree if node.parent == small] == []
    assert sum(node.kind == "file" for node in tree) > 2000


def view(tree: Path, image: Path) -> ImageView:
    image.write_bytes(bytes(10))
    opened = ImageView(path=image, kind="tar", workspace=image.parent)
    opened._root = ImageRoot(tree)
    return opened


def test_content_of_an_image(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name, text in (
        ("etc/os-release", 'NAME=Debian\nPRETTY_NAME="Debian 12"\n'),
        ("usr/lib/large", "x" * 5000),
        (
            "var/lib/dpkg/status",
            "Package: a\nStatus: install ok installed\nArchitecture: all\nInstalled-Size: 3\nVersion: 1\n\n"
            "Package: b\nStatus: install ok installed\nVersion: 2\nInstalled-Size: many\n\n"
            "Package: c\nStatus: deinstall ok config-files\nVersion: 2\n\n",
        ),
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "usr/lib/again").hardlink_to(tree / "usr/lib/large")
    (tree / "usr/link").symlink_to("lib/large")
    held = content_of(view(tree, tmp_path / "x.tar"))
    assert (held.kind, held.file_bytes, held.disk_bytes, held.system) == ("tar", 10, None, "Debian 12")
    assert held.packages == (SizedPackage("a", "1", "all", 3072), SizedPackage("b", "2", "", None))
    usr = next(node for node in held.tree if node.name == "usr")
    assert (usr.bytes, usr.files) == (5000, 1)
    assert held.largest[0].bytes == 5000


def test_an_image_without_files(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    held = content_of(ImageView(path=tmp_path / "x", kind="kernel", workspace=tmp_path))
    assert (held.packages, held.largest, held.tree, held.system) == ((), (), (), "")


def test_content_fits_through_a_pipe() -> None:
    held = Content(
        "raw", 1, 2, "x", (SizedPackage("a", "1", "all", None),), (Node("/", -1, 1, 1, "directory"),), (Heavy("/a", 1),)
    )
    assert from_json(json.loads(json.dumps(to_json(held)))) == held


def test_a_size_of_ten_thousand_digits_is_none(tmp_path: Path) -> None:
    tree = tmp_path / "tree/var/lib/dpkg"
    tree.mkdir(parents=True)
    (tree / "status").write_text(
        f"Package: a\nStatus: install ok installed\nVersion: 1\nInstalled-Size: {'9' * 10_000}\n"
    )
    (package,) = sized_packages(view(tmp_path / "tree", tmp_path / "x.tar"))
    assert package.bytes is None
