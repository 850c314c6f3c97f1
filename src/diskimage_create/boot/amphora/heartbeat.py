"""Heartbeats: what an amphora tells the health manager every few seconds, in one UDP packet.

The packet is a JSON document, compressed with zlib, and behind it 64 bytes: the HMAC (RFC 2104) with SHA-256 of the
compressed document, in hexadecimal digits, keyed with what the controller and all its amphorae share.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diskimage_create.boot.qemu import LOOPBACK

_DIGITS = 64
#: A packet is at most 64 KiB; what zlib makes of one may be a thousand times that
_LONGEST = 2**20

#: Packets that are looked at in one go: an amphora sends one in seconds
_PACKETS = 100


class Forged(Exception):
    """The packet is not from whoever has the key."""


def opened(packet: bytes, key: str) -> dict[str, Any]:
    """The document in a heartbeat.

    :raises Forged: its HMAC is not right, or what is signed is no document
    """
    payload, digits = packet[:-_DIGITS], packet[-_DIGITS:]
    expected = hmac.new(key.encode(), payload, hashlib.sha256).hexdigest().encode()
    if not hmac.compare_digest(expected, digits):
        raise Forged("its HMAC is not that of the heartbeat key")
    try:
        unpacker = zlib.decompressobj()
        document = json.loads(unpacker.decompress(payload, _LONGEST))
    except (zlib.error, ValueError, RecursionError) as error:
        raise Forged(f"it holds no document: {error}") from None
    if not isinstance(document, dict):
        raise Forged("it holds no JSON object")
    return document


class Receiver:
    """Takes in what arrives at a UDP port of loopback."""

    def __init__(self, listening: socket.socket, key: str) -> None:
        self._socket = listening
        self._key = key
        self.received = 0
        self.forged: list[str] = []
        """What was wrong with those that are not genuine; of the first ones"""

    @property
    def port(self) -> int:
        """Where to send heartbeats to."""
        return int(self._socket.getsockname()[1])

    def newest(self) -> dict[str, Any] | None:
        """The last genuine one of those that arrived since the last call, or of the first of them."""
        found = None
        for _ in range(_PACKETS):  # and not for as long as somebody sends them
            try:
                packet = self._socket.recv(65536)
            except BlockingIOError:
                return found
            try:
                found = opened(packet, self._key)
                self.received += 1
            except Forged as error:
                if len(self.forged) < _PACKETS:
                    self.forged.append(str(error))
        return found


@contextmanager
def receiving(key: str) -> Iterator[Receiver]:
    """Listen for heartbeats as long as the block runs."""
    with socket.socket(type=socket.SOCK_DGRAM) as listening:
        listening.bind((LOOPBACK, 0))
        listening.setblocking(False)
        yield Receiver(listening, key)
