"""Signatures over small files: minisign's, Ed25519 as openssl(1) has it, and GnuPG's.

A key is a file (which kind, its content says) or ``gpg:USER-ID``. Its passphrase comes from the environment, from a
file that the environment names, or from whoever sits at the terminal: never from an argument.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from diskimage_create import process
from diskimage_create.errors import CommandFailed, HostError, InputError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from minisign import SecretKey

#: Before what GnuPG takes for the name of a key
GPG = "gpg:"
PASSPHRASE = "DISKIMAGE_CREATE_SIGN_PASSPHRASE"
PASSPHRASE_FILE = "DISKIMAGE_CREATE_SIGN_PASSPHRASE_FILE"
#: How a file of minisign's starts
MINISIGN_MAGIC = b"untrusted comment:"
#: Of what is no file's name, but may be secret: PEM, lines, and the base64 of them or of minisign's
_KEY_ITSELF = re.compile(r"-----BEGIN |\n|^[A-Za-z0-9+/]{60,}={0,2}$")
#: The largest file that can be a key, in bytes
LARGEST_KEY = 65536

#: A public key of minisign's as it is quoted: "Ed", identifier and key in base64
QUOTED_MINISIGN = re.compile(rb"RW[A-Za-z0-9+/]{54}")

#: Asked for the passphrase of a key only when it has one; None: there is nobody to ask
Ask = Callable[[], str | None]


class Signer(Protocol):
    """A key that signs."""

    @property
    def extension(self) -> str:
        """Of a signature's file: ``.minisig``, ``.sig``, ``.asc``."""
        ...

    def sign(self, name: str, data: bytes) -> bytes:
        """The content of a signature's file.

        :param name: of the file that is signed
        :raises InputError: the key cannot be used
        """
        ...

    def sign_raw(self, data: bytes) -> tuple[str, bytes] | None:
        """The key's identifier and its Ed25519 signature; None where it makes none."""
        ...


def passphrase(environ: Mapping[str, str], prompt: Ask = lambda: None) -> Ask:
    """Where passphrases come from: the environment, a file that it names, whoever is asked."""

    def ask() -> str | None:
        if (given := environ.get(PASSPHRASE)) is not None:
            return given
        if path := environ.get(PASSPHRASE_FILE):
            try:
                return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is no text"
                raise InputError([Problem(f"{path} cannot be read: {reason}", PASSPHRASE_FILE)]) from None
        return prompt()

    return ask


def load(key: str, ask: Ask = lambda: None) -> Signer:
    """The key that a user named.

    :raises InputError: there is no such key, it is of another kind, or its passphrase is wrong or missing
    """
    if key.startswith(GPG):
        return GpgSigner(_secret_gpg_key(key), ask)
    content = read_key(key, "--sign")
    try:
        if content.startswith(MINISIGN_MAGIC):
            return _minisign(key, content, ask)
        if content.startswith(b"-----BEGIN "):
            return _ed25519(key, content, ask)
    except ValueError as error:  # of the libraries: no key is quoted in it
        raise _unusable(key, f"it is damaged: {error}") from None
    raise _unusable(key, "it is neither a secret key of minisign's nor an Ed25519 key in PEM form")


def read_key(key: str, where: str) -> bytes:
    """The content of a key's file.

    :param where: the option that named it
    :raises InputError: it cannot be read
    """
    if not key:
        raise InputError([Problem("no key is named", where, "is a variable empty that should name it?")])
    if _KEY_ITSELF.search(key) and not os.path.exists(key):
        hint = "write the key to a file that you alone can read, and name the file"
        raise InputError([Problem("it has to be the name of a key's file, and not the key itself", where, hint)])
    try:
        with Path(key).open("rb") as file:
            return file.read(LARGEST_KEY)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError([Problem(f"the key {key} cannot be read: {reason}", where)]) from None


def _unusable(key: str, reason: str) -> InputError:
    hint = "'minisign -G' or 'openssl genpkey -algorithm ed25519' makes one; gpg:KEY names one of GnuPG's"
    return InputError([Problem(f"the key {key} cannot be used: {reason}", "--sign", hint)])


def _no_passphrase(key: str) -> InputError:
    hint = f"set {PASSPHRASE_FILE} to a file that holds it, or {PASSPHRASE}"
    return InputError([Problem(f"the key {key} has a passphrase, and nobody is here to be asked", "--sign", hint)])


def _wrong_passphrase(key: str) -> InputError:
    hint = f"see {PASSPHRASE}, or the file that {PASSPHRASE_FILE} names"
    return InputError([Problem(f"the key {key} cannot be used: its passphrase is another", "--sign", hint)])


@dataclass(frozen=True)
class MinisignSigner:
    """A secret key of minisign's."""

    key: SecretKey = field(repr=False)
    extension: str = ".minisig"

    def sign(self, name: str, data: bytes) -> bytes:
        """A signature that ``minisign -V`` checks; it tells the file's name, which is signed too."""
        plain = "".join(char if " " <= char < "\x7f" else "?" for char in name)
        signature = self.key.sign(data, untrusted_comment="signature", trusted_comment=f"file:{plain}\thashed")
        return bytes(signature) + b"\n"

    def sign_raw(self, data: bytes) -> tuple[str, bytes]:
        """An Ed25519 signature of the data itself."""
        signature = bytes(self.key.sign(data, prehash=False, untrusted_comment="signature", trusted_comment=""))
        # Second line: two bytes that name the algorithm, eight of the key's identifier, the signature
        return minisign_identifier(bytes(self.key.get_public_key())), base64.b64decode(signature.split(b"\n")[1])[10:]


def minisign_identifier(public: bytes) -> str:
    """What minisign shows as the identifier of a key, of the file with the public key."""
    return base64.b64decode(public.split(b"\n")[-1])[2:10][::-1].hex().upper()


def _minisign(name: str, content: bytes, ask: Ask) -> MinisignSigner:
    from minisign import SecretKey
    from minisign.exceptions import Error

    if QUOTED_MINISIGN.fullmatch(content.rstrip(b"\n").split(b"\n")[-1]):
        raise _unusable(name, "it is a public key: the secret one signs")
    try:
        key = SecretKey.from_bytes(content)
    except Error as error:
        raise _unusable(name, str(error)) from None
    if key.is_encrypted():
        if (given := ask()) is None:
            raise _no_passphrase(name)
        try:
            key.decrypt(given)
        except Error:
            raise _wrong_passphrase(name) from None
    return MinisignSigner(key)


@dataclass(frozen=True)
class Ed25519Signer:
    """An Ed25519 key in PEM form."""

    key: Ed25519PrivateKey = field(repr=False)
    extension: str = ".sig"

    def sign(self, name: str, data: bytes) -> bytes:
        """A signature that ``openssl pkeyutl -verify -rawin`` checks: 64 bytes."""
        return self.key.sign(data)

    def sign_raw(self, data: bytes) -> tuple[str, bytes]:
        """The same; the identifier is the digest of the public key."""
        return ed25519_identifier(self.key.public_key()), self.key.sign(data)


def ed25519_identifier(key: Ed25519PublicKey) -> str:
    """The SHA-256 of the public key in DER form (SubjectPublicKeyInfo), in hex."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _ed25519(name: str, content: bytes, ask: Ask) -> Ed25519Signer:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if b"PRIVATE KEY" not in content:
        raise _unusable(name, "it is no secret key: that begins with BEGIN PRIVATE KEY")
    encrypted = b"ENCRYPTED" in content
    given = ask() if encrypted else None
    if encrypted and not given:
        raise _no_passphrase(name)
    try:
        key = load_pem_private_key(content, given.encode() if given else None)
    except UnsupportedAlgorithm:
        raise _unusable(name, "it is of a kind that is not known here") from None
    except ValueError as error:
        if encrypted:
            raise _wrong_passphrase(name) from None
        raise _unusable(name, f"it holds no secret key: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable(name, "it is not for Ed25519")
    return Ed25519Signer(key)


@dataclass(frozen=True)
class GpgSigner:
    """A key in the user's keyring of GnuPG, which asks for a passphrase itself where none is given."""

    fingerprint: str
    ask: Ask = field(repr=False)
    extension: str = ".asc"

    def sign(self, name: str, data: bytes) -> bytes:
        """A detached, armoured signature that ``gpg --verify`` checks."""
        given = self.ask()
        silent = ["--pinentry-mode", "loopback", "--passphrase-fd", "0"] if given is not None else []
        command = ["gpg", "--batch", "--yes", *silent, "--local-user", self.fingerprint, "--armor", "--detach-sign"]
        with tempfile.TemporaryDirectory(prefix="diskimage-sign-") as directory:
            file, signature = Path(directory) / "data", Path(directory) / "signature"
            file.write_bytes(data)
            try:
                process.run([*command, "--output", signature, file], input=None if given is None else f"{given}\n")
            except CommandFailed as error:
                raise _unusable(GPG + self.fingerprint, " ".join(error.output.split())[-300:]) from None
            return signature.read_bytes()

    def sign_raw(self, data: bytes) -> None:
        """Such a key makes none."""


def _secret_gpg_key(key: str) -> str:
    """The fingerprint of the one secret key that the name means.

    :raises InputError: there is none, or several
    """
    user = key.removeprefix(GPG)
    fingerprints = gpg_fingerprints(["--list-secret-keys", user])
    if len(fingerprints) != 1:
        found = f"{len(fingerprints)} secret keys of that name" if fingerprints else "no secret key of that name"
        raise _unusable(key, f"GnuPG has {found}")
    return fingerprints[0]


def gpg_fingerprints(arguments: list[str]) -> list[str]:
    """Of the primary keys that ``gpg`` lists; none where it knows none.

    :raises HostError: GnuPG is not installed
    """
    if not process.which("gpg"):
        raise HostError("GnuPG is not installed", "install the package gnupg")
    command = ["gpg", "--batch", "--with-colons", "--fingerprint", arguments[0], "--", *arguments[1:]]
    lines = process.run(command, expect=range(256)).stdout.splitlines()
    records = [line.split(":") for line in lines]
    pairs = itertools.pairwise(records)
    return [second[9] for first, second in pairs if first[0] in ("pub", "sec") and second[0] == "fpr"]
