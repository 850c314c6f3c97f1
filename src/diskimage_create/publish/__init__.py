"""From a finished image to where others get it: docker and podman, registries, Glance, directories and object stores.

Everything that is said of an image comes from the record beside it. Nothing is remembered between two runs: whether an
image is there already is asked of the destination, so that publishing again repeats only what failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from diskimage_create.errors import RemoteError
from diskimage_create.publish.destinations import Destination
from diskimage_create.publish.model import Options, Receipt, Status
from diskimage_create.publish.source import Source

__all__ = ["Destination", "Options", "Receipt", "Source", "Status", "publish"]

Progress = Callable[[int, int], None]


def publish(source: Source, destinations: Sequence[Destination], options: Options) -> list[Receipt]:
    """Publish an image to each destination; one that fails does not keep it from the others.

    :returns: what became of each, in the order of the destinations
    :raises HostError: this host lacks a tool for one of them: nothing was published
    """
    receipts = []
    for destination in destinations:
        try:
            receipts.append(destination.publish(source, options))
        except RemoteError as error:
            receipts.append(Receipt(str(destination), Status.FAILED, message=error.message, hint=error.hint))
    return receipts
