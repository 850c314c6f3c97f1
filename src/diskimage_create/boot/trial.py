"""One boot test while it runs: its deadline, what happened when, and what was found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from diskimage_create.boot.qemu import Machine
from diskimage_create.errors import DiskImageError, HostError
from diskimage_create.model import Finding, Status
from diskimage_create.validate.registry import Outcome, printable

T = TypeVar("T")
_EVERY_SECONDS = 0.1
#: Characters of a finding: it quotes what the guest says, which may be anything
_LONG = 2000


class Failed(Exception):
    """The image did not do what it should have."""


@dataclass
class Trial:
    """A machine on trial."""

    machine: Machine
    deadline: float
    """On the monotonic clock"""
    say: Callable[[str], None]
    """Tells the user something"""
    events: dict[str, float] = field(default_factory=dict)
    """What was seen from outside -> seconds since the start of the machine"""
    findings: list[Finding] = field(default_factory=list)
    broken: str | None = None
    """The check that failed, after which no further one makes sense"""
    _announced: set[str] = field(default_factory=set)

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def event(self, name: str) -> None:
        """Something happened for the first time."""
        if name not in self.events:
            self.events[name] = self.machine.age()
            self.say(f"[{self.events[name]:5.0f} s] {name}")

    def _announce(self) -> None:
        """Say what the console showed since the last time."""
        for name, seconds in list(self.machine.console.events.items()):
            if name not in self._announced:
                self._announced.add(name)
                self.say(f"[{seconds:5.0f} s] {name}")

    def wait(self, what: str, answer: Callable[[], T | None], limit: float | None = None) -> T:
        """Ask until there is an answer.

        :param what: is waited for, for the error
        :param limit: seconds; by default until the deadline of the trial
        :raises Failed: the machine cannot answer any more, or takes too long
        """
        end = self.deadline if limit is None else min(self.deadline, time.monotonic() + limit)
        started = time.monotonic()
        while True:
            self._announce()
            found = answer()
            if found is not None:
                return found
            late = time.monotonic() >= end
            over = self.machine.over()
            # Where it was stopped because of the deadline, what was waited for says more.
            if over is not None and not (late and self.machine.stopped):
                raise Failed(over)
            if late:
                passed = ", the deadline had passed" if started >= self.deadline else ""
                raise Failed(f"{what}: nothing within {time.monotonic() - started:.0f} s{passed}")
            time.sleep(_EVERY_SECONDS)

    def check(self, id: str, title: str, run: Callable[[], Outcome | str], *, vital: bool = False) -> None:
        """Run a check and note what it found; after a vital one that failed, all others are skipped.

        :param run: returns what it found (a text: passed), or raises :class:`Failed`
        """
        started = time.monotonic()
        if self.broken:
            outcome = Outcome(Status.SKIP, f"not tried: {self.broken} failed")
        else:
            try:
                found = run()
                outcome = found if isinstance(found, Outcome) else Outcome(Status.PASS, found)
            except Failed as failure:
                outcome = Outcome(Status.FAIL, str(failure))
            except HostError as error:
                outcome = Outcome(Status.SKIP, error.message)
            except DiskImageError:  # somebody wants it to end
                raise
            except Exception as error:  # whatever the image answers, it is a finding
                outcome = Outcome(Status.FAIL, f"cannot be examined: {type(error).__name__}: {error}")
        if outcome.status is Status.FAIL and vital:
            self.broken = id
        message = printable(outcome.message)
        if len(message) > _LONG:
            message = f"{message[:_LONG]} ..."
        self.findings.append(Finding(id, title, outcome.status, message, time.monotonic() - started))
