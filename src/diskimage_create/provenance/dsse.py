"""A signed statement in an envelope. Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class Envelope:
    """A statement with signatures over it."""

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]
    """Key identifier, and signature"""

    def as_line(self) -> str:
        """The envelope as one line of a file ``*.intoto.jsonl``."""
        signatures = [{"keyid": key, "sig": _base64(signature)} for key, signature in self.signatures]
        envelope = {"payloadType": PAYLOAD_TYPE, "payload": _base64(self.payload), "signatures": signatures}
        return json.dumps(envelope) + "\n"


def parse(line: str) -> Envelope:
    """The inverse of :meth:`Envelope.as_line`.

    :raises ValueError, KeyError, TypeError: it is none, or one of something else
    """
    envelope = json.loads(line)
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise ValueError(f"the payload is {envelope['payloadType']!r}, and no statement")
    signatures = tuple(
        (str(each.get("keyid", "")), base64.b64decode(each["sig"], validate=True)) for each in envelope["signatures"]
    )
    return Envelope(base64.b64decode(envelope["payload"], validate=True), signatures)


def signed_bytes(payload: bytes) -> bytes:
    """What is signed: the pre-authentication encoding of a payload and its type."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
