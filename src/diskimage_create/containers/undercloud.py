"""The registry of an undercloud: the local one, which ``push_destination: true`` means."""

from __future__ import annotations

import socket

#: TripleO's port of it
PORT = 8787


def local_registry(configured: str | None = None) -> str:
    """``HOST:PORT`` of the local registry: as configured, or on this host's address in the control plane's network.

    :param configured: ``LocalContainerRegistry``: an address, or a name
    """
    return f"{configured or _address()}:{PORT}"


def _address() -> str:
    name = f"{socket.gethostname().partition('.')[0]}.ctlplane"
    try:
        found = socket.getaddrinfo(name, PORT, type=socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return "localhost"
    return f"[{found}]" if ":" in str(found) else str(found)
