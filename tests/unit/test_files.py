"""Files are whole, or not there; links and devices stay what they are."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from diskimage_create import files
from diskimage_create.errors import InputError


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "real").write_text("old")
    (tmp_path / "link").symlink_to("d/real")
    files.write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "d" / "real").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["d", "link", "real"]


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    files.refuse_unwritable(pipe)
    files.write(pipe, "content")
    reader.join(10)
    assert got == ["content"]
    assert pipe.is_fifo()


def test_what_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "out").write_text("old")
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write(tmp_path / "out", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out": "old"}


@pytest.mark.parametrize("name", ["no/out", "file/out", "d"])
def test_what_cannot_be_written_is_told_before(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "d").mkdir()
    for attempt in (files.refuse_unwritable, lambda path: files.write(path, "text")):
        with pytest.raises(InputError, match="cannot be written"):
            attempt(tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["d", "file"]
