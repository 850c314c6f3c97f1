"""Many images: what comes first, what waits for what, and what another process is told of it."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import HOST

from diskimage_create import process
from diskimage_create.errors import BuildError, CommandFailed, InputError, Interrupted, Problem
from diskimage_create.farm import Failed, Job, Outcome, Unbuilt, jobs, order, pool
from diskimage_create.farm.display import Lines, summary
from diskimage_create.model import Artifact, Source
from diskimage_create.pipeline import BuildOptions
from diskimage_create.plan import MIN_TMPFS_BYTES
from diskimage_create.prepare import prepare
from diskimage_create.progress import history_of
from diskimage_create.request import Request

OPTIONS = BuildOptions(max_age=timedelta(hours=3), why=True)


def job(directory: Path, name: str, **options: Any) -> Job:
    """An image that could be built."""
    given = {"os": "debian-minimal", "output": str(directory / name), "cache_dir": str(directory / "cache"), **options}
    request = Request(given, dict.fromkeys(given, Source.FLAG), {"HOME": str(directory)}, HOST, directory)
    return Job(request, prepare(request))


def test_a_job_survives_its_way_to_another_process(tmp_path: Path) -> None:
    made = job(tmp_path, "a", element=("vm",), env=("SITE=1",), release="bookworm", trace=1)
    request, options = jobs.from_json(json.loads(json.dumps(jobs.as_json(made, OPTIONS))))
    there = prepare(replace(request, host=HOST))
    assert there.fingerprint == made.plan.fingerprint
    assert there.spec == made.plan.spec
    assert options == OPTIONS


def test_an_image_that_is_not_to_be_checked_is_not(tmp_path: Path) -> None:
    made = job(tmp_path, "a")
    unchecked = replace(made, request=replace(made.request, validate=False))
    assert [jobs.from_json(jobs.as_json(each, OPTIONS))[1].validate for each in (made, unchecked)] == [True, False]


@pytest.mark.parametrize(
    "error",
    [
        BuildError("it failed\n  | why", "look there"),
        InputError([Problem("one", "--a", "do it"), Problem("two")]),
        Interrupted("by SIGTERM"),
    ],
)
def test_an_error_survives_its_way_to_another_process(error: Any) -> None:
    there = jobs.error_from_json(json.loads(json.dumps(jobs.error_as_json(error))))
    assert there.exit_code == error.exit_code
    assert there.message == error.message
    assert there.problems[0].hint == (error.problems[0].hint if isinstance(error, InputError) else error.hint)


def known(made: Job, seconds: float) -> Job:
    """Let a build of its kind have taken so long the last time."""
    history = history_of(made.plan.spec)
    history.parent.mkdir(parents=True, exist_ok=True)
    history.write_text(json.dumps({"root.d/x": seconds}))
    return made


def test_what_takes_longest_comes_first_and_what_waits_for_others_last(tmp_path: Path) -> None:
    bookworm = known(job(tmp_path, "bookworm", release="bookworm"), 50)
    trixie = known(job(tmp_path, "trixie", release="trixie"), 70)
    like_trixie = job(tmp_path, "like-trixie", release="trixie", package=("vim",))
    ordered = order.in_order([bookworm, trixie, like_trixie])
    assert [each.name for each in ordered] == ["trixie", "bookworm", "like-trixie"]


def test_an_image_that_is_made_of_another_one(tmp_path: Path) -> None:
    first, other = job(tmp_path, "first"), job(tmp_path, "other")
    second = job(tmp_path, "second", env=(f"DIB_LOCAL_IMAGE={tmp_path}/first.qcow2",))
    assert order.made_of([first, other, second]) == {"first": set(), "other": set(), "second": {"first"}}


@given(wanted=st.none() | st.integers(1, 64), images=st.integers(1, 8), gib=st.integers(0, 64), free=st.integers(0, 64))
def test_no_more_at_once_than_there_is_room_for(
    wanted: int | None, images: int, gib: int, free: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    many = [MANY[0] for _ in range(images)] if MANY else []
    if not many:
        MANY.append(job(tmp_path_factory.mktemp("many"), "a"))
        many = MANY * images
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "available_bytes", lambda: gib * 2**30)
        patch.setattr(order, "_free", lambda _: free * 2**30)
        patch.setattr(os, "cpu_count", lambda: 4)
        at_once, why = order.most_at_once(many, wanted)
    assert 1 <= at_once <= min(wanted or 4, images)
    assert at_once == 1 or at_once * (2 * MIN_TMPFS_BYTES + 2**30) <= gib * 2**30
    assert (why is None) == (at_once == min(wanted or 4, images))


MANY: list[Job] = []


class Builds:
    """Stands in for the processes of jobs: notes what runs beside what."""

    def __init__(self, fail: Sequence[str] = ()) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.most = 0
        self._fail, self._running, self._lock = fail, 0, threading.Lock()

    def run(self, made: Job, options: BuildOptions, children: Any, told: Any) -> Outcome:
        with self._lock:
            self.begun.append(made.name)
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(0.02)
        with self._lock:
            self._running -= 1
            self.ended.append(made.name)
        if made.name in self._fail:
            return Outcome(made, error=Failed(4, [Problem("no")]))
        return Outcome(made, (Artifact("qcow2", Path("x"), "", 1),))


def all_of(made: list[Job], builds: Builds, monkeypatch: pytest.MonkeyPatch, at_once: int = 2, **more: Any) -> Any:
    monkeypatch.setattr(pool, "run", builds.run)
    found = pool.build_all(made, OPTIONS, at_once, lambda *_: None, **{"keep_going": True, **more})
    return {outcome.job.name: outcome for outcome in found}


def test_as_many_at_once_as_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = Builds()
    outcomes = all_of([job(tmp_path, str(number)) for number in range(5)], builds, monkeypatch, at_once=3)
    assert sorted(outcomes) == sorted(builds.begun) == ["0", "1", "2", "3", "4"]
    assert builds.most == 3
    assert all(outcome.error is None for outcome in outcomes.values())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device", "/x"), CommandFailed(["umount"], 32, "")])
def test_what_goes_wrong_before_one_begins_ends_no_other(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(Builds):
        def run(self, made: Job, *more: Any) -> Outcome:
            if made.name == "1":
                raise error
            return super().run(made, *more)

    outcomes = all_of([job(tmp_path, str(number)) for number in range(3)], Full(), monkeypatch)
    assert [name for name in "012" if outcomes[name].error] == ["1"]


def test_what_is_made_of_a_failed_image_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = job(tmp_path, "first"), job(tmp_path, "other")
    second = job(tmp_path, "second", env=(f"DIB_LOCAL_IMAGE={tmp_path}/first.qcow2",))
    third = job(tmp_path, "third", env=(f"DIB_LOCAL_IMAGE={tmp_path}/second.qcow2",))
    builds = Builds()
    assert set(all_of([first, other, second, third], builds, monkeypatch)) == {"first", "other", "second", "third"}
    assert builds.begun.index("second") > builds.begun.index("first")
    builds = Builds(fail=["first"])
    outcomes = all_of([first, other, second, third], builds, monkeypatch)
    assert set(builds.begun) == {"first", "other"}
    assert "made of first" in str(outcomes["second"].error)
    assert "made of second" in str(outcomes["third"].error)
    assert outcomes["other"].error is None


def test_without_keep_going_nothing_begins_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = Builds(fail=["0"])
    made = [job(tmp_path, str(number)) for number in range(4)]
    outcomes = all_of(made, builds, monkeypatch, at_once=1, keep_going=False)
    assert builds.begun == ["0"]
    assert [type(outcomes[name].error) for name in "0123"] == [Failed, Unbuilt, Unbuilt, Unbuilt]


CHILD = 'import sys; print(\'{"event": "say", "text": "x"}\', flush=True); '


@pytest.mark.subprocess("in place of a build's process, and what removes its directory")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("raise RuntimeError('oh')", "exit status 1: RuntimeError: oh"),
    ],
)
def test_a_process_that_ends_without_a_word(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_WITH_US", (sys.executable, "-c", CHILD + code))
    heard: list[Mapping[str, Any]] = []
    with process.Children() as children:
        outcome = pool.run(job(tmp_path, "a"), OPTIONS, children, heard.append)
    assert message in str(outcome.error)
    assert outcome.error is not None
    assert outcome.error.exit_code == 4
    assert heard == [{"event": "say", "text": "x"}]


@pytest.mark.subprocess("in place of a build's process, and what removes its directory")
def test_a_signal_ends_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = tmp_path / "ended"
    ended.mkdir()
    code = f"""
import pathlib, signal, sys, os, time
def end(*_):
    pathlib.Path({str(ended)!r}, str(os.getpid())).touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
print('{{"event": "step", "name": "root x"}}', flush=True)
while True:
    time.sleep(0.1)
"""
    monkeypatch.setattr(pool, "_WITH_US", (sys.executable, "-c", code))
    begun: list[str] = []

    def told(made: Job, event: Mapping[str, Any]) -> None:
        if event["event"] == "step":
            begun.append(made.name)
            if len(begun) == 2:
                os.kill(os.getpid(), signal.SIGALRM)  # raise_signal would not wake the main thread

    def interrupt(*_: object) -> None:
        raise Interrupted("enough")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(Interrupted):
            list(pool.build_all([job(tmp_path, n) for n in "abc"], OPTIONS, 2, told, keep_going=True))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(list(ended.iterdir())) == len(begun) == 2


def test_what_a_log_gets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, shown = job(tmp_path, "amphora"), Lines()
    for event in (
        {"event": "begin"},
        {"event": "step", "name": "root 10-a", "done": 0, "expected": 9},
        {"event": "tick", "done": 1, "expected": 9},
        {"event": "step", "name": "root 20-b", "done": 1, "expected": 9},
        {"event": "say", "text": "nothing changed"},
        {"event": "step", "name": "install 10-a", "done": 1, "expected": 9},
    ):
        shown.told(made, event)
    shown.ended(Outcome(made, (Artifact("qcow2", Path("x"), "", 300_000_000),), seconds=61))
    lines = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "amphora: begins",
        "amphora: root",
        "amphora: nothing changed",
        "amphora: install",
        "amphora: 300 MB in 61 s",
    ]


def test_the_summary_tells_what_became_of_each(tmp_path: Path) -> None:
    good = Outcome(job(tmp_path, "good"), (Artifact("qcow2", Path("x"), "", 300_000_000),), seconds=61)
    bad = Outcome(job(tmp_path, "really-bad"), error=Failed(4, [Problem("no")]), seconds=3)
    assert summary([good, bad], 65).splitlines() == [
        "1 of 2 images in 65 s",
        "  good        300 MB in 61 s",
        "  really-bad  failed after 3 s",
    ]
