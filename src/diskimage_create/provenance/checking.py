"""Keys that check signatures; :mod:`signing` makes these."""

from __future__ import annotations

import base64
import os
import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from diskimage_create import process
from diskimage_create.errors import InputError, Problem
from diskimage_create.provenance.signing import (
    GPG,
    MINISIGN_MAGIC,
    QUOTED_MINISIGN,
    ed25519_identifier,
    gpg_fingerprints,
    minisign_identifier,
    read_key,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from minisign import PublicKey

#: The second line of a secret key's file: "Ed", "Sc" or nothing, "B2" in base64
_SECRET_MINISIGN = re.compile(rb"^RW(?:RTY0Iy|QAAEIy)", re.MULTILINE)
_VALID = re.compile(r"^\[GNUPG:\] VALIDSIG (\S+)(?: \S+){8} ?(\S*)", re.MULTILINE)


class BadSignature(Exception):
    """It is not this key's signature of this data."""


class Checker(Protocol):
    """A key that checks."""

    @property
    def extension(self) -> str:
        """Of the signature's files that it can check."""
        ...

    @property
    def identifier(self) -> str:
        """How a signature names this key."""
        ...

    def check(self, data: bytes, signature: bytes) -> None:
        """Check a signature's file.

        :param signature: content of the signature's file
        :raises BadSignature: it is not this key's, or not of this data
        """
        ...

    def check_raw(self, data: bytes, signature: bytes) -> None:
        """Check a bare Ed25519 signature.

        :raises BadSignature: it is not this key's, or not of this data; or this key has no such
        """
        ...


def load(key: str) -> Checker:
    """The key that a user named: a file, minisign's text ``RW...``, or ``gpg:KEY``.

    :raises InputError: there is no such key, or it is of another kind
    """
    if key.startswith(GPG):
        return _gpg(key)
    if QUOTED_MINISIGN.fullmatch(os.fsencode(key)) and not Path(key).exists():
        return _minisign(key, b"untrusted comment: quoted\n" + key.encode())
    content = read_key(key, "--key")
    if b"PRIVATE KEY-----" in content or _SECRET_MINISIGN.search(content):
        raise _unusable(key, "it is a secret key, which nobody needs for checking")
    if content.startswith(MINISIGN_MAGIC):
        return _minisign(key, content)
    if content.startswith(b"-----BEGIN PUBLIC KEY"):
        return _ed25519(key, content)
    raise _unusable(key, "it is neither a public key of minisign's nor an Ed25519 one in PEM form")


def _unusable(key: str, reason: str) -> InputError:
    hint = "name the public key: minisign.pub, what 'openssl pkey -pubout' prints, or gpg:FINGERPRINT"
    return InputError([Problem(f"the key {key} cannot be used: {reason}", "--key", hint)])


@dataclass(frozen=True)
class MinisignChecker:
    """A public key of minisign's."""

    key: PublicKey
    identifier: str
    extension: str = ".minisig"

    def check(self, data: bytes, signature: bytes) -> None:
        """As ``minisign -V`` does."""
        from minisign import Signature
        from minisign.exceptions import Error

        try:
            self.key.verify(data, Signature.from_bytes(signature.rstrip(b"\n")))
        except Error as error:
            raise BadSignature(str(error)) from None

    def check_raw(self, data: bytes, signature: bytes) -> None:
        """With the key that is inside of minisign's."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        raw = base64.b64decode(self.key.to_base64())[10:]
        _check_ed25519(Ed25519PublicKey.from_public_bytes(raw), data, signature)


def _minisign(name: str, content: bytes) -> MinisignChecker:
    from minisign import PublicKey
    from minisign.exceptions import Error

    try:
        key = PublicKey.from_bytes(content.rstrip(b"\n"))
    except Error as error:
        raise _unusable(name, str(error)) from None
    return MinisignChecker(key, minisign_identifier(bytes(key)))


@dataclass(frozen=True)
class Ed25519Checker:
    """An Ed25519 public key."""

    key: Ed25519PublicKey
    identifier: str
    extension: str = ".sig"

    def check(self, data: bytes, signature: bytes) -> None:
        """As ``openssl pkeyutl -verify -rawin`` does."""
        _check_ed25519(self.key, data, signature)

    def check_raw(self, data: bytes, signature: bytes) -> None:
        """The same: the file holds nothing else."""
        _check_ed25519(self.key, data, signature)


def _ed25519(name: str, content: bytes) -> Ed25519Checker:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(name, f"it is damaged: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise _unusable(name, "it is not for Ed25519")
    return Ed25519Checker(key, ed25519_identifier(key))


def _check_ed25519(key: Ed25519PublicKey, data: bytes, signature: bytes) -> None:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, data)
    except InvalidSignature:
        raise BadSignature("signature verification failed") from None


@dataclass(frozen=True)
class GpgChecker:
    """Keys of the user's keyring of GnuPG."""

    fingerprints: Collection[str]
    identifier: str
    extension: str = ".asc"

    def check(self, data: bytes, signature: bytes) -> None:
        """As ``gpg --verify`` does, and the signature has to be of this very key."""
        with tempfile.TemporaryDirectory(prefix="diskimage-verify-") as directory:
            file, detached = Path(directory) / "data", Path(directory) / "signature"
            file.write_bytes(data)
            detached.write_bytes(signature)
            command: list[str | Path] = ["gpg", "--batch", "--status-fd", "1", "--verify", detached, file]
            done = process.run(command, expect=range(256))
        signers = {fingerprint for match in _VALID.finditer(done.stdout) for fingerprint in match.groups()}
        if done.returncode != 0 or not signers or "[GNUPG:] GOODSIG " not in done.stdout:  # as of a key that expired
            raise BadSignature(" ".join(done.stderr.split())[-300:])
        if not signers & set(self.fingerprints):
            raise BadSignature(f"it is of another key: {', '.join(sorted(filter(None, signers)))}")

    def check_raw(self, data: bytes, signature: bytes) -> None:
        """Such a key makes none."""
        raise BadSignature("a key of GnuPG's signs no envelope")


def _gpg(key: str) -> GpgChecker:
    found = gpg_fingerprints(["--list-keys", key.removeprefix(GPG)])
    if not found:
        raise _unusable(key, "GnuPG has no key of that name")
    return GpgChecker(tuple(found), found[0])
