"""Work that root does for a user who is not: an image's shadow files and private directories are root's to read.

A module that can be asked ends in ``as_root.answer(serve)``; :func:`ask` runs it through sudo.
Both directions are JSON through a pipe: arguments are everybody's to read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from diskimage_create import process
from diskimage_create.errors import CommandFailed, HostError, InputError, Problem


def ask(module: str, request: Mapping[str, Any]) -> Any:
    """Have root run a module that ends in :func:`answer`; returns what it served.

    :raises InputError: as it was raised there
    :raises HostError: as it was raised there, or sudo refused
    """
    # -P: whoever downloads images into a directory may have got a json.py there too.
    command = process.privileged([sys.executable, "-P", "-m", module])
    try:
        reply = json.loads(process.run(command, input=json.dumps(request)).stdout)
    except CommandFailed as error:
        message = f"the image cannot be looked at as root: {error.output.strip()[-500:]}"
        raise HostError(message, hint="run as root, or allow sudo without a password") from None
    if "problems" in reply:
        raise InputError([Problem(**problem) for problem in reply["problems"]])
    if "host" in reply:
        raise HostError(**reply["host"])
    return reply["answer"]


def answer(serve: Callable[[dict[str, Any]], Any]) -> None:
    """Read a request on standard input, and print what ``serve`` makes of it."""
    reply: dict[str, Any]
    try:
        reply = {"answer": serve(json.load(sys.stdin))}
    except InputError as error:
        reply = {"problems": [asdict(problem) for problem in error.problems]}
    except HostError as error:
        reply = {"host": {"message": error.message, "hint": error.hint}}
    json.dump(reply, sys.stdout)
