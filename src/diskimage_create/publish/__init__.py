"""From a finished image to where others get it: docker and podman, registries, Glance, directories and object stores.

Everything that is said of an image comes from the record beside it. Nothing is remembered between two runs: whether an
image is there already is asked of the destination, so that publishing again repeats only what failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from diskimage_create.errors import DiskImageError, HostError, InputError, Interrupted, Problem
from diskimage_create.publish import archives
from diskimage_create.publish.destinations import Destination
from diskimage_create.publish.model import Options, Receipt, Status
from diskimage_create.publish.source import Source, beside

__all__ = ["Destination", "Options", "Receipt", "Source", "Status", "publish"]


def publish(
    source: Source,
    destinations: Sequence[Destination],
    options: Options,
    told: Callable[[Receipt], None] = lambda receipt: None,
) -> list[Receipt]:
    """Publish an image to each destination; one that fails does not keep it from the others.

    :param told: about each destination as soon as it is over
    :returns: what became of each, in the order of the destinations
    :raises InputError: the image is not the one of its record; or it, or an option, does not fit one of them: nothing
        was published
    :raises HostError: this host lacks a tool for one of them: nothing was published
    """
    _require(source, destinations, options)
    receipts = []
    with ExitStack() as stack:
        source = replace(beside(source), archive=archives.once(source, stack))
        for destination in destinations:
            started = time.monotonic()
            if not getattr(destination, "verifies", False):
                source.verified()
            try:
                receipt = destination.publish(source, options)
            except (Interrupted, InputError):  # the image is not what its record says, so nobody got it
                raise
            except DiskImageError as error:
                source.verified()
                receipt = Receipt(str(destination), Status.FAILED, message=error.message, hint=error.hint)
            receipt = replace(receipt, seconds=time.monotonic() - started)
            told(receipt)
            receipts.append(receipt)
    return receipts


def _require(source: Source, destinations: Sequence[Destination], options: Options) -> None:
    problems: list[Problem] = []
    missing: list[HostError] = []
    for destination in destinations:
        try:
            destination.require(source, options)
        except InputError as error:
            problems += error.problems
        except HostError as error:
            missing.append(error)
    if problems:
        raise InputError(problems)
    if missing:
        messages, hints = ({error.message: None for error in missing}, {error.hint or "": None for error in missing})
        raise HostError("; ".join(messages), "; ".join(filter(None, hints)))
