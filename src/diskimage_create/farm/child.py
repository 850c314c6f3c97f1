"""The process that builds one of many images: ``python -m diskimage_create.farm.child JOB.json``.

Each line that it prints is an event, as JSON. The last one says what became of the job.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diskimage_create.errors import DiskImageError, InputError, Problem
from diskimage_create.farm import jobs
from diskimage_create.signals import stop_on_signals

#: Seconds between two events that say no more than that time passes
_TICK_SECONDS = 1.0


def main() -> int:
    """Build the image of the job in a file."""
    from diskimage_create import pipeline
    from diskimage_create.prepare import prepare

    stop_on_signals()
    try:
        message = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        request, options = jobs.from_json(message)
        plan = prepare(request, to_build=True)
        _refuse_others(message.get("same"), jobs.same_everywhere(plan))
        artifacts = pipeline.build(plan, request.host, _Told(), options, _say)
    except (DiskImageError, OSError) as error:
        failure = jobs.failure_of(error)
        _tell(jobs.error_as_json(failure))
        return failure.exit_code
    _tell({"event": "done", "artifacts": jobs.made_as_json(artifacts)})
    return 0


def _refuse_others(asked: Mapping[str, str] | None, here: Mapping[str, str]) -> None:
    """Refuse to make another image than the one that was asked for on another machine.

    :raises InputError: names what differs
    """
    if asked is None:
        return
    hint = "install the same versions, and have files that variables name under the same paths, on all workers"
    problems = [
        Problem(f"{name.replace(':', ' ', 1)} is another one on this worker", socket.gethostname(), hint)
        for name in sorted(asked.keys() | here.keys())
        if asked.get(name) != here.get(name)
    ]
    if problems:
        raise InputError(problems)


class _Told:
    """A display that tells what it is shown."""

    def __init__(self) -> None:
        self._told = 0.0

    def step(self, name: str, done: float, expected: float) -> None:
        """A step begins."""
        self._told = time.monotonic()
        _tell({"event": "step", "name": name, "done": done, "expected": expected})

    def tick(self, done: float, expected: float) -> None:
        """Time passes."""
        if time.monotonic() - self._told > _TICK_SECONDS:
            self._told = time.monotonic()
            _tell({"event": "tick", "done": done, "expected": expected})


def _say(text: str) -> None:
    _tell({"event": "say", "text": text})


def _tell(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    sys.exit(main())
