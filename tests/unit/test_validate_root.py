"""Names in an image are resolved as the image would resolve them, and never leave it."""

from __future__ import annotations

import ctypes
import os
import struct
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskimage_create.validate.root import Entry, ImageRoot, Tree, walk

OPENAT2 = 437
RESOLVE_IN_ROOT = 0x10

PARTS = st.sampled_from(["a", "b", "c", "..", "."])
PATHS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)
TARGETS = st.tuples(st.sampled_from(["", "/"]), PATHS).map("".join)
ENTRIES = st.lists(
    st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), st.one_of(st.none(), st.just(""), TARGETS)),
    max_size=8,
)


def kernel_resolves(root: Path, name: str) -> str | None:
    """What the kernel itself makes of a name, with ``root`` as ``/`` (openat2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    directory = os.open(root, os.O_PATH)
    try:
        how = ctypes.create_string_buffer(struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT))
        found = libc.syscall(OPENAT2, directory, name.encode(), how, 24)
        if found < 0:
            return None
        try:
            return os.readlink(f"/proc/self/fd/{found}")
        finally:
            os.close(found)
    finally:
        os.close(directory)


def build(root: Path, entries: list[tuple[list[str], str | None]]) -> None:
    """Make directories (None), files ("") and links (their target), where the place is free."""
    for parts, what in entries:
        path = root.joinpath(*parts)
        with suppress(OSError):
            if what is None:
                path.mkdir(parents=True)
            elif what == "":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.open("x").close()
            elif Path(os.path.realpath(path.parent)).is_relative_to(root):  # not through another link, on the host
                path.symlink_to(what)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    tree = tmp_path / "image"
    tree.mkdir()
    (tmp_path / "outside").write_text("the host's")
    return tree


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=ENTRIES, name=TARGETS)
def test_resolves_like_the_kernel(entries: list[tuple[list[str], str | None]], name: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        if kernel_resolves(root, "/") is None:
            pytest.skip("this kernel has no openat2")
        # Links first: a directory made through a link would be made on the host.
        build(root, [entry for entry in entries if not entry[1]])
        build(root, [entry for entry in entries if entry[1]])
        found = ImageRoot(root).find(name)
        # The kernel wants a directory then, of a link too; nobody here asks for that.
        if any(text.endswith("/.") for text in (name, *(target or "" for _, target in entries))):
            return
        assert found == kernel_resolves(root, name)


@pytest.mark.parametrize("target", ["/../outside", "../outside", "../../../../../../../../etc/hostname", "/etc/passwd"])
def test_links_stay_inside(image: Path, target: str) -> None:
    (image / "link").symlink_to(target)
    root = ImageRoot(image)
    assert root.find("/link") is None
    assert root.read_text("/link") is None
    assert not root.exists("/../outside")


def test_absolute_links_start_at_the_image(image: Path) -> None:
    (image / "usr/lib").mkdir(parents=True)
    (image / "usr/lib/os-release").write_text("ID=debian")
    (image / "lib").symlink_to("/usr/lib")
    (image / "os-release").symlink_to("/lib/os-release")
    root = ImageRoot(image)
    assert root.read_text("/os-release") == "ID=debian"
    assert root.glob("/lib/*") == ["/lib/os-release"]
    assert root.lstat("lib/os-release") is not None


def test_a_loop_of_links_is_nothing(image: Path) -> None:
    (image / "a").symlink_to("b")
    (image / "b").symlink_to("a")
    root = ImageRoot(image)
    assert root.find("/a") is None
    assert root.stat("/a") is None
    assert root.lstat("/a") is not None
    assert root.lstat("/a/x") is None
    assert root.glob("/a/*") == []


def test_names_are_not_trusted(image: Path) -> None:
    root = ImageRoot(image)
    assert root.find("/a\0b") is None
    assert root.lstat("/a\0b") is None
    assert root.lstat("/a\0b/c") is None


def test_only_regular_files_are_opened(image: Path) -> None:
    os.mkfifo(image / "pipe")
    (image / "directory").mkdir()
    root = ImageRoot(image)
    assert root.read_text("/pipe") is None
    assert root.read_text("/directory") is None


def test_glob_with_wildcards_in_the_middle(image: Path) -> None:
    for name in ("x.wants/u.service", "y.wants/u.service", "z.other/u.service"):
        (image / name).parent.mkdir()
        (image / name).symlink_to("/nowhere")
    assert ImageRoot(image).glob("/*.wants/u.service") == ["/x.wants/u.service", "/y.wants/u.service"]


def test_files_below_does_not_follow_links(image: Path) -> None:
    (image / "cache/deep").mkdir(parents=True)
    (image / "cache/deep/file").touch()
    (image / "cache/up").symlink_to("..")
    assert sorted(ImageRoot(image).files_below("/cache")) == ["/cache/deep/file"]


def test_a_tree_is_listed_once_for_all_who_ask_at_the_same_time(image: Path) -> None:
    (image / "file").touch()
    listings = []

    def listing() -> list[Entry]:
        listings.append(1)
        time.sleep(0.05)  # the others come meanwhile
        return walk(image)

    root = ImageRoot(Tree(image, listing))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: [entry.name for entry in root.entries], range(4)))
    assert found == [["/file"]] * 4
    assert listings == [1]


def test_an_entry_is_found_by_each_of_its_names(image: Path) -> None:
    (image / "usr/lib").mkdir(parents=True)
    (image / "usr/lib/file").write_text("four")
    (image / "lib").symlink_to("usr/lib")
    (image / "usr/lib/link").symlink_to("file")
    root = ImageRoot(image)
    for name in ("/usr/lib/file", "/lib/file", "/lib/../lib/file"):
        found = root.entry(name)
        assert found is not None
        assert (found.name, found.size) == ("/usr/lib/file", 4)
    link = root.entry("/lib/link")
    assert link is not None
    assert link.name == "/usr/lib/link"
    assert [root.entry(name) for name in ("/lib/none", "/none/file", "/usr/lib/file/x", "/a\0b")] == [None] * 4
