"""CA certificates: told apart by the SHA-256 of their DER form, whatever file and format they lie in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

_PEM = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----(.+?)-----END", re.DOTALL)


def fingerprints(files: Iterable[Path]) -> tuple[str, ...]:
    """The fingerprints (hexadecimal) of all certificates in PEM and DER files; other files have none."""
    found: dict[str, None] = {}
    for file in files:
        try:
            found.update(dict.fromkeys(fingerprints_in(file.read_bytes())))
        except OSError:
            continue
    return tuple(found)


def fingerprints_in(content: bytes) -> list[str]:
    """The fingerprints of the certificates in the content of one file."""
    blocks = _PEM.findall(content)
    if not blocks and content[:1] == b"\x30":  # an ASN.1 SEQUENCE: DER
        return [hashlib.sha256(content).hexdigest()]
    found = []
    for block in blocks:
        try:
            found.append(hashlib.sha256(base64.b64decode(block)).hexdigest())
        except binascii.Error:
            continue
    return found


def marks(files: Iterable[Path]) -> dict[str, str]:
    """Name of a PEM file -> a line of its certificate that no other file holds, to search for in all content.

    The end of a certificate is its signature; the beginning may be the same in two.
    """
    found = {}
    for file in files:
        try:
            blocks = _PEM.findall(file.read_bytes())
        except OSError:
            continue
        for number, block in enumerate(blocks):
            lines = block.decode("ascii", errors="replace").split()
            if len(lines) > 2:
                found[f"certificate {file.name} {number + 1}"] = lines[-2]
    return found
