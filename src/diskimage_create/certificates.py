"""CA certificates: told apart by the SHA-256 of their DER form, whatever file and format they lie in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from diskimage_create.errors import InputError, Problem
from diskimage_create.model import Authority

#: No file of certificates is larger; a device or a log may be
_LARGEST = 2**20
_PLAIN_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s.+?-----END CERTIFICATE-----", re.DOTALL)
_PEM = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----(.+?)-----END", re.DOTALL)


def authorities(files: Iterable[Path], where: str) -> tuple[tuple[Authority, ...], list[str]]:
    """The certificates in files that a user named, and what the user should know of them.

    :param where: how the user named them
    :raises InputError: with all files that are not CA certificates in PEM form, and why
    """
    found: dict[str, Authority] = {}
    notes: list[str] = []
    problems: list[Problem] = []
    for file in files:
        try:
            for number, pem in enumerate(texts := _certificates(file), 1):
                what = f"certificate {number} of {file}" if len(texts) > 1 else str(file)
                notes += [f"{what} {doubt}" for doubt in _doubts(pem)]
                (sha256,) = fingerprints_in(pem.encode())
                name = re.sub(r"[^A-Za-z0-9_.-]", "_", file.stem)
                found.setdefault(sha256, Authority(f"{name}-{sha256[:8]}", f"{pem}\n", sha256))
        except OSError as error:
            problems.append(Problem(f"{file} cannot be read: {error.strerror}", where, "name a file with certificates"))
        except ValueError as error:
            problems.append(Problem(f"{file}: {error}", where, "a text file with -----BEGIN CERTIFICATE-----"))
    if problems:
        raise InputError(problems)
    return tuple(found.values()), notes


def _certificates(file: Path) -> Sequence[str]:
    """The certificates in a file, each as text.

    :raises ValueError: it holds something else, or none
    """
    if not file.is_file():
        file.stat()
        raise ValueError("it is no file")
    with file.open("rb") as opened:
        content = opened.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("it is too large for a file of certificates")
    if b"PRIVATE KEY-----" in content:
        raise ValueError("there is a private key in it, which has no place in an image")
    text = content.decode("utf-8", errors="replace").replace("\r\n", "\n")
    found = _PLAIN_PEM.findall(text)
    if len(found) != text.count("-----BEGIN ") or not found:
        raise ValueError("something else than certificates is in it" if found else "there is no certificate in it")
    return list(found)


def _doubts(pem: str) -> list[str]:
    """Why a certificate will not do what it is there for.

    :raises ValueError: it is none
    """
    import ssl  # slow to import, and most images have no certificate of their own

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=pem)
    except ssl.SSLError:
        raise ValueError("a certificate in it is damaged") from None
    known = context.get_ca_certs()
    if not known:
        return ["is not a CA's: what it has signed will not be trusted"]
    expired = ssl.cert_time_to_seconds(str(known[0]["notAfter"])) < time.time()
    return [f"has expired ({known[0]['notAfter']})"] if expired else []


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
