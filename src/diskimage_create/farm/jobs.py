"""One of many images: what is to be built, and what became of it; both can be written as JSON for another process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from diskimage_create import host, reports
from diskimage_create.errors import DiskImageError, Problem, Problems, of_system, problems_of
from diskimage_create.inputs import summary
from diskimage_create.model import Artifact, BuildPlan, Source
from diskimage_create.pipeline import BuildOptions
from diskimage_create.profiles import Profile
from diskimage_create.request import Request

#: How inputs begin that every machine has to agree on: elements, files that variables name, the versions of the tools
_ALIKE = ("element:", "file:", "tool:diskimage-")
#: What of a request JSON has words for
_PLAIN = tuple(
    each.name for each in dataclasses.fields(Request) if each.name not in ("sources", "environ", "host", "kind")
)


@dataclass(frozen=True)
class Job:
    """An image to build. It is planned anew when its turn comes: others before it take their time."""

    request: Request
    plan: BuildPlan = field(repr=False)
    """As it is known now"""

    @cached_property
    def name(self) -> str:
        """Of the image, for people."""
        return self.plan.spec.output.name


class Failed(Problems):
    """A job failed in another process, with an error of some kind."""

    def __init__(self, exit_code: int, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.exit_code = exit_code


class Unbuilt(DiskImageError):
    """An image was not begun, because of what became of others. They say why."""

    exit_code = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    artifacts: tuple[Artifact, ...] = ()
    error: DiskImageError | None = None
    at: str = ""
    """URL of the directory that has the images; empty where they are files of this machine"""
    seconds: float = 0.0
    seen: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What checks saw of an image that was rejected (``reports.seen_of``)"""


def not_begun(job: Job) -> Outcome:
    """Another one has failed, and the user wants no more then."""
    return Outcome(job, error=Unbuilt("not begun, as another one failed", "--keep-going"))


def outcome_of(job: Job, result: Mapping[str, Any], at: str = "") -> Outcome:
    """What became of a job, by the last event of its process (``farm/child.py``).

    :param at: URL of the directory that has the images; empty where they are files of this machine
    """
    if result["event"] == "failed":
        return Outcome(job, error=error_from_json(result), seen=result["seen"])
    return Outcome(job, made_from_json(result["artifacts"]), at=at)


def as_json(job: Job, options: BuildOptions) -> dict[str, Any]:
    """A job for another process; what it says of the host is found out there."""
    request = job.request
    how = replace(options, validate=options.validate and request.validate)
    return {
        "request": {
            **{name: _plain(getattr(request, name)) for name in _PLAIN},
            "sources": {name: source.value for name, source in request.sources.items()},
            "environ": dict(request.environ),
            "kind": dataclasses.asdict(request.kind) if request.kind else None,
        },
        "options": {**dataclasses.asdict(how), "max_age": how.max_age.total_seconds()},
    }


def from_json(data: Mapping[str, Any]) -> tuple[Request, BuildOptions]:
    """What :func:`as_json` wrote."""
    request, how = data["request"], data["options"]
    return (
        Request(
            **{name: request[name] for name in _PLAIN} | {"cwd": Path(request["cwd"])},
            sources={name: Source(value) for name, value in request["sources"].items()},
            environ=request["environ"],
            host=host.detect(request["environ"]),
            kind=Profile(**request["kind"]) if request["kind"] else None,
        ),
        BuildOptions(**{**how, "max_age": timedelta(seconds=how["max_age"])}),
    )


def made_as_json(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Finished images, for another process."""
    return [{**dataclasses.asdict(artifact), "path": str(artifact.path)} for artifact in artifacts]


def made_from_json(data: Sequence[Mapping[str, Any]]) -> tuple[Artifact, ...]:
    """What :func:`made_as_json` wrote."""
    return tuple(Artifact(**{**each, "path": Path(each["path"])}) for each in data)


def same_everywhere(plan: BuildPlan) -> dict[str, str]:
    """Inputs that every machine has to agree on.

    Of a file that a secret names only a digest is known, which each machine keys in its own way: it has to be there.
    """
    known = summary(plan.inputs, plan.resolved)
    alike = {name: value for name, value in known.items() if name.startswith(_ALIKE)}
    return {name: "secret" if value.startswith("hmac-") else value for name, value in alike.items()}


def vanished(status: int, said: str = "") -> Failed:
    """A build that ended without a word about it."""
    ended = f"signal {-status}" if status < 0 else f"exit status {status}"
    return Failed(4, [Problem(f"the build's process ended with {ended}{f': {said}' if said else ''}")])


def failure_of(error: DiskImageError | OSError) -> DiskImageError:
    """Why a job failed, as an error of ours."""
    return Failed(4, [of_system(error)]) if isinstance(error, OSError) else error


def error_as_json(error: DiskImageError) -> dict[str, Any]:
    """Why a job failed, for another process."""
    return {
        "event": "failed",
        "exit_code": error.exit_code,
        "problems": [dataclasses.asdict(problem) for problem in problems_of(error)],
        "seen": reports.seen_of(error),
    }


def error_from_json(data: Mapping[str, Any]) -> Failed:
    """The error of what :func:`error_as_json` wrote."""
    return Failed(data["exit_code"], [Problem(**problem) for problem in data["problems"]])


def _plain(value: Any) -> Any:
    """Paths as texts, tuples as lists."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
