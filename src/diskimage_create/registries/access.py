"""How registries may be reached: credentials, certificates, and which need no TLS."""

from __future__ import annotations

import base64
import binascii
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diskimage_create.errors import InputError, Problem
from diskimage_create.host import ca_bundle
from diskimage_create.references import DOCKER_HUB

#: The name that docker gave the registry of Docker Hub in files of credentials
_HUB_KEY = "https://index.docker.io/v1/"
#: Where container tools look for a registry's own CA certificates (containers-certs.d(5)), besides the system's
_CERTIFICATES = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


@dataclass(frozen=True)
class Credentials:
    """What a registry knows a user by."""

    user: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """As HTTP's Basic scheme, and files of credentials, have them."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Access:
    """What the user and the host say about registries."""

    credentials: Mapping[str, Credentials] = field(default_factory=dict)
    """By ``HOST[:PORT]``, or by ``HOST[:PORT]/PATH`` for a part of a registry"""
    insecure: frozenset[str] = frozenset()
    """Registries that may be talked to without TLS, or with a certificate that nobody knows"""
    ca_certificates: Path | None = None
    """CA certificates to trust besides the host's"""

    def credentials_for(self, host: str, repository: str = "") -> Credentials | None:
        """The credentials of a repository: those of the longest path that it is in."""
        path = f"{host}/{repository}"
        while path:
            if path in self.credentials:
                return self.credentials[path]
            path = path.rpartition("/")[0]
        return None


def host_credentials(environ: Mapping[str, str]) -> dict[str, Credentials]:
    """What ``podman login``, ``skopeo login`` and ``docker login`` have written (containers-auth.json(5)).

    A file that a variable names must be readable; the others are used where they are.

    :raises InputError: REGISTRY_AUTH_FILE names a file that holds no credentials
    """
    if named := environ.get("REGISTRY_AUTH_FILE"):
        try:
            return _credentials_in(Path(named))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no file of credentials"
            raise InputError([Problem(f"{named} cannot be used: {reason}", "REGISTRY_AUTH_FILE")]) from None
    found: dict[str, Credentials] = {}
    for path in _credential_files(environ):
        try:
            found = _credentials_in(path) | found  # the first file that knows a registry counts
        except (OSError, ValueError):
            continue
    return found


def _credential_files(environ: Mapping[str, str]) -> Iterator[Path]:
    home = environ.get("HOME", "")
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"
    yield Path(runtime) / "containers" / "auth.json"
    yield Path(f"/run/containers/{os.getuid()}/auth.json")
    if home:
        yield Path(environ.get("XDG_CONFIG_HOME") or f"{home}/.config") / "containers" / "auth.json"
        yield Path(environ.get("DOCKER_CONFIG") or f"{home}/.docker") / "config.json"


def _credentials_in(path: Path) -> dict[str, Credentials]:
    """The credentials of a file; ValueError where it is none."""
    content = json.loads(path.read_bytes())
    auths = content.get("auths", {}) if isinstance(content, dict) else None
    if not isinstance(auths, dict):
        raise ValueError
    pairs = ((_host_of(key), _decoded(entry)) for key, entry in auths.items())
    return {host: credentials for host, credentials in pairs if credentials}


def _host_of(key: str) -> str:
    if key == _HUB_KEY:
        return DOCKER_HUB
    return key.removeprefix("https://").removeprefix("http://").rstrip("/")


def _decoded(entry: Any) -> Credentials | None:
    """None where a credential helper keeps them."""
    text = entry.get("auth") if isinstance(entry, dict) else None
    if not isinstance(text, str):
        return None
    try:
        user, colon, password = base64.b64decode(text).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError from None
    return Credentials(user, password) if colon else None


@contextmanager
def auth_file(access: Access, parent: Path | None = None) -> Iterator[Path]:
    """A file of mode 0600 with the credentials, for programs that read one (containers-auth.json(5)).

    :param parent: directory to make it in; otherwise it is in memory alone
    """
    auths = {key: {"auth": credentials.basic} for key, credentials in access.credentials.items()}
    with _private(json.dumps({"auths": auths}).encode(), parent) as path:
        yield path


@contextmanager
def trusted(access: Access, host: str | None = None, parent: Path | None = None) -> Iterator[Path | None]:
    """A file with all CA certificates to trust: the host's, the user's, and those for one registry.

    None where nothing but the host's defaults is to be trusted.

    :param parent: directory to make it in; otherwise it is in memory alone
    """
    more = [access.ca_certificates] if access.ca_certificates else []
    more += [path for place in _CERTIFICATES if host for path in sorted((place / host).glob("*.crt"))]
    bundle = ca_bundle(os.environ)
    if not more:
        yield bundle
        return
    with _private(
        b"".join(path.read_bytes() + b"\n" for path in ([bundle, *more] if bundle else more)), parent
    ) as path:
        yield path


@contextmanager
def _private(content: bytes, parent: Path | None) -> Iterator[Path]:
    """A file of mode 0600 until the block is left.

    In memory, nothing is left of it whatever ends this process; children that see the same ``/proc`` can open it.
    """
    if parent:
        descriptor, name = tempfile.mkstemp(dir=parent)  # of mode 0600
    else:
        descriptor = os.memfd_create("diskimage-create")
        name = f"/proc/{os.getpid()}/fd/{descriptor}"
        os.fchmod(descriptor, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield Path(name)
    finally:
        if parent:
            os.unlink(name)
