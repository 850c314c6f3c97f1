"""Builds of this machine that go on at the same time, each in a process of its own."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from diskimage_create import process
from diskimage_create.errors import DiskImageError, Interrupted
from diskimage_create.farm import order
from diskimage_create.farm.jobs import (
    Job,
    Outcome,
    Unbuilt,
    as_json,
    error_as_json,
    failure_of,
    not_begun,
    outcome_of,
    vanished,
)
from diskimage_create.pipeline import BuildOptions
from diskimage_create.workspace import workspace

#: How long a build may take to clean up; what it runs has process.GRACE_SECONDS of these
_GRACE_SECONDS = 3 * process.GRACE_SECONDS
#: Before the program of a job: it cleans up also when we are killed
_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")

#: Told of a job's events, from any thread
Listener = Callable[[Job, Mapping[str, Any]], None]


def build_all(
    jobs: Sequence[Job], options: BuildOptions, at_once: int, told: Listener, *, keep_going: bool
) -> Iterator[Outcome]:
    """Build images; what became of each, as soon as it is known.

    An image that is made of another one begins after it.

    :param at_once: builds that go on at the same time
    :param told: hears what they say (``farm/child.py``), from any thread
    :param keep_going: whether to begin others after one has failed
    """
    needs, ended = order.made_of(jobs), dict[str, bool]()
    waiting, running = order.in_order(jobs), dict[Future[Outcome], Job]()
    # The programs are stopped before their threads are waited for.
    with ThreadPoolExecutor(at_once) as pool, process.Children(_GRACE_SECONDS) as children:
        while waiting or running:
            for job in _ready(waiting, needs, ended)[: at_once - len(running)]:
                waiting.remove(job)
                running[pool.submit(_build, job, options, children, told)] = job
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                ended[running.pop(future).name] = future.result().error is None
                yield future.result()
            while hopeless := _hopeless(waiting, needs, ended, keep_going):
                for outcome in hopeless:
                    waiting.remove(outcome.job)
                    ended[outcome.job.name] = False
                    yield outcome


def _ready(waiting: Sequence[Job], needs: Mapping[str, frozenset[str]], ended: Mapping[str, bool]) -> list[Job]:
    return [job for job in waiting if all(ended.get(name) for name in needs[job.name])]


def _hopeless(
    waiting: Sequence[Job], needs: Mapping[str, frozenset[str]], ended: Mapping[str, bool], keep_going: bool
) -> list[Outcome]:
    """The jobs that are not begun any more."""
    if not keep_going and not all(ended.values()):
        return [not_begun(job) for job in waiting]
    failed = {name for name, good in ended.items() if not good}
    return [
        Outcome(job, error=Unbuilt(f"not begun: it is made of {', '.join(sorted(missing))}"))
        for job in waiting
        if (missing := needs[job.name] & failed)
    ]


def _build(job: Job, options: BuildOptions, children: process.Children, told: Listener) -> Outcome:
    started = time.monotonic()
    told(job, {"event": "begin"})
    try:
        outcome = run(job, options, children, lambda event: told(job, event))
    except Interrupted:
        raise
    except (DiskImageError, OSError) as error:  # of its workspace, and none of the others' business
        outcome = Outcome(job, error=failure_of(error))
    return replace(outcome, seconds=time.monotonic() - started)


def run(
    job: Job, options: BuildOptions, children: process.Children, told: Callable[[Mapping[str, Any]], None]
) -> Outcome:
    """Build one image in a process of its own; what became of it.

    :raises Interrupted: the children's block is being left
    """
    with workspace() as work:  # there may be secrets in it, which are swept should we be killed
        path = work.path / "message.json"
        path.write_text(json.dumps(as_json(job, options)), encoding="utf-8")
        return outcome_of(job, run_child(_WITH_US, path, children, told, os.environ))


def run_child(
    within: Sequence[str],
    message: Path,
    children: process.Children,
    told: Callable[[Mapping[str, Any]], None],
    environ: Mapping[str, str],
) -> dict[str, Any]:
    """Run the process of a job to its end; returns its last event, which says what became of it.

    :param within: a command that runs it
    :param message: file with the job
    :param told: hears its events
    :param environ: its whole environment
    :raises Interrupted: the children's block is being left
    """
    last: dict[str, Any] = {}
    stray = ""

    def heard(line: str) -> None:
        nonlocal last, stray
        try:
            last = json.loads(line)
            told(last)
        except (ValueError, TypeError):
            stray = line.strip() or stray  # of a traceback, the last line says most

    command = [*within, sys.executable, "-m", "diskimage_create.farm.child", str(message)]
    status = children.stream(command, heard, env=environ)
    return last if last.get("event") in ("done", "failed") else error_as_json(vanished(status, stray))
