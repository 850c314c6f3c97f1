"""What the user said, and the collecting of everything that is wrong with it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diskimage_create.errors import InputError, Problem
from diskimage_create.host import HostFacts
from diskimage_create.model import Source
from diskimage_create.profiles import Profile


@dataclass(frozen=True)
class Request:
    """What the user said, unchecked. None: nothing was said."""

    options: Mapping[str, Any] = field(repr=False)
    """Long name of the option (with underscores) -> its value"""
    sources: Mapping[str, Source]
    environ: Mapping[str, str] = field(repr=False)
    host: HostFacts
    cwd: Path = field(default_factory=lambda: _current_directory())
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that a configuration file sets; they are in ``environ`` too"""
    places: Mapping[str, str] = field(default_factory=dict)
    """Option -> ``FILE:LINE`` of a configuration file that says it; that of the image under the empty name"""
    kind: Profile | None = None
    """What kind of image it is, where it has no profile of a name"""
    asked: tuple[str, ...] = ()
    """The call of disk-image-create that a configuration file asks for; its image is made by another one"""
    validate: bool = True
    """Whether the finished image is to be checked"""
    combination: Mapping[str, str] = field(default_factory=dict)
    """Of an image of a matrix: option -> its value, which ``options`` hold too"""
    suffix: str = ""
    """What tells the names of such images apart: behind the output's name"""


def _current_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        hint = "change to one that exists"
        raise InputError([Problem("the current directory does not exist any more", "command line", hint)]) from None


class Reader:
    """Checks a request; collects the problems instead of stopping at the first."""

    def __init__(self, request: Request) -> None:
        self.options = request.options
        self.environ = request.environ
        self.variables = request.variables
        self.host = request.host
        self.cwd = request.cwd
        self.places = request.places
        self.sources = dict(request.sources)
        self.problems: list[Problem] = []
        self._variables: dict[str, str] = {}

    def problem(self, message: str, where: str, hint: str | None = None) -> None:
        """Keep a problem, to be told with all others."""
        self.problems.append(Problem(message, where, hint))

    def where(self, option: str) -> str:
        """How the user spelled the option."""
        if self.sources.get(option) is Source.CONFIG:
            return self.places.get(option, self.places[""])
        if self.sources.get(option) is Source.ENVIRONMENT:
            return self._variables.get(option, f"DISKIMAGE_CREATE_{option.upper()}")
        return f"--{option.replace('_', '-')}"

    def value(self, option: str, variable: str | None = None, default: Any = None) -> Any:
        """An option's value, or the variable's, or the default; notes where it came from."""
        if self.options.get(option) is not None:
            self.sources.setdefault(option, Source.FLAG)
            return self.options[option]
        if variable and self.environ.get(variable):
            self.sources[option] = Source.ENVIRONMENT
            self._variables[option] = variable
            return self.environ[variable]
        self.sources[option] = Source.PROFILE
        return default

    def path(self, text: str) -> Path:
        """The absolute path that a user's text means."""
        return Path(os.path.abspath(self.cwd / os.path.expanduser(text)))

    def choice(self, option: str, value: str, allowed: Iterable[str]) -> str | None:
        """The value if it is allowed; otherwise a problem that names what is."""
        allowed = list(allowed)
        if value in allowed:
            return value
        close = difflib.get_close_matches(value, allowed, n=1)
        guess = f"did you mean {close[0]}? " if close else ""
        self.problem(
            f"unknown {option.replace('_', ' ')} {value!r}", self.where(option), f"{guess}one of {', '.join(allowed)}"
        )
        return None
