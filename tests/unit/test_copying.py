"""The order of copies, and what is said of them."""

from __future__ import annotations

import io
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create import progress
from diskimage_create.process import Children
from diskimage_create.references import Reference
from diskimage_create.registries import Access, Credentials
from diskimage_create.registries.copying import Copy, _Image, _startable, _Work
from diskimage_create.registries.skopeo import Failed, Skopeo, _said

DIGEST = f"sha256:{'b' * 64}"
BLOBS = st.sets(st.integers(0, 5), max_size=3)


def work(number: int, blobs: set[int], host: str = "b.test") -> _Work:
    copy = Copy(Reference("a.test", f"n{number}", "t"), Reference(host, f"n{number}", "t"))
    return _Work(copy, _Image(DIGEST, {str(blob): 1 for blob in blobs}, present=False))


@given(st.lists(BLOBS, min_size=1, max_size=12), st.integers(1, 4), st.randoms())
def test_all_are_copied_and_no_blob_is_on_its_way_twice(images, jobs, random):
    waiting = [work(number, blobs) for number, blobs in enumerate(images)]
    running: list[_Work] = []
    arrived: set[tuple[str | None, str]] = set()
    begun = 0
    while waiting or running:
        for item in _startable(waiting, running, arrived, jobs):
            waiting.remove(item)
            running.append(item)
            begun += 1
        assert 0 < len(running) <= jobs
        travelling = [blob for item in running for blob in item.blobs - arrived]
        assert len(travelling) == len(set(travelling))
        ended = running.pop(random.randrange(len(running)))
        if random.random() < 0.7:  # the others failed
            arrived |= ended.blobs
    assert begun == len(images)


def test_registries_do_not_wait_for_each_other():
    both = [work(1, {1}, "b.test"), work(2, {1}, "c.test"), work(3, {1}, "b.test")]
    assert _startable(both, [], set(), 3) == both[:2]


@pytest.mark.parametrize(
    ("says", "permanent"),
    [
        ("unauthorized: authentication required", True),
        ("received unexpected HTTP status: 500 Internal Server Error", False),
        ("unexpected EOF", False),
        ("manifest unknown: manifest unknown", True),
        ("too many requests to registry", False),
        ("x509: certificate signed by unknown authority", True),
    ],
)
def test_what_another_attempt_may_change(says, permanent):
    assert Failed(says).permanent is permanent


def test_the_last_words_of_skopeo():
    fatal = 'time="now" level=fatal msg="reading \\"x\\": unexpected EOF"'
    assert _said(deque(["Getting image source signatures", fatal])) == 'reading "x": unexpected EOF'
    assert _said(deque(["killed", "by someone"])) == "killed; by someone"


def test_secrets_are_not_repeated(tmp_path):
    access = Access({"a.test": Credentials("user", "hush"), "b.test": Credentials("none", "")})
    skopeo = Skopeo(access, Children(), tmp_path, {})
    said = f'Get "https://cdn.test/x?sig=1&key=2": {access.credentials["a.test"].basic} hush http://me:pw@proxy.test:1'
    assert skopeo._without_secrets(said) == 'Get "https://cdn.test/x?...": *** *** http://***@proxy.test:1'


def test_a_line_for_each_image_that_is_done(capsys):
    with progress.transfers(10) as shown:
        shown.begin("a", 3)
        shown.advance("a", 1)
        shown.end("a", "copied")
        shown.end("b", "failed: no room")
    assert capsys.readouterr().err == "[ 1/10] a: copied\n[ 2/10] b: failed: no room\n"


def test_a_bar_for_each_image_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress.transfers(2) as shown:
        shown.begin("an image", 3)
        shown.begin("an image", 3)  # once more
        shown.advance("an image", 1)
        shown.begin("another", 3)
        shown.begin("hidden.test/deep/below/a copy", 3)
        shown.end("hidden.test/deep/below/a copy", "copied")
        shown.advance("hidden.test/deep/below/a copy", 1)  # to another place, where it goes on
        shown.end("an image", "copied")
        shown.end("was there", "present")
    assert "all images" in terminal.getvalue()
    assert "an image" in terminal.getvalue()
    assert "hidden.test" not in terminal.getvalue()
