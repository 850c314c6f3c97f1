"""What a build is doing now: a bar on a terminal, a line a step otherwise. The same for work on several images.

The steps come from what diskimage-builder prints (``dib-run-parts Running .../PHASE.d/SCRIPT``)
and from our own steps around it. How long they took last time says how long they will take.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from diskimage_create.model import ImageSpec, PhaseTiming

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_RUNNING = re.compile(r"dib-run-parts Running (?:.*/)?(?P<phase>[a-z-]+)\.d/(?P<script>\S+)$")
_COMPLETED = re.compile(r"dib-run-parts (?P<script>\S+) completed$")
#: What says nothing about why a build failed: shell traces, diskimage-builder's own clean-up and logging
_NOISE = re.compile(
    r"^(\++ |Unmount |Sourcing |dib-run-parts Sourcing|(INFO|DEBUG) diskimage_builder|Mountpoint )|^\s*$"
)

#: Seconds of a first build, by phase, on a machine with two cores
_TYPICAL = {
    "root": 25.0,
    "extra-data": 2.0,
    "pre-install": 4.0,
    "install": 40.0,
    "post-install": 7.0,
    "block-device": 1.0,
    "finalise": 4.0,
    "cleanup": 1.0,
    "convert": 6.0,
    "validate": 4.0,
}


class Display(Protocol):
    """Shows a step; ``done`` and ``expected`` are seconds of the whole build."""

    def step(self, name: str, done: float, expected: float) -> None:
        """A step begins."""

    def tick(self, done: float, expected: float) -> None:
        """Time passes."""


class Transfers(Protocol):
    """Shows work on several images at once."""

    def begin(self, name: str, total: int) -> None:
        """Work on an image begins: ``total`` parts (layers, steps) of it."""

    def advance(self, name: str, done: int) -> None:
        """So many of its parts are done."""

    def end(self, name: str, outcome: str) -> None:
        """It is over: ``outcome`` in a word, or a sentence."""


class Lines:
    """A line a step, for logs and pipes."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def step(self, name: str, done: float, expected: float) -> None:
        """A step begins."""
        elapsed = time.monotonic() - self._start
        print(f"[{elapsed:5.0f} s of about {max(expected, elapsed):.0f} s] {name}", file=sys.stderr, flush=True)

    def tick(self, done: float, expected: float) -> None:
        """Time passes; a log needs no line for it."""


class Bar:
    """A progress bar with the step, elapsed and expected time."""

    def __init__(self, progress: RichProgress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def step(self, name: str, done: float, expected: float) -> None:
        """A step begins."""
        self._progress.update(self._task, description=name, completed=done, total=max(expected, done))

    def tick(self, done: float, expected: float) -> None:
        """Time passes."""
        self._progress.update(self._task, completed=done, total=max(expected, done))


class TransferLines:
    """A line for each image that is done."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._ended = 0
        self._lock = threading.Lock()

    def begin(self, name: str, total: int) -> None:
        """Work on an image begins; a log needs to know when it ends."""

    def advance(self, name: str, done: int) -> None:
        """So many of its parts are done."""

    def end(self, name: str, outcome: str) -> None:
        """It is over."""
        with self._lock:
            self._ended += 1
            print(
                f"[{self._ended:{len(str(self._total))}}/{self._total}] {name}: {outcome}", file=sys.stderr, flush=True
            )


class TransferBars:
    """A bar for each image that is worked on, and one for all."""

    def __init__(self, progress: RichProgress, total: int) -> None:
        self._progress = progress
        self._all = progress.add_task("all images", total=total)
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, total: int) -> None:
        """Work on an image begins, maybe once more."""
        with self._lock:
            if name in self._tasks:
                self._progress.reset(self._tasks[name], total=total)
            else:
                # The start of a full name is the same for all, and takes the room.
                self._tasks[name] = self._progress.add_task(name.rstrip("/").rpartition("/")[2], total=total)

    def advance(self, name: str, done: int) -> None:
        """So many of its parts are done."""
        with self._lock:
            if name in self._tasks:  # one image may go to two places, and be over in one of them
                self._progress.update(self._tasks[name], completed=done)

    def end(self, name: str, outcome: str) -> None:
        """It is over: its bar goes."""
        with self._lock:
            if name in self._tasks:
                self._progress.remove_task(self._tasks.pop(name))
            self._progress.advance(self._all)


@contextmanager
def transfers(total: int) -> Iterator[Transfers]:
    """Bars where standard error is a terminal, lines elsewhere.

    :param total: images that there are to work on
    """
    if not sys.stderr.isatty():
        yield TransferLines(total)
        return
    with _bars() as progress:
        yield TransferBars(progress, total)


@contextmanager
def display() -> Iterator[Display]:
    """A bar where standard error is a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    with _bars() as progress:
        yield Bar(progress, progress.add_task("starting", total=None))


def _bars() -> RichProgress:
    """On standard error, and gone when all is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<42.42}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


class Tracker:
    """Follows a build through its output; knows the step, the time it took, and the lines that matter."""

    def __init__(self, shown: Display, history: Mapping[str, float] | None = None, skipped: Sequence[str] = ()) -> None:
        """Follow a build.

        :param history: seconds by step of an earlier one
        :param skipped: directories of hooks that this one does not run
        """
        self.timings: list[PhaseTiming] = []
        self._display = shown
        self._skipped = frozenset(directory.removesuffix(".d") for directory in skipped)
        known = (history or {}).items()
        self._history = {name: seconds for name, seconds in known if name.partition(".d/")[0] not in self._skipped}
        self._current: tuple[str, str, float] | None = None
        self._relevant: deque[str] = deque(maxlen=400)

    @property
    def running(self) -> str | None:
        """``PHASE.d/SCRIPT`` of the element script that runs now; None between two."""
        return f"{self._current[0]}.d/{self._current[1]}" if self._current else None

    def line(self, text: str) -> None:
        """Take in one line of the build's output."""
        if match := _RUNNING.search(text):
            self.begin(match["phase"], match["script"])
        elif (match := _COMPLETED.search(text)) and self._current and match["script"] == self._current[1]:
            self.end()
        elif not _NOISE.search(text):
            self._relevant.append(text)
        if self._current:
            self._display.tick(self._done(), self._expected())

    def last_lines(self, count: int = 20) -> list[str]:
        """The last lines that say something about the step that runs, or ran last."""
        return list(self._relevant)[-count:]

    def begin(self, phase: str, script: str) -> None:
        """A step begins."""
        self._current = (phase, script, time.monotonic())
        self._relevant.clear()
        self._display.step(f"{phase} {script}".strip(), self._done(), self._expected())

    def end(self) -> None:
        """The step that runs is done."""
        assert self._current is not None
        phase, script, started = self._current
        self.timings.append(PhaseTiming(phase, script, time.monotonic() - started))
        self._current = None

    @contextmanager
    def step(self, phase: str, what: str = "") -> Iterator[None]:
        """A step of our own around a block."""
        self.begin(phase, what)
        yield
        self.end()

    def _done(self) -> float:
        done = sum(timing.seconds for timing in self.timings)
        if self._current:
            phase, script, started = self._current
            expected = self._history.get(f"{phase}.d/{script}", 0.0)
            elapsed = time.monotonic() - started
            done += min(elapsed, expected) if expected else elapsed
        return done

    def _expected(self) -> float:
        """Seconds of the whole build: what is done, and what the steps still to come took last time."""
        if self._history:
            finished = {f"{timing.phase}.d/{timing.script}" for timing in self.timings}
            return sum(t.seconds for t in self.timings) + sum(s for n, s in self._history.items() if n not in finished)
        begun = {timing.phase for timing in self.timings}
        spent = sum(timing.seconds for timing in self.timings)
        to_come = sum(seconds for phase, seconds in _TYPICAL.items() if phase not in begun | self._skipped)
        return spent + to_come


def history_of(spec: ImageSpec) -> Path:
    """Where the times of builds of this kind are kept."""
    return spec.cache_dir / "timings" / f"{spec.profile}-{spec.os}-{spec.release}-{spec.arch}.json"


def expected_seconds(spec: ImageSpec) -> float:
    """Of a build from the beginning."""
    return sum(load_history(history_of(spec)).values()) or sum(_TYPICAL.values())


def load_history(path: Path) -> dict[str, float]:
    """Seconds by step of the last build of this kind; empty when there was none."""
    try:
        data = json.loads(path.read_text())
        return {str(name): float(seconds) for name, seconds in data.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def save_history(path: Path, timings: list[PhaseTiming]) -> None:
    """Keep the times of a finished build for the next one's expectation, if there is room: the image is made."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(json.dumps({f"{t.phase}.d/{t.script}": round(t.seconds, 2) for t in timings}))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
