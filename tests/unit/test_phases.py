"""Phases and the order of hooks are those of diskimage-builder's own scripts."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskimage_create.catalogue import phases
from diskimage_create.elements import builtin

LIBRARY = builtin().parent / "lib"
RUN_PARTS = LIBRARY / "dib-run-parts"

names = st.one_of(
    st.from_regex(r"[0-9]{1,3}-[a-z]{0,3}", fullmatch=True),
    st.from_regex(r"-[0-9]{1,2}", fullmatch=True),
    st.text("0159aZ_-.", min_size=1, max_size=5),
    st.text("01aZ-~+,#:@%=", min_size=1, max_size=4),
).filter(lambda name: name not in (".", ".."))


def called(text: str) -> list[str]:
    return re.findall(r"^\s*(?:TARGET_ROOT=\S+ )?(?:eval_)?run_d(?:_in_target)? ([a-z-]+)", text, re.MULTILINE)


def test_the_phases_are_those_of_disk_image_create() -> None:
    functions = (LIBRARY / "common-functions").read_text() + (LIBRARY / "img-functions").read_text()
    assert called(functions) == ["root", "cleanup"]  # of create_base and of finalise_base
    main = (LIBRARY / "disk-image-create").read_text()
    main = re.sub(r"^create_base$", "run_d root", main, flags=re.MULTILINE)
    main = re.sub(r"^finalise_base$", "run_d cleanup", main, flags=re.MULTILINE)
    assert tuple(called(main)) == phases.PHASES
    in_target = set(re.findall(r"^\s*run_d_in_target ([a-z-]+)", main, re.MULTILINE))
    assert in_target == phases.IN_TARGET


@pytest.mark.subprocess("runs dib-run-parts")
@given(found=st.sets(names, min_size=1, max_size=9))
@settings(max_examples=60)
def test_hooks_run_in_the_order_of_dib_run_parts(found: set[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name in found:
            Path(directory, name).touch(mode=0o755)
        done = subprocess.run(
            [RUN_PARTS, "--list", directory],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.environ["PATH"]},
        )
    ours = phases.in_order("install", (name for name in found if phases.is_run("install", name)))
    assert ours == [line.removeprefix(f"{directory}/") for line in done.stdout.splitlines()]


@pytest.mark.subprocess("runs dib-run-parts")
@given(found=st.sets(names, min_size=1, max_size=9))
@settings(max_examples=25)
def test_environment_files_are_sourced_in_the_order_of_dib_run_parts(found: set[str]) -> None:
    found = found | {"50-x"}  # dib-run-parts fails where it takes none of the files
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        for name in ("environment.d", "install.d"):
            Path(directory, name).mkdir()
        for name in found:
            Path(directory, "environment.d", name).write_text(f"echo {name} >> {log}\n")
        environ = {"PATH": os.environ["PATH"], "TMPDIR": directory}
        subprocess.run([RUN_PARTS, Path(directory, "install.d")], capture_output=True, check=True, env=environ)
        sourced = log.read_text().splitlines() if log.exists() else []
    assert phases.in_order("environment", (n for n in found if phases.is_run("environment", n))) == sourced
