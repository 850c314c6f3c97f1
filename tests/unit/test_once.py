"""Reading the disk once for all images of a call."""

from __future__ import annotations

from pathlib import Path

import pytest

from diskimage_create.once import once, same_answers


@once
def content(path: Path) -> str:
    return path.read_text()


def test_answers_are_the_same_within_a_call_and_new_outside_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("one")
    with same_answers():
        assert content(path) == "one"
        path.write_text("two")
        assert content(path) == "one"
    assert content(path) == "two"
    with same_answers():
        assert content(path) == "two"
    path.write_text("three")
    assert content(path) == "three"


def test_another_question_has_another_answer(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    with same_answers():
        assert [content(tmp_path / name) for name in "abab"] == ["a", "b", "a", "b"]


def test_an_error_is_no_answer_and_ends_the_call(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(FileNotFoundError), same_answers():
        content(path)
    with same_answers():
        with pytest.raises(FileNotFoundError):
            content(path)
        path.write_text("there now")
        assert content(path) == "there now"
