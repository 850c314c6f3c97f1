"""What many builds are doing now: a live table on a terminal, lines otherwise; and a summary of what became of them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from diskimage_create.farm.jobs import Job, Outcome, Unbuilt
from diskimage_create.progress import expected_seconds

if TYPE_CHECKING:
    from rich.progress import Progress


class Display(Protocol):
    """Shows what jobs say; each method may be called by any thread."""

    def told(self, job: Job, event: Mapping[str, Any]) -> None:
        """A job says something (``farm/child.py``)."""

    def ended(self, outcome: Outcome) -> None:
        """A job is over."""


class Lines:
    """A line for each phase of each job, for logs and pipes."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._phases: dict[str, str] = {}
        self._lock = threading.Lock()

    def told(self, job: Job, event: Mapping[str, Any]) -> None:
        """A job says something."""
        match event:
            case {"event": "say", "text": text}:
                self._print(job, text)
            case {"event": "step", "name": name}:
                phase = name.partition(" ")[0]
                if self._phases.get(job.name) != phase:
                    self._phases[job.name] = phase
                    self._print(job, phase)
            case {"event": "begin", **more}:
                self._print(job, " on ".join(["begins", *more.values()]))

    def ended(self, outcome: Outcome) -> None:
        """A job is over."""
        self._print(outcome.job, said_of(outcome))

    def _print(self, job: Job, text: str) -> None:
        elapsed = time.monotonic() - self._start
        with self._lock:
            print(f"[{elapsed:5.0f} s] {job.name}: {text}", file=sys.stderr, flush=True)


class Table:
    """A row a job: its step, a bar, the time it took and the time it will take."""

    def __init__(self, progress: Progress, jobs: Sequence[Job]) -> None:
        self._progress = progress
        self._rows = {
            job.name: progress.add_task(job.name, start=False, total=expected_seconds(job.plan.spec), step="waiting")
            for job in jobs
        }

    def told(self, job: Job, event: Mapping[str, Any]) -> None:
        """A job says something."""
        row = self._rows[job.name]
        match event:
            case {"event": "begin", **more}:
                self._progress.start_task(row)
                self._progress.update(row, step=more.get("on", "begins"))
            case {"event": "say", "text": text}:
                self._progress.console.print(f"{job.name}: {text}", markup=False, highlight=False)
            case {"event": "step" | "tick", "done": done, "expected": expected, **more}:
                self._progress.update(row, completed=done, total=max(done, expected))
                if "name" in more:
                    self._progress.update(row, step=more["name"])

    def ended(self, outcome: Outcome) -> None:
        """A job is over: its row stays until all are."""
        row = self._rows[outcome.job.name]
        self._progress.update(row, step=said_of(outcome).splitlines()[0])
        if outcome.error is None:
            self._progress.update(row, completed=self._progress.tasks[row].total)
        self._progress.stop_task(row)


@contextmanager
def display(jobs: Sequence[Job]) -> Iterator[Display]:
    """A table where standard error is a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<32.32}", markup=False),
        TextColumn("{task.fields[step]:<32.32}", markup=False),
        BarColumn(bar_width=16),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Table(progress, jobs)


def said_of(outcome: Outcome) -> str:
    """What became of a job, in a line or so."""
    if isinstance(outcome.error, Unbuilt):
        return outcome.error.message
    if outcome.error:
        return f"failed after {outcome.seconds:.0f} s"
    size = sum(artifact.bytes for artifact in outcome.artifacts) / 1e6
    return f"{size:.0f} MB in {outcome.seconds:.0f} s"


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """How many images there are, and what became of each."""
    good = sum(outcome.error is None for outcome in outcomes)
    width = max(len(outcome.job.name) for outcome in outcomes)
    rows = [f"  {outcome.job.name:<{width}}  {said_of(outcome)}" for outcome in outcomes]
    return "\n".join([f"{good} of {len(outcomes)} images in {seconds:.0f} s", *rows])
