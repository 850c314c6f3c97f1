"""Builds that begin alike: one makes the stages that they share."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from diskimage_create.inputs import identities, merged
from diskimage_create.model import STAGES, STEPS, Inputs
from diskimage_create.store import Store
from diskimage_create.store.turns import Turns


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.create()
    return made


def inputs(**more: str) -> Inputs:
    """Of a build; those that are given are inputs of steps by their names."""
    return {step: {"x": more.get(step.replace("-", "_"), "")} for step in STEPS}


def save(store: Store, stage: str, local: Inputs) -> None:
    store.add(stage, "x", local, {}, datetime.now(UTC), lambda directory: (directory / "a").touch())


class Build:
    """A build in a thread: takes its turns, makes the stages that are missing, and notes which these were."""

    def __init__(self, store: Store, local: Inputs, fails_in: str = "", makes: float = 0.05) -> None:
        self.made: list[str] = []
        self.said: list[str] = []
        self._store, self._local, self._fails_in, self._makes = store, local, fails_in, makes
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        known = identities(merged(self._local, {}))
        with ExitStack() as stack:
            turns = Turns(self._store, stack, self.said.append)
            turns.take(known, STEPS)
            for stage in STAGES:
                if self._store.find(stage, known[stage]) is None:
                    time.sleep(self._makes)
                    if stage == self._fails_in:
                        return
                    self.made.append(stage)
                    save(self._store, stage, self._local)
                    turns.over(stage)


def together(*builds: Build) -> list[list[str]]:
    for build in builds:
        build.thread.join(20)
        assert not build.thread.is_alive()
    return [build.made for build in builds]


def test_what_all_begin_with_is_made_once(store: Store) -> None:
    made = together(*(Build(store, inputs(install=str(number))) for number in range(4)))
    stages = [stage for each in made for stage in each]
    assert sorted(stages) == ["install"] * 4 + ["pre-install", "root"]


def test_builds_that_begin_otherwise_do_not_wait(store: Store) -> None:
    builds = [Build(store, inputs(root=str(number))) for number in range(3)]
    assert together(*builds) == [list(STAGES)] * 3
    assert [build.said for build in builds] == [[], [], []]


def test_who_waits_is_told(store: Store) -> None:
    first = Build(store, inputs(), makes=0.3)
    time.sleep(0.1)
    second = Build(store, inputs(image="other"))
    assert together(first, second) == [list(STAGES), []]
    assert second.said[0] == "another build makes the stage after root.d: waiting for it"


def test_what_fails_is_made_by_the_next_one(store: Store) -> None:
    first = Build(store, inputs(), fails_in="pre-install", makes=0.2)
    time.sleep(0.1)
    second = Build(store, inputs(image="other"))
    assert together(first, second) == [["root"], ["pre-install", "install"]]


def test_only_what_comes_after_the_furthest_stage_is_waited_for(store: Store) -> None:
    save(store, "install", inputs())
    known = identities(merged(inputs(), {}))
    with store.building(known["root"], lambda: None), ExitStack() as stack:
        Turns(store, stack, pytest.fail).take(known, STEPS)


def test_nothing_is_left_locked(store: Store) -> None:
    known = identities(merged(inputs(), {}))
    for _ in range(2):
        with ExitStack() as stack:
            Turns(store, stack, pytest.fail).take(known, STEPS)
    assert list((store.path / "locks").iterdir()) == []
