"""Which stages may stand in for hooks, the elements that a build is resumed with, and what a build saves."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import plan, read

from diskimage_create import elements, process
from diskimage_create.errors import CommandFailed, InputError
from diskimage_create.model import IMAGE, STAGES, STEPS, ImageSpec, ResolvedElement
from diskimage_create.store import Store
from diskimage_create.store.reuse import Needs, timedelta
from diskimage_create.store.stages import (
    Saver,
    _again,
    finished_phases,
    names_in_hooks,
    resumed,
    resumed_elements,
    reusable,
    sums_in_hooks,
)

DEBIAN = {"os": "debian", "output": "/tmp/amphora"}
HOOKS = {
    "root": ("root.d/10-x",),
    "pre-install": ("extra-data.d/10-x", "pre-install.d/10-x"),
    "install": ("install.d/10-x",),
}
LATER = ("environment.d/10-x", "post-install.d/10-x", "finalise.d/10-x", "cleanup.d/10-x", "README.rst")


def element(directory: Path, nostage: str | None = None, *more: str) -> ResolvedElement:
    """An element with a hook in every phase."""
    for name in (*(hook for hooks in HOOKS.values() for hook in hooks), *LATER, *more):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(f"#!/bin/sh\n# {name}\n"))
        path.chmod(0o755)
    if nostage is not None:
        (directory / ".nostage").write_text(nostage)
    return resolved(directory)


def resolved(directory: Path) -> ResolvedElement:
    files = elements.files(directory)
    return ResolvedElement(directory.name, directory, elements.digest(files), files)


# --- .nostage


@pytest.mark.parametrize(
    ("nostage", "steps"),
    [
        (None, STEPS),
        ("", ()),
        ("# only a comment\n\n", ()),
        ("root.d/10-x", ()),
        ("extra-data.d/10-x", ("root",)),
        ("pre-install.d/10-x\n", ("root",)),
        ("  install.d/10-x  # why\r\n", ("root", "pre-install")),
        # It is run each time, which a finished image would not let happen.
        ("post-install.d/10-x", STAGES),
        ("finalise.d/10-x", STAGES),
        ("environment.d/10-x", STAGES),
        ("again root.d/10-x", STEPS),
        ("again\troot.d/10-x\nagain extra-data.d/10-x\n", STEPS),
        ("again root.d/10-x\ninstall.d/10-x\n", ("root", "pre-install")),
        ("again root.d/10-x\ncleanup.d/10-x\n", STAGES),
    ],
)
def test_the_steps_that_an_element_lets_be_reused(nostage: str | None, steps: tuple[str, ...], tmp_path: Path) -> None:
    assert reusable([element(tmp_path / "mine", nostage), element(tmp_path / "other")]) == steps


def test_an_empty_one_is_about_the_hooks_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "mine/install.d").mkdir(parents=True)
    (tmp_path / "mine/install.d/50-count").touch()
    (tmp_path / "mine/.nostage").touch()
    assert reusable([resolved(tmp_path / "mine")]) == ("root", "pre-install")


def test_a_step_is_reused_when_all_elements_allow_it(tmp_path: Path) -> None:
    one, two = element(tmp_path / "one", "install.d/10-x"), element(tmp_path / "two", "pre-install.d/10-x")
    assert reusable([one, two]) == reusable([two, one]) == ("root",)
    assert IMAGE in reusable([element(tmp_path / "three")])
    assert reusable([element(tmp_path / "three"), element(tmp_path / "four", "cleanup.d/10-x")]) == STAGES


def test_everything_that_is_wrong_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    one = element(tmp_path / "one", "# fine\nroot.d/10-x\nnonsense\ninstall.d/no-such\nagain install.d/10-x\n")
    two = element(tmp_path / "two", "again  \nroot.d/10-x too\n../root.d/10-x\n")
    with pytest.raises(InputError) as caught:
        reusable(iter([one, two]))
    problems = caught.value.problems
    assert [(problem.where, problem.message) for problem in problems] == [
        (f"{one.path}/.nostage:3", "'nonsense' names no hook"),
        (f"{one.path}/.nostage:4", "element one has no hook install.d/no-such"),
        (f"{one.path}/.nostage:5", "install.d/10-x cannot be run again"),
        (f"{two.path}/.nostage:1", "'again' names no hook"),
        (f"{two.path}/.nostage:2", "'root.d/10-x too' names no hook"),
        (f"{two.path}/.nostage:3", "'../root.d/10-x' names no hook"),
    ]
    assert all(problem.hint for problem in problems)


def test_rubbish_is_bad_input(tmp_path: Path) -> None:
    mine = element(tmp_path / "mine")
    (mine.path / ".nostage").write_bytes(b"\xff\xfe\0\n")
    with pytest.raises(InputError, match="names no hook"):
        reusable([mine])


def test_a_plan_refuses_it_before_anything_is_written(tmp_path: Path) -> None:
    element(tmp_path / "place/mine", "typo\n")
    said = DEBIAN | {"element": ("mine",), "cache_dir": str(tmp_path / "cache")}
    with pytest.raises(InputError, match=r"\.nostage:1"):
        plan(said, {"ELEMENTS_PATH": str(tmp_path / "place")})
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("os", ["debian", "ubuntu", "rocky", "centos", "fedora"])
def test_all_steps_of_what_comes_with_us_are_reusable(os: str) -> None:
    assert reusable(plan({"os": os}).resolved) == STEPS


def test_hooks_of_diskimage_builder_that_run_again_are_there() -> None:
    """Should one of them get another name, a resumed build would lack what it mounts."""
    from diskimage_create.store.stages import _AGAIN

    missing = [
        f"{name}/{hook}"
        for name, hooks in _AGAIN.items()
        for hook in hooks
        if not (elements.builtin() / name / hook).is_file()
    ]
    assert missing == []


# --- the elements that a build is resumed with


@pytest.fixture(scope="module")
def spec() -> ImageSpec:
    return read(DEBIAN)


def tree(directory: Path) -> dict[str, tuple[str, int, bytes | str]]:
    """Everything below a directory: kind, mode, content."""
    found: dict[str, tuple[str, int, bytes | str]] = {}
    for path in sorted(directory.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[str(path.relative_to(directory))] = ("link", mode, os.readlink(path))
        elif path.is_dir():
            found[str(path.relative_to(directory))] = ("directory", mode, b"")
        else:
            found[str(path.relative_to(directory))] = ("file", mode, path.read_bytes())
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_the_hooks_of_finished_phases_are_left_out_and_nothing_else(
    stage: str, spec: ImageSpec, tmp_path: Path
) -> None:
    places = [elements.OURS.resolve(), elements.builtin()]
    closure = elements.resolve(spec.elements, places, spec.arch)
    made = resumed_elements(closure, places, stage, tmp_path / "copy")
    assert [path.parent for path in made] == [tmp_path / "copy"] * len(places)
    finished = finished_phases(stage)
    for each in closure:
        (copy,) = (place / each.name for place in made if (place / each.name / "README.rst").exists())
        again = _again(each, stage)
        before = {name: what for name, what in tree(each.path).items() if "__pycache__" not in name}
        gone = {
            name
            for name, (kind, _, _) in before.items()
            if name.count("/") == 1 and name.partition("/")[0] in finished and kind != "directory" and name not in again
        }
        assert tree(copy) == {name: what for name, what in before.items() if name not in gone}, each.name
    assert {name for place in made for name in os.listdir(place)} == {each.name for each in closure}


def test_the_phases_of_a_stage() -> None:
    assert [finished_phases(stage) for stage in STAGES] == [
        ("root.d",),
        ("root.d", "extra-data.d", "pre-install.d"),
        ("root.d", "extra-data.d", "pre-install.d", "install.d"),
    ]


@given(nostage=st.sets(st.sampled_from(["root.d/10-x", "extra-data.d/10-x"])), stage=st.sampled_from(STAGES))
@settings(max_examples=20)
def test_what_is_to_run_again_stays(nostage: set[str], stage: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("place")
    mine = element(place / "mine", "".join(f"again {hook}\n" for hook in nostage) or None)
    (made,) = resumed_elements([mine], [place], stage, place / "copy")
    expected = {
        *(hook for name, hooks in HOOKS.items() for hook in hooks if STAGES.index(name) > STAGES.index(stage)),
        *nostage,
    }
    left = {name for name in tree(made / "mine") if name.endswith("10-x")}
    assert left - set(LATER) == expected
    assert set(LATER) <= set(tree(made / "mine"))


def test_data_beside_the_hooks_modes_and_links_stay(tmp_path: Path) -> None:
    mine = element(tmp_path / "mine", None, "install.d/data/10-x", "root.d/data/deep/x", "static/etc/x")
    (mine.path / "static/etc/x").chmod(0o640)
    (mine.path / "static/etc/link").symlink_to("/etc/x")
    (mine.path / "static/empty").mkdir(mode=0o700)
    (mine.path / "install.d/20-link").symlink_to("10-x")
    (mine.path / "__pycache__").mkdir()
    (made,) = resumed_elements([resolved(mine.path)], [tmp_path], "install", tmp_path / "copy")
    copy = tree(made / "mine")
    assert copy["static/etc/x"][:2] == ("file", 0o640)
    assert copy["static/etc/link"][::2] == ("link", "/etc/x")
    assert copy["static/empty"][:2] == ("directory", 0o700)
    assert copy["install.d/data/10-x"] == ("file", 0o755, b"#!/bin/sh\n# install.d/data/10-x\n")
    assert "root.d/data/deep/x" in copy
    assert not {"install.d/10-x", "install.d/20-link", "__pycache__"} & set(copy)


def test_lists_of_packages_of_shadowed_elements_are_merged_as_before(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("first", "second", "third")]
    mine = element(places[0] / "mine", None, "package-installs.yaml")
    element(places[1] / "mine", None, "package-installs.yaml", "package-installs.json", "pkg-map")
    places[2].mkdir()
    made = resumed_elements([mine], places, "root", tmp_path / "copy")
    assert len(made) == 3
    assert set(tree(made[1])) == {"mine", "mine/package-installs.yaml", "mine/package-installs.json"}
    assert (made[1] / "mine/package-installs.yaml").read_bytes() == (
        places[1] / "mine/package-installs.yaml"
    ).read_bytes()
    assert tree(made[2]) == {}


def test_an_element_behind_a_link_has_the_name_of_its_directory(tmp_path: Path) -> None:
    """As in diskimage-builder (its element_dependencies.py)."""
    element(tmp_path / "elsewhere/real", None, "operating-system")
    place = tmp_path / "place"
    place.mkdir()
    (place / "alias").symlink_to("../elsewhere/real")
    (found,) = elements.find_all([place]).values()
    assert found.name == "real"
    (made,) = resumed_elements([resolved(found.path)], [place], "root", tmp_path / "copy")
    assert "install.d/10-x" in tree(made / "real")


def test_what_links_directly_in_an_element_lead_to_comes_along(tmp_path: Path) -> None:
    mine = element(tmp_path / "place/mine")
    common = element(tmp_path / "common", None, "packages").path
    shutil.rmtree(mine.path / "install.d")
    (mine.path / "install.d").symlink_to("../../common/install.d")
    (mine.path / "package-installs.yaml").symlink_to("../../common/packages")
    for stage, left in (("root", True), ("install", False)):
        (made,) = resumed_elements([resolved(mine.path)], [tmp_path / "place"], stage, tmp_path / stage)
        copy = tree(made / "mine")
        assert copy["package-installs.yaml"] == ("file", 0o755, (common / "packages").read_bytes())
        assert copy["install.d"][0] == "directory"
        assert ("install.d/10-x" in copy) == left


def test_install_types_are_sorted_again_before_install_alone(tmp_path: Path) -> None:
    (types,) = (each for each in plan(DEBIAN).resolved if each.name == "install-types")
    hook = "extra-data.d/99-enable-install-types"
    for stage, stays in (("root", True), ("pre-install", True), ("install", False)):
        made = resumed_elements([types], [elements.builtin()], stage, tmp_path / stage)
        assert (made[0] / "install-types" / hook).exists() == stays


def test_the_variables_of_a_resumed_build(tmp_path: Path) -> None:
    made = plan(DEBIAN)
    variables = resumed(made, tmp_path / "stored", "pre-install", tmp_path / "copy")
    assert variables["DISKIMAGE_CREATE_RESUME"] == f"{tmp_path}/stored"
    assert variables["DISKIMAGE_CREATE_RESUME_STAGE"] == "pre-install"
    path = variables["ELEMENTS_PATH"].split(":")
    assert len(path) == len(made.environment["ELEMENTS_PATH"].value.split(":"))
    found = elements.resolve(made.elements, [Path(place) for place in path], made.spec.arch)
    assert [each.name for each in found] == [each.name for each in made.resolved]


def test_the_names_of_what_the_elements_bring(tmp_path: Path) -> None:
    mine = element(tmp_path / "mine", None, os.fsdecode(b"install.d/50-\xff"))
    (mine.path / "finalise.d/link").symlink_to("to-a-directory")
    (mine.path / "svc-map.d").symlink_to("finalise.d")
    names = names_in_hooks([resolved(mine.path)])
    assert {"./root.d/10-x", "./README.rst", "./finalise.d/link", os.fsdecode(b"./install.d/50-\xff")} <= set(names)
    # tar would leave out what hooks put into them.
    assert not {"./root.d", "./finalise.d", "./svc-map.d"} & set(names)


# --- what no hook may have changed

#: diskimage-builder copies the elements into the hooks directory; $@: NAME PATH ... of them
GENERATE = """
_LIB=$1
shift
source "$_LIB/common-functions"
pairs="$*"
get_image_element_array() { echo "$pairs"; }
generate_hooks > "$TMP_HOOKS_PATH.log"
"""


def generated(closure: Sequence[tuple[str, Path]], directory: Path) -> Path:
    """A hooks directory as diskimage-builder makes it."""
    library = elements.builtin().parent / "lib"
    subprocess.run(
        ["bash", "-ec", GENERATE, "generate", library, *(f"[{name}]={path}" for name, path in closure)],
        env={"PATH": os.environ["PATH"], "TMP_HOOKS_PATH": str(directory)},
        check=True,
    )
    return directory


def changed_files(hooks: Path, sums: Sequence[str]) -> list[str]:
    """What sha256sum finds to be changed or removed, as the hook asks it."""
    sums_file = hooks.with_suffix(".sha256")
    sums_file.write_bytes(b"".join(os.fsencode(f"{line}\n") for line in sums))
    argv = ["sha256sum", "--check", "--quiet", sums_file]
    done = subprocess.run(argv, cwd=hooks, capture_output=True, check=False)
    assert done.returncode in (0, 1)
    assert done.returncode == bool(done.stdout)
    return [os.fsdecode(line).rpartition(": ")[0] for line in done.stdout.splitlines()]


@pytest.mark.subprocess("runs diskimage-builder's own copying of elements")
@pytest.mark.parametrize("os", ["debian", "rocky"])
@pytest.mark.parametrize("after", [None, *STAGES])
def test_what_the_elements_bring_is_unchanged_before_any_hook_runs(os: str, after: str | None, tmp_path: Path) -> None:
    closure = plan({"os": os, "fips": True, "element": ("devuser", "local-config")}).resolved
    places = [elements.OURS.resolve(), elements.builtin()]
    if after:
        places = resumed_elements(closure, places, after, tmp_path / "copy")
    where = {name: found.path for name, found in elements.find_all(places).items()}
    hooks = generated([(each.name, where[each.name]) for each in closure], tmp_path / "hooks")
    sums = sums_in_hooks(closure, after)
    assert changed_files(hooks, sums) == []
    # Nearly all that lies in the directories is looked at.
    there = {str(path.relative_to(hooks)) for path in hooks.glob("*/**/*") if path.is_file() and not path.is_symlink()}
    there -= {name for name in there if name.startswith(f"{elements.CHECKS_DIRECTORY}/")}
    assert there == {line.partition("  ")[2] for line in sums}


@pytest.mark.subprocess("runs sha256sum, and diskimage-builder's own copying of elements")
def test_a_file_that_a_hook_changed_or_removed_is_told(tmp_path: Path) -> None:
    odd = os.fsdecode(b"static/etc/50-\xff *? x")
    mine = element(
        tmp_path / "mine", None, odd, "static/etc/x", "static/.left", "tests/x", "bin/x", "source-repository-x"
    )
    other = element(tmp_path / "other")
    shutil.rmtree(other.path)
    for name in ("static/etc/x", "static/etc/y"):
        (other.path / name).parent.mkdir(parents=True, exist_ok=True)
        (other.path / name).write_text("of the other one")
    other = resolved(other.path)
    hooks = generated([(each.name, each.path) for each in (mine, other)], tmp_path / "hooks")
    sums = sums_in_hooks([mine, other])
    assert changed_files(hooks, sums) == []
    (hooks / "tests").mkdir()
    (hooks / "static/etc/x").write_text("of both: nobody knows which one it is")
    (hooks / "source-repository-x").write_text("directly in an element: others may bring one too")
    (hooks / "install.d/20-gained").touch()
    assert changed_files(hooks, sums) == []
    (hooks / odd).write_text("changed")
    (hooks / "bin/x").unlink()
    (hooks / "finalise.d/10-x").write_text("changed")
    assert changed_files(hooks, sums) == ["bin/x", "finalise.d/10-x", odd]


def test_hooks_that_run_again_are_looked_at_in_a_resumed_build(tmp_path: Path) -> None:
    mine = element(tmp_path / "mine", "again root.d/10-x\n", "root.d/data/x")
    names = {line.partition("  ")[2] for line in sums_in_hooks([mine], "pre-install")}
    assert {"root.d/10-x", "root.d/data/x", "install.d/10-x", "cleanup.d/10-x"} <= names
    assert not {"extra-data.d/10-x", "pre-install.d/10-x"} & names


# --- what a build saves

NOW = datetime.now(UTC).replace(microsecond=0)
NEEDS = Needs("amphora", {step: {"option:x": step} for step in STEPS}, {}, STEPS, NOW, timedelta(days=1))


def unchanged() -> bool:
    return True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.create()
    return made


@pytest.fixture
def packing(monkeypatch: pytest.MonkeyPatch) -> None:
    """zstd that only copies."""

    def run(argv: Any, *, stdin: IO[bytes]) -> None:
        with Path(argv[-1]).open("wb") as target:
            shutil.copyfileobj(stdin, target)

    monkeypatch.setattr(process, "run", run)


def pack(directory: Path, stage: str) -> None:
    """What the hook writes."""
    for part in ("root", "hooks"):
        (directory / f"{stage}.{part}.tar").write_text(f"{stage} {part}")


def saved(directory: Path, stage: str) -> str:
    """What the hook does, and prints."""
    pack(directory, stage)
    return f"2026-11-21 01:40:00.123 | diskimage-create: stage {stage} is saved"


@pytest.mark.usefixtures("packing")
@pytest.mark.parametrize(
    ("after", "steps", "wanted"),
    [
        (None, STEPS, STAGES),
        (None, STAGES, STAGES),
        ("root", STEPS, ("pre-install", "install")),
        ("install", STEPS, ()),
        (None, ("root",), ("root",)),
        (None, (), ()),
    ],
)
def test_what_is_wanted(
    after: str | None, steps: tuple[str, ...], wanted: tuple[str, ...], store: Store, tmp_path: Path
) -> None:
    saver = Saver(store, replace(NEEDS, reusable=steps), tmp_path / "stages", unchanged)
    mine = element(tmp_path / "mine", None, os.fsdecode(b"install.d/50-\xff"))
    assert saver.want(after, [mine]) == {"DISKIMAGE_CREATE_STAGES": f"{tmp_path}/stages"}
    assert {path.name for path in (tmp_path / "stages").iterdir()} == {
        f"{stage}.{kind}" for stage in wanted for kind in ("elements", "sha256", "root.tar", "hooks.tar")
    }
    for path in (tmp_path / "stages").glob("*.elements"):
        assert b"./install.d/50-\xff\n" in path.read_bytes()
    for path in (tmp_path / "stages").glob("*.sha256"):
        expected = b"".join(os.fsencode(f"{line}\n") for line in sums_in_hooks([mine], after))
        assert path.read_bytes() == expected
        assert b"  install.d/50-\xff\n" in expected
        assert (b"  root.d/10-x\n" in expected) == (after is None)
    saver.finish()
    assert saver.problems == []
    assert list(store.path.glob("tmp-*")) == []


@pytest.mark.usefixtures("packing")
def test_stages_are_stored_as_they_are_saved(store: Store, tmp_path: Path) -> None:
    directory = tmp_path / "stages"
    saver = Saver(store, NEEDS, directory, unchanged)
    saver.want(None, [])
    for line in ("diskimage-create: stage root", saved(directory, "root"), "else", saved(directory, "install")):
        saver.line(line)
    saver.finish()
    assert saver.problems == []
    assert {entry.step for entry in store.entries()} == {"root", "install"}
    for entry in store.entries():
        assert set(entry.files) == {"root.tar.zst", "hooks.tar.zst"}
        assert (entry.path / "hooks.tar.zst").read_text() == f"{entry.step} hooks"
        assert entry.asked == NOW
        assert entry.local == {step: NEEDS.local[step] for step in STEPS[: STEPS.index(entry.step) + 1]}
    # Nothing but pipes: the workspace may be in memory.
    assert all(path.is_fifo() for path in directory.iterdir() if path.suffix == ".tar")


@pytest.mark.usefixtures("packing")
@pytest.mark.parametrize("written", [(), ("root",), ("root", "hooks")], ids=len)
def test_what_the_build_does_not_call_saved_is_not_stored(
    written: tuple[str, ...], store: Store, tmp_path: Path
) -> None:
    """It failed, or tar did: what came through the pipes may be cut off anywhere."""
    saver = Saver(store, NEEDS, tmp_path / "stages", unchanged)
    saver.want(None, [])
    for part in written:
        (tmp_path / f"stages/root.{part}.tar").write_text("half of")
    saver.line("stage root is not kept: tar failed")
    saver.finish()
    assert saver.problems == []
    assert store.entries() == []
    assert list(store.path.glob("tmp-*")) == []


@pytest.mark.usefixtures("packing")
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), CommandFailed(["zstd"], 1, "x")], ids=repr)
@pytest.mark.parametrize("late", [False, True])
def test_a_stage_that_cannot_be_kept_is_no_failure_of_the_build(
    late: bool, error: Exception, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = store.add

    def add_or_fail(step: str, *arguments: Any) -> Any:
        *others, fill = arguments

        def fill_or_fail(directory: Path) -> None:
            if late:
                fill(directory)
            if step == "pre-install":
                raise error
            if not late:
                fill(directory)

        return add(step, *others, fill_or_fail)

    monkeypatch.setattr(store, "add", add_or_fail)
    saver = Saver(store, NEEDS, tmp_path / "stages", unchanged)
    saver.want(None, [])
    for stage in STAGES:
        saver.line(saved(tmp_path / "stages", stage))
    saver.finish()
    assert saver.problems == [f"the stage after pre-install.d is not kept: {error}"]
    assert {entry.step for entry in store.entries()} == {"root", "install"}


@pytest.mark.usefixtures("packing")
def test_no_stage_is_stored_of_elements_that_have_changed_meanwhile(store: Store, tmp_path: Path) -> None:
    mine = element(tmp_path / "mine")
    saver = Saver(store, NEEDS, tmp_path / "stages", lambda: elements.are_unchanged([mine]))
    saver.want(None, [mine])
    saver.line(saved(tmp_path / "stages", "root"))
    saver._running[0].result()
    (mine.path / "install.d/10-x").write_text("changed while root.d ran")
    saver.line(saved(tmp_path / "stages", "pre-install"))
    saver._running[1].result()
    shutil.rmtree(mine.path)
    saver.line(saved(tmp_path / "stages", "install"))
    saver.finish()
    assert [entry.step for entry in store.entries()] == ["root"]
    assert [problem.partition(":")[0] for problem in saver.problems] == [
        f"the stage after {stage}.d is not kept" for stage in ("pre-install", "install")
    ]
    assert saver.problems[0].endswith("what it is made of has changed meanwhile")
