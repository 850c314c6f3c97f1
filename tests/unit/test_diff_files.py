"""Two directory trees: what differs is listed, in all its aspects, and nothing else."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskimage_create.diff import ignore
from diskimage_create.diff.files import compare_trees
from diskimage_create.diff.ignore import IgnoreList, Pattern
from diskimage_create.diff.model import Aspect, Change, Kind


@dataclass(frozen=True)
class Node:
    """A file to be made, with the aspects that it can differ in."""

    type: str
    mode: int
    content: bytes = b""
    target: str = ""

    def make(self, path: Path) -> None:
        if self.type == "directory":
            path.mkdir()
        elif self.type == "link":
            path.symlink_to(self.target)
        elif self.type == "pipe":
            os.mkfifo(path)
        else:
            path.write_bytes(self.content)
        if self.type != "link":
            path.chmod(self.mode)

    def aspects(self) -> dict[str, object]:
        only = {"file": {"content": self.content}, "link": {"target": self.target}}
        mode = {} if self.type == "link" else {"mode": self.mode}
        return {"type": self.type, **mode, **only.get(self.type, {})}


Tree = dict[str, Node]

UUID = "12345678-9abc-def0-1234-123456789abc"

MODES = st.sampled_from([0o700, 0o755, 0o4755])
# Few of each, so that two trees have much in common; of one size and of others.
LEAVES = st.one_of(
    st.builds(Node, st.just("file"), MODES, st.sampled_from([b"", b"x", b"y", b"x" * 3000, b"x" * 2999 + b"y"])),
    st.builds(Node, st.just("link"), MODES, target=st.sampled_from(["a", "/etc/passwd", "../.."])),
    st.builds(Node, st.just("pipe"), MODES),
)
NAMES = st.sampled_from(["a", "b", "a.b", " ", "ü", "\udcff"])


@st.composite
def trees(draw: st.DrawFn, below: str = "", depth: int = 3) -> Tree:
    """Names -> nodes; a directory comes before what is in it."""
    found: Tree = {}
    for name in sorted(draw(st.sets(NAMES, max_size=4))):
        path = f"{below}/{name}"
        if depth and draw(st.booleans()):
            found[path] = Node("directory", draw(MODES))
            found |= draw(trees(path, depth - 1))
        else:
            found[path] = draw(LEAVES)
    return found


def make(tree: Tree, top: Path) -> Path:
    top.mkdir(mode=0o755)
    for name, node in tree.items():
        node.make(Path(f"{top}{name}"))
    return top


def expected(a: Tree, b: Tree) -> dict[str, object]:
    """By name: added, removed, or the aspects that differ."""
    found: dict[str, object] = dict.fromkeys(b.keys() - a.keys(), Kind.ADDED)
    found |= dict.fromkeys(a.keys() - b.keys(), Kind.REMOVED)
    for name in a.keys() & b.keys():
        old, new = a[name].aspects(), b[name].aspects()
        # Contents are comparable only between two files, targets and modes wherever there is one.
        keys = (old.keys() | new.keys()) - ({"content"} if a[name].type != b[name].type else set())
        if differing := {key for key in keys if old.get(key) != new.get(key)}:
            found[name] = differing
    return found


def found_in(changes: tuple[Change, ...]) -> dict[str, object]:
    return {
        change.name: {aspect.what for aspect in change.aspects} if change.kind is Kind.CHANGED else change.kind
        for change in changes
    }


@settings(max_examples=150)
@given(trees(), trees())
def test_what_differs_between_two_trees_is_what_is_listed(a: Tree, b: Tree) -> None:
    with tempfile.TemporaryDirectory() as directory:
        changes = compare_trees(make(a, Path(directory, "a")), make(b, Path(directory, "b")))
        assert found_in(changes) == expected(a, b)
        assert [change.name for change in changes] == sorted(change.name for change in changes)


@settings(max_examples=50)
@given(trees())
def test_a_tree_equals_its_copy_whatever_the_time_stamps(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as directory:
        a, b = make(tree, Path(directory, "a")), make(tree, Path(directory, "b"))
        for name in tree:
            os.utime(f"{b}{name}", (1, 1), follow_symlinks=False)
        assert compare_trees(a, b) == ()


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return make({"/etc": Node("directory", 0o755), "/etc/x": Node("file", 0o644, b"one\ntwo\n")}, tmp_path / "a")


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return make({"/etc": Node("directory", 0o755), "/etc/x": Node("file", 0o755, b"one\n2\n")}, tmp_path / "b")


def test_aspects_tell_both_values(a: Path, b: Path) -> None:
    aspects = (Aspect("mode", "0644", "0755"), Aspect("content", "8 bytes", "6 bytes"))
    assert compare_trees(a, b) == (Change("/etc/x", Kind.CHANGED, aspects=aspects),)


def test_only_the_root_s_lost_and_found_is_left_out(a: Path, b: Path, tmp_path: Path) -> None:
    (a / "lost+found").mkdir()
    (a / "lost+found/#123").touch()
    (a / "etc/lost+found").mkdir()
    names = [change.name for change in compare_trees(a, b)]
    assert names == ["/etc/lost+found", "/etc/x"]


def test_the_roots_themselves_are_compared(a: Path, b: Path) -> None:
    b.chmod(0o700)
    assert compare_trees(a, b)[0] == Change("/", Kind.CHANGED, aspects=(Aspect("mode", "0755", "0700"),))


def test_a_link_out_of_the_tree_is_not_followed(a: Path, b: Path) -> None:
    (a / "out").symlink_to(b)
    (b / "out").symlink_to(b)
    assert [change.name for change in compare_trees(a, b)] == ["/etc/x"]


def test_extended_attributes(a: Path, b: Path) -> None:
    try:
        os.setxattr(a / "etc/x", "user.old", b"1")
        os.setxattr(b / "etc/x", "user.new", b"2")
    except OSError as error:
        pytest.skip(f"no extended attributes in the temporary directory: {error}")
    (change,) = compare_trees(a, b)
    assert change.aspects[1:3] == (Aspect("xattr user.old", "0x31", None), Aspect("xattr user.new", None, "0x32"))


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        (Pattern("", path="/etc/x"), ["mode"]),
        (Pattern("", path="/**"), ["mode"]),
        (Pattern("", path="/etc/*", text=r"two|2"), ["mode"]),
        (Pattern("", path="/etc/*", text=r"^two$"), ["content", "mode"]),
        (Pattern("", path="/*"), ["content", "mode"]),
        (Pattern("", path="/etc/?", everything=True), []),
        (Pattern("", disk="**"), ["content", "mode"]),
    ],
    ids=str,
)
def test_what_is_ignored_is_what_the_pattern_says(a: Path, b: Path, pattern: Pattern, left: list[str]) -> None:
    found = found_in(compare_trees(a, b, IgnoreList((pattern,))))
    assert found == ({"/etc/x": {*left}} if left else {})


def test_the_list_is_short_and_far_from_what_runs() -> None:
    patterns = ignore.load().patterns
    assert 0 < len(patterns) <= 15
    for pattern in patterns:
        assert pattern.reason
        assert (pattern.path is None) != (pattern.disk is None)
        assert pattern.path is None or pattern.path.startswith("/")
    # Not even by way of a wildcard.
    shipped = IgnoreList(patterns)
    for directory in ("/usr", "/opt", "/etc/octavia"):
        assert not any((pattern.path or "").startswith(directory) for pattern in patterns)
        for name in ("", "/x", "/log/x", "/a/b/c", "/lib/x.pyc", "/bin/x"):
            assert not shipped.everything(directory + name)
            assert not shipped.content(directory + name)
            assert shipped.texts(directory + name) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "same"),
    [
        ("/etc/shadow", "root:*:20000:0:99999:7:::\n", "root:*:20001:0:99999:7:::\n", True),
        ("/etc/shadow-", "x:!:20000::::::\n", "x:!:20001::::::\n", True),
        ("/etc/shadow", "root:*:20000:0:99999:7:::\n", "root::20000:0:99999:7:::\n", False),
        ("/etc/shadow", "root:*:20000:0:99999:7:::\n", "root:*:20000:0:9:7:::\n", False),
        ("/etc/iscsi/initiatorname.iscsi", "# a\nInitiatorName=iqn.1:a\n", "# a\nInitiatorName=iqn.1:bc\n", True),
        ("/etc/dib-manifests/dib_arguments", "-o a -t raw vm\n", "-o bb -t raw vm\n", True),
        ("/etc/dib-manifests/dib_arguments", "-o a -t raw vm\n", "-o a -t raw base\n", False),
        ("/boot/grub/grub.cfg", f"root={UUID}\n", f"root={UUID.replace('1', 'f')}\n", True),
        ("/boot/grub/grub.cfg", "linux /vmlinuz-1\n", "linux /vmlinuz-2\n", False),
    ],
)  # fmt: skip
def test_the_shipped_expressions_match_no_more_than_they_should(name: str, old: str, new: str, same: bool) -> None:
    shipped = ignore.load()
    assert (shipped.blank(name, old) == shipped.blank(name, new)) is same
