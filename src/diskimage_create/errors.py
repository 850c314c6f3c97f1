"""Errors that the command line turns into a message, a hint and an exit code.

Every error says what happened and where; the hint says what to do about it. The exit
codes are the contract of ``docs/cli.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diskimage_create.model import Report


class DiskImageError(Exception):
    """Something went wrong that the user can understand and act on."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the input.

    ``where`` names the option, variable or ``file:line`` that holds it.
    """

    message: str
    where: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.message} ({self.where})" if self.where else self.message


def of_system(error: OSError) -> Problem:
    """What the system refused, and where."""
    return Problem(error.strerror or str(error), str(error.filename) if error.filename else None)


def problems_of(error: DiskImageError) -> Sequence[Problem]:
    """All that an error tells of."""
    return error.problems if isinstance(error, Problems) else (Problem(error.message, None, error.hint),)


class Problems(DiskImageError):
    """Several things at once. Carries every one that was found, not the first only."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class InputError(Problems):
    """Bad usage or bad input."""

    exit_code = 2


class Findings(Problems):
    """The input can be read, but is not as it should be."""

    exit_code = 1


class RemoteProblems(Problems):
    """Registries, or other remotes, refused several things or failed."""

    exit_code = 6


class HostError(DiskImageError):
    """This host lacks something that the job needs."""

    exit_code = 3


class BuildError(DiskImageError):
    """The image could not be built."""

    exit_code = 4


class ImageRejected(DiskImageError):
    """The image was built, but failed validation, or its boot test."""

    exit_code = 5

    def __init__(self, message: str, hint: str | None = None, reports: Sequence[Report] = ()) -> None:
        super().__init__(message, hint)
        self.reports = tuple(reports)
        """What was found, the failure last"""


class RemoteError(DiskImageError):
    """A registry, Glance or another remote refused or failed."""

    exit_code = 6


class Interrupted(DiskImageError):
    """The user, or the system, asked us to stop (SIGINT, SIGTERM)."""

    exit_code = 130


class CommandFailed(DiskImageError):
    """A program that we ran exited with a status that was not expected."""

    exit_code = BuildError.exit_code

    def __init__(self, argv: Sequence[str], returncode: int, output: str) -> None:
        ended = f"exit status {returncode}" if returncode >= 0 else f"signal {-returncode}"
        tail = output.strip().splitlines()[-5:]
        super().__init__("\n".join([f"{argv[0]} failed with {ended}", *(f"  {line}" for line in tail)]))
        self.argv = tuple(argv)
        self.returncode = returncode
        self.output = output
