"""Where an image can be published, as users name it.

``docker:NAME[:TAG]``, ``podman:NAME[:TAG]``, ``oci://HOST[:PORT]/NAME[:TAG]``, ``glance:[NAME]``, ``DIRECTORY/``, and
every URL that fsspec knows. Each kind is a module with a function ``parse(text)`` that makes a :class:`Destination` of
what the user wrote, or raises ValueError, which says why it cannot be one. It asks nobody.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Protocol

from diskimage_create.errors import InputError, Problem
from diskimage_create.filesystems import is_known
from diskimage_create.publish.model import Options, Receipt
from diskimage_create.publish.source import Source

#: What a destination begins with -> the module that knows it, which is imported when somebody names one
_MODULES = MappingProxyType({"docker": "engines", "podman": "engines", "oci": "oci", "glance": "glance"})
#: Directories, and all other URLs
_PLACES = "directory"
_EXAMPLES = "docker:NAME:TAG, podman:NAME:TAG, oci://HOST/NAME:TAG, glance:NAME, DIRECTORY/, or a URL"
_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*):(?P<url>//)?", re.IGNORECASE)


class Destination(Protocol):
    """A place for images; as text, it is what the user wrote.

    One that calls ``source.verified()`` itself, before the image can be seen there, has the attribute ``verifies``; the
    others are asked when the image has been compared with its record.
    """

    def require(self, source: Source, options: Options) -> None:
        """Say what is missing before anything is published anywhere; asks no remote.

        :raises HostError: this host lacks a tool, or a library
        :raises InputError: this image, or one of the options, does not fit the place
        """
        ...

    def publish(self, source: Source, options: Options) -> Receipt:
        """Publish an image there, unless it is there already.

        :raises RemoteError: the place refuses, or fails
        """
        ...


def parse(texts: Sequence[str]) -> list[Destination]:
    """The places that a user names, each once.

    :raises InputError: all that is wrong with any of them
    """
    found: list[Destination] = []
    problems: list[Problem] = []
    for text in dict.fromkeys(texts):
        try:
            found.append(_parse_one(text))
        except InputError as error:
            problems += error.problems
        except ValueError as error:
            problems.append(Problem(str(error), text or "''", _perhaps(text)))
    if problems:
        raise InputError(problems)
    return found


def kind(text: str) -> str:
    """What sort of place a user names: ``docker``, ``podman``, ``oci``, ``glance``, or ``directory``."""
    scheme = text.partition(":")[0]
    return scheme if scheme in _MODULES else _PLACES


def _parse_one(text: str) -> Destination:
    match = _SCHEME.match(text)
    scheme = match["scheme"] if match else ""
    if not text:
        raise ValueError("it is empty")
    if scheme in _MODULES:
        module = _MODULES[scheme]
    elif match and match["url"] and _perhaps(text) and (scheme.lower() in _MODULES or not is_known(scheme.lower())):
        raise ValueError(f"{scheme}:// is no destination")
    elif text.endswith("/") or (match and match["url"]):
        module = _PLACES
    else:
        raise InputError([Problem("this is no destination", text, _perhaps(text) or _how(text, scheme))])
    made: Destination = import_module(f"diskimage_create.publish.{module}").parse(text)
    return made


def _perhaps(text: str) -> str | None:
    """What was meant, where the beginning has a letter too much, or one too few."""
    scheme, _, rest = text.partition(":")
    near = difflib.get_close_matches(scheme.lower(), _MODULES, n=1)
    return f"perhaps you meant {near[0]}:{rest}" if near and near[0] != scheme else None


def _how(text: str, scheme: str) -> str:
    return f"use {_EXAMPLES}" if scheme else f"a directory ends in a slash: {text}/"
