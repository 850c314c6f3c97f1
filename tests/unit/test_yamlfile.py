"""YAML files with the line of everything in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create import yamlfile
from diskimage_create.errors import InputError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(InputError) as raised:
        yamlfile.read(path)
    return [str(problem) for problem in raised.value.problems]


def test_everything_has_a_line(tmp_path: Path) -> None:
    document = yamlfile.read(written(tmp_path, "a:\n  - x: 1\n    y: [2,\n      3]\nb: {c: d}\n"))
    assert document.data == {"a": [{"x": 1, "y": [2, 3]}], "b": {"c": "d"}}
    lines = {(): 1, ("a",): 1, ("a", 0): 2, ("a", 0, "x"): 2, ("a", 0, "y"): 3, ("a", 0, "y", 1): 4, ("b", "c"): 5}
    for place, line in lines.items():
        assert document.where(*place) == f"{document.path}:{line}"
    assert document.where("a", 0, "z", 4) == f"{document.path}:2"


@pytest.mark.parametrize(
    "text", ["9", "9.0", "0644", "1e3", "true", "no", "2026-11-01", "0x10", "1_000", "~", "''", "x"]
)
def test_scalars_are_known_as_they_are_written(text: str, tmp_path: Path) -> None:
    document = yamlfile.read(written(tmp_path, f"a: {text}\n"))
    assert document.texts["a",] == text.strip("'")
    assert document.data == yaml.safe_load(f"a: {text}")


def test_an_equals_sign_is_text(tmp_path: Path) -> None:
    assert yamlfile.read(written(tmp_path, "a: =\nb: !!yaml '!'\n")).data == {"a": "=", "b": "!"}


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n"
    document = yamlfile.read(written(tmp_path, text))
    assert document.data == yaml.safe_load(text)
    assert document.where("b", "y") == f"{document.path}:4"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a:\n  - b: c: d\n", ["is no YAML: mapping values are not allowed in this context (FILE:2)"]),
        ("a: &a [*a]\n", ["is nested too deeply, or contains itself (FILE)"]),
        ("[" * 500_000, ["is no YAML: it is nested too deeply (FILE)"]),
        ("a: 2026-02-30\n", ["is no YAML: '2026-02-30' is not what its tag says (FILE:1)"]),
        ("a: 1\nb: !!bool foo\n", ["is no YAML: 'foo' is not what its tag says (FILE:2)"]),
        ("a: !!timestamp foo\n", ["is no YAML: 'foo' is not what its tag says (FILE:1)"]),
        ("a: !!int ''\n", ["is no YAML: '' is not what its tag says (FILE:1)"]),
        ("a: !!python/name:os.system\n", ["is no YAML: could not determine a constructor for the tag"]),
        (
            "a: 1\n---\nb: 1\n",
            ["is no YAML: expected a single document in the stream but found another document (FILE:2)"],
        ),
        ("a: \x07\n", ["is no YAML: unacceptable character"]),
    ],
    ids=["syntax", "recursive", "deep", "date", "bool", "timestamp", "int", "tag", "documents", "bell"],
)
def test_what_is_wrong_is_told_with_its_line(text: str, found: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, text)
    seen = [problem.replace(str(path), "FILE") for problem in problems(path)]
    assert len(seen) == len(found)
    assert all(problem.startswith(expected) for problem, expected in zip(seen, found, strict=True)), seen


def test_keys_that_yaml_would_silently_take_the_last_one_of(tmp_path: Path) -> None:
    document = yamlfile.read(written(tmp_path, "title: 1\nb: 2\ntitle: 3\nb: 4\n? [a]\n: b\n"))
    found = [str(problem).replace(str(document.path), "FILE") for problem in document.problems("profile")]
    assert "key 'title' is there twice (FILE:3)" in found
    assert "key 'b' is there twice (FILE:4)" in found
    assert "a key is no text (FILE:5)" in found
    assert "there is no elements (FILE:1)" in found


def test_aliases_that_mean_more_than_fits_into_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert problems(written(tmp_path, "\n".join(lines))) == [
        f"is no YAML: more than 1000000 values ({tmp_path}/x.yaml)"
    ]


def test_a_file_that_has_no_end() -> None:
    assert problems(Path("/dev/zero")) == ["is larger than 16 MiB (/dev/zero)"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert problems(tmp_path / "none") == [f"cannot be read: No such file or directory ({tmp_path}/none)"]
    assert problems(tmp_path) == [f"cannot be read: Is a directory ({tmp_path})"]
    (tmp_path / "latin1").write_bytes(b"a: \xe4\n")
    assert problems(tmp_path / "latin1") == [f"cannot be read: it is not UTF-8 text ({tmp_path}/latin1)"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet="ab:#-[]{}\"'\n é0", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc<", min_size=1, max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_the_content_is_what_pyyaml_reads(value: object) -> None:
    import tempfile

    text = yaml.safe_dump(value, allow_unicode=True)
    with tempfile.TemporaryDirectory() as directory:
        document = yamlfile.read(written(Path(directory), text))
    assert document.data == value
    assert all(1 <= line <= text.count("\n") + 1 for line in document.lines.values())


def test_merging_again_and_again_makes_nothing_larger(tmp_path: Path) -> None:
    levels = (f"a{level}: &a{level}\n  <<: [*a{level - 1}, *a{level - 1}]\n" for level in range(1, 60))
    path = tmp_path / "bomb.yaml"
    path.write_text("a0: &a0 {x: 1, y: 2}\n" + "".join(levels))
    assert yamlfile.read(path).data["a59"] == {"x": 1, "y": 2}


def test_a_key_that_overrides_a_merged_one_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "merged.yaml"
    path.write_text("base: &base {x: 1}\nown: &own\n  <<: *base\n  x: 2\nalias: *own\n")
    document = yamlfile.read(path)
    assert document.data["own"] == document.data["alias"] == {"x": 2}
    assert document.repeated == ()


def test_a_file_of_several_documents(tmp_path: Path) -> None:
    path = tmp_path / "several.yaml"
    documents = yamlfile.parse_all(path, "---\na: 1\n---\n---\nb: 2\n...\n")
    assert [each.data for each in documents] == [{"a": 1}, {"b": 2}]
    assert documents[1].where("b") == f"{path}:5"


def test_a_key_that_is_there_twice_in_what_is_merged(tmp_path: Path) -> None:
    path = tmp_path / "merged.yaml"
    path.write_text("base: &base\n  x: 1\n  x: 2\nown: {<<: *base}\nother: {<<: {y: 1, y: 2}}\n")
    found = yamlfile.read(path).repeated
    assert [(line, message) for line, message, _ in found] == [
        (3, "key 'x' is there twice"),
        (5, "key 'y' is there twice"),
    ]


def test_a_mark_at_the_beginning_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "mark.txt"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert yamlfile.text_of(path) == "a: 1\n"


def test_bytes_are_counted_and_nothing_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("# " + "\N{EURO SIGN}" * (6 * 2**20))
    with pytest.raises(InputError, match="16 MiB"):
        yamlfile.text_of(path)
