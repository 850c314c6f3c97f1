"""What a build does with what is stored, before and after diskimage-builder runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from samples import HOST, plan

from diskimage_create import elements, pipeline, requirements
from diskimage_create.errors import BuildError, DiskImageError, HostError, ImageRejected
from diskimage_create.model import IMAGE, STAGES, STEPS, BuildPlan, Finding, Report, Status
from diskimage_create.pipeline import BuildOptions
from diskimage_create.store import Entry, Store, reuse, stages

pytestmark = pytest.mark.subprocess("a workspace is removed with rm")

DAY_AGO = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
OFFLINE = BuildOptions(offline=True)


class NotBuiltError(DiskImageError):
    """What a build here ends with, in place of disk-image-create."""


class Builds:
    """Builds of one image, as far as to where diskimage-builder would begin."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = Store(directory / "cache")
        self.store.create()
        self.said: list[str] = []
        self.made: list[tuple[pipeline._Job, str | None]] = []
        self.failure: DiskImageError = NotBuiltError("not here")

    def plan(self, **more: object) -> BuildPlan:
        places = {"output": "amphora", "cache_dir": "cache", "work_dir": "work"}
        return plan({"os": "debian", **{name: str(self.directory / place) for name, place in places.items()}} | more)

    def add(self, step: str, made: BuildPlan) -> Entry:
        needs = reuse.needs(made, STEPS, (), max_age=timedelta(), offline=True)
        return self.store.add(step, needs.label, needs.local, {}, DAY_AGO, lambda path: (path / "x").touch())

    def run(self, made: BuildPlan, options: BuildOptions = OFFLINE) -> None:
        display: Any = None
        with suppress(NotBuiltError):
            pipeline.build(made, HOST, display, options, self.said.append)

    @contextmanager
    def saving(self, job: pipeline._Job, stage: Entry | None, _work: object) -> Iterator[tuple[None, dict[str, str]]]:
        self.made.append((job, stage.step if stage else None))
        yield None, {}

    def run_build(self, *_: object) -> Path:
        raise self.failure


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builds:
    made = Builds(tmp_path)
    monkeypatch.setattr(pipeline, "_saving", made.saving)
    monkeypatch.setattr(pipeline.builds, "run_build", made.run_build)
    monkeypatch.setattr(requirements, "require", lambda *_: None)
    monkeypatch.setattr(pipeline.remote, "resolve", lambda *_: [])
    return made


# --- a snapshot, offline


def test_nothing_is_built_of_a_snapshot_offline(builds: Builds) -> None:
    """The undated addresses, which the image is to have, are known by the mirror alone."""
    made = builds.plan(snapshot="2026-01-02")
    builds.add("pre-install", made)
    with pytest.raises(HostError, match="the mirror has to be asked") as caught:
        builds.run(made)
    assert caught.value.hint
    assert builds.made == []
    assert not list(builds.directory.glob("amphora*"))  # the log of an earlier build, for one


def test_a_finished_image_of_a_snapshot_is_taken_offline(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    made = builds.plan(snapshot="2026-01-02")
    builds.add(IMAGE, made)
    taken: list[str] = []

    def take(_job: object, stored: Entry) -> list[Any]:
        taken.append(stored.step)
        return []

    monkeypatch.setattr(pipeline, "_reuse", take)
    builds.run(made)
    assert (taken, builds.made) == ([IMAGE], [])


def test_without_a_snapshot_it_goes_on_from_a_stage_offline(builds: Builds) -> None:
    made = builds.plan()
    builds.add("pre-install", made)
    builds.run(made)
    ((job, stage),) = builds.made
    assert stage == "pre-install"
    assert job.needs.asked == DAY_AGO  # what it is made of is as old as the stage


# --- a failure


@pytest.mark.parametrize("kind", [BuildError, ImageRejected])
@pytest.mark.parametrize(("own", "before"), [(None, ""), ("see the log", "see the log; ")])
def test_a_failure_after_a_stage_says_how_to_do_without_it(
    kind: type[DiskImageError], own: str | None, before: str, builds: Builds
) -> None:
    made = builds.plan()
    builds.add("install", made)
    builds.failure = kind("it failed", own)
    with pytest.raises(kind) as caught:
        builds.run(made)
    assert caught.value.message == "it failed"
    assert caught.value.hint == f"{before}it was started after install.d: --refresh starts from the beginning"


@pytest.mark.parametrize("options", [BuildOptions(), BuildOptions(refresh=True)])
def test_a_failure_from_the_beginning_does_not(options: BuildOptions, builds: Builds) -> None:
    made = builds.plan()
    if options.refresh:
        builds.add("install", made)
    builds.failure = BuildError("it failed", "see the log")
    with pytest.raises(BuildError) as caught:
        builds.run(made, options)
    assert caught.value.hint == "see the log"
    assert [stage for _, stage in builds.made] == [None]


# --- elements with hooks that no image can stand in for


@pytest.fixture
def own(tmp_path: Path, builds: Builds) -> Callable[[], BuildPlan]:
    """Plans with an element of the user's, whose cleanup.d is to run in each build."""
    hook = tmp_path / "place/mine/cleanup.d/50-count"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\n")
    (tmp_path / "place/mine/.nostage").write_text("cleanup.d/50-count\n")
    options = {"os": "debian", "output": str(tmp_path / "amphora"), "cache_dir": str(tmp_path / "cache")}
    return lambda: plan(options | {"element": ("mine",)}, {"ELEMENTS_PATH": str(tmp_path / "place")})


def test_an_image_is_not_taken_when_a_hook_is_to_run_each_time(own: Callable[[], BuildPlan], builds: Builds) -> None:
    made = own()
    for step in STEPS:
        builds.add(step, made)
    builds.run(made)
    ((job, stage),) = builds.made
    assert stage == "install"
    assert job.needs.reusable == STAGES == stages.reusable(made.resolved)


def test_an_image_of_elements_that_have_changed_meanwhile_is_not_kept(
    own: Callable[[], BuildPlan], builds: Builds, tmp_path: Path
) -> None:
    made = own()
    builds.run(made, BuildOptions())
    ((job, _),) = builds.made
    log = tmp_path / "amphora.log"
    log.write_text("log")
    hook = tmp_path / "place/mine/cleanup.d/50-count"
    said = len(builds.said)
    for change in (lambda: hook.write_text("changed"), lambda: shutil.rmtree(hook.parents[1])):
        change()
        pipeline._store(job, [], [], log)
    assert [line.partition(":")[0] for line in builds.said[said:]] == ["warning", "warning"]
    assert "the image is not kept in the store: what it is made of has changed meanwhile" in builds.said[said]
    assert builds.store.entries() == []
    # Set right again, it is.
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\n")
    (tmp_path / "place/mine/.nostage").write_text("cleanup.d/50-count\n")
    assert elements.are_unchanged(made.resolved)
    pipeline._store(job, [], [], log)
    (entry,) = builds.store.entries()
    assert (entry.step, set(entry.files), entry.asked) == (IMAGE, {"log"}, job.needs.asked.replace(microsecond=0))


# --- the boot test


@pytest.fixture
def stored_image(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> BuildPlan:
    """An image that is stored, and was never booted."""
    made = builds.plan()
    artifact = {"type": "qcow2", "path": "old.qcow2", "sha256": "0" * 64, "bytes": 7}
    data = {"image": {}, "artifacts": [artifact], "fingerprint": "sha256:1", "validation": None, "boot": None}

    def fill(path: Path) -> None:
        (path / "qcow2").write_text("content")
        (path / "qcow2.json").write_text(json.dumps(data))
        (path / "log").write_text("log\n")

    needs = reuse.needs(made, STEPS, (), max_age=timedelta(), offline=True)
    builds.store.add(IMAGE, needs.label, needs.local, {}, DAY_AGO, fill)
    monkeypatch.setattr(pipeline.boot, "require", lambda _: None)
    return made


def booting(status: Status, booted: list[str]) -> Callable[..., Report]:
    def boot(image: Path, options: pipeline.boot.BootOptions, _say: object) -> Report:
        booted.append(image.read_text())
        assert (options.arch, options.amphora) == ("amd64", True)
        return Report(image, (Finding("units", "No unit failed", status, "a.service"),), 1.0)

    return boot


PROVING = replace(OFFLINE, prove=True)


def test_a_stored_image_that_fails_its_boot_test_gets_no_name(
    stored_image: BuildPlan, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    booted: list[str] = []
    monkeypatch.setattr(pipeline.boot, "boot", booting(Status.FAIL, booted))
    with pytest.raises(ImageRejected, match=r"failed 1 of 1 checks\n  units: a\.service"):
        builds.run(stored_image, PROVING)
    assert booted == ["content"]
    assert {path.name for path in builds.directory.glob("*amphora*")} <= {"amphora.log"}


def test_a_stored_image_that_passes_has_it_in_its_record(
    stored_image: BuildPlan, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    booted: list[str] = []
    monkeypatch.setattr(pipeline.boot, "boot", booting(Status.PASS, booted))
    builds.run(stored_image, PROVING)
    assert booted == ["content"]
    data = json.loads((builds.directory / "amphora.qcow2.json").read_text())
    assert (data["boot"]["ok"], data["boot"]["image"]) == (True, "amphora.qcow2")


def test_an_image_is_booted_only_when_that_was_asked_for(
    stored_image: BuildPlan, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    booted: list[str] = []
    monkeypatch.setattr(pipeline.boot, "boot", booting(Status.PASS, booted))
    builds.run(stored_image)
    assert booted == []
    assert json.loads((builds.directory / "amphora.qcow2.json").read_text())["boot"] is None


def test_a_host_that_cannot_boot_builds_nothing_to_be_booted(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.boot.process, "which", lambda _: None)
    with pytest.raises(HostError, match="this host cannot boot an image"):
        builds.run(builds.plan(), PROVING)
    assert builds.made == []
