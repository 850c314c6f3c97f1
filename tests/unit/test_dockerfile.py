"""A Dockerfile is made to build upon another image, and says otherwise what it said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create.containers.modify.dockerfile import NoFrom, rebased

SOURCE = "192.168.24.1:8787/tripleo/nova:1"
LABEL = 'LABEL modified_append_tag="-x"'


def changed(text: str) -> list[str]:
    return rebased(text, SOURCE, "-x").splitlines()


def test_the_image_is_replaced_and_labelled() -> None:
    text = 'FROM docker.io/tripleomaster/nova-compute:latest\n\nUSER root\n\nCOPY a /tmp/\nUSER "nova"\n'
    assert changed(text) == [f"FROM {SOURCE}", LABEL, "", "USER root", "", "COPY a /tmp/", 'USER "nova"']


@pytest.mark.parametrize(
    "line",
    [
        "FROM x",
        "from x:1",
        "  FROM\tx  ",
        "FROM --platform=linux/amd64 x@sha256:abc",
        "FROM ${BASE}",
        "FROM \\\n  x",
        "FROM \\\n# why\n\n  x",
    ],
)
def test_every_way_to_write_it(line: str) -> None:
    assert changed(f"# top\nARG BASE=y\n{line}\nRUN true") == [
        "# top",
        "ARG BASE=y",
        f"FROM {SOURCE}",
        LABEL,
        "RUN true",
    ]


def test_the_last_stage_is_the_image() -> None:
    text = "FROM golang AS builder\nRUN make\nFROM base AS final\nCOPY --from=builder /a /a\n"
    assert changed(text) == [
        "FROM golang AS builder",
        "RUN make",
        f"FROM {SOURCE} AS final",
        LABEL,
        "COPY --from=builder /a /a",
    ]


def test_what_only_looks_like_it_stays() -> None:
    text = 'FROM x\nRUN mysql -e "SELECT a \\\nFROM b"\n# FROM c\nRUN select \\\n# FROM d\n  FROM e\n'
    assert changed(text) == [f"FROM {SOURCE}", LABEL, *text.splitlines()[1:]]


def test_another_character_may_continue_lines() -> None:
    text = "# escape=`\nFROM `\n  x\nRUN dir C:\\\nRUN two\n"
    assert changed(text) == ["# escape=`", f"FROM {SOURCE}", LABEL, "RUN dir C:\\", "RUN two"]


@pytest.mark.parametrize("text", ["", "# FROM x\n", "RUN true\n", "FROM\n", "FROMAGE x\n"])
def test_without_one_there_is_nothing_to_replace(text: str) -> None:
    with pytest.raises(NoFrom):
        rebased(text, SOURCE, "-x")


def test_the_label_is_quoted() -> None:
    assert rebased("FROM x", SOURCE, 'a"$b\\').splitlines()[1] == 'LABEL modified_append_tag="a\\"\\$b\\\\"'


@given(st.lists(st.sampled_from(["RUN a", "RUN b \\", "# c", "", "USER d", "  FROM_ e", "COPY f \\"]), max_size=12))
def test_all_other_lines_are_kept(lines: list[str]) -> None:
    assert changed("\n".join(["FROM x", *lines, ""])) == [f"FROM {SOURCE}", LABEL, *lines]
