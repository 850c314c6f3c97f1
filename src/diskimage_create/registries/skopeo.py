"""Runs ``skopeo copy``, and tells why it failed."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diskimage_create import process
from diskimage_create.errors import HostError
from diskimage_create.references import Reference
from diskimage_create.registries.access import Access, auth_file, trusted
from diskimage_create.registries.configuration import VARIABLE

#: Where container tools look for the policy of signatures (containers-policy.json(5)), below HOME or the root
_POLICIES = (".config/containers/policy.json", "/etc/containers/policy.json")
#: Seconds for the smallest image, and bytes a second below which a registry counts as hanging
_PATIENCE = 600
_SLOWEST = 50_000
#: Seconds that skopeo has after SIGTERM; it has nothing to clean up
_GRACE = 5.0
_PART = re.compile(r"Copying (?:blob|config) ")
_FATAL = re.compile(r'level=(?:fatal|error) msg="(?P<text>(?:[^"\\]|\\.)*)"')
#: What another attempt does not change
_PERMANENT = re.compile(
    r"unauthorized|authentication required|access to the resource is denied|status: (?:401|403)|forbidden"
    r"|manifest (?:unknown|invalid)|name (?:unknown|invalid)|repository name not known|unsupported|denied"
    r"|x509|certificate|HTTP response to HTTPS client|image rejected|is blocked",
    re.IGNORECASE,
)
_QUERY = re.compile(r"(https?://[^\s\"'?]+)\?[^\s\"']+")
_USER = re.compile(r"(https?://)[^\s/@\"']+@")


class Failed(Exception):
    """A copy that skopeo could not make; the message is what it said last."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.permanent = _PERMANENT.search(message) is not None


@dataclass(frozen=True)
class Skopeo:
    """skopeo with the credentials, certificates and policy of a user; several may run at once."""

    access: Access
    children: process.Children
    credentials: Path
    environment: Mapping[str, str]

    def copy(
        self, source: Reference, destination: Reference, size: int, part: Callable[[], None], all_of_index: bool
    ) -> None:
        """Copy an image, and wait for it.

        :param size: bytes that there are to transfer
        :param part: called when skopeo begins with a layer or a configuration
        :param all_of_index: all architectures of an index
        :raises Failed: it could not be copied
        :raises Interrupted: it was stopped
        """
        last: deque[str] = deque(maxlen=5)

        def line(text: str) -> None:
            last.append(text)
            if _PART.match(text):
                part()

        argv = [*self._command(size), *(["--all"] if all_of_index else []), *self._without_tls(source, destination)]
        status = self.children.stream(
            [*argv, f"docker://{source}", f"docker://{destination}"], line, env=self.environment
        )
        if status:
            raise Failed(self._without_secrets(_said(last)) or f"skopeo ended with status {status}")

    def _command(self, size: int) -> list[str]:
        home = self.environment.get("HOME", "/")
        named = self.environment.get(VARIABLE)
        return [
            *process.WITH_US,
            "skopeo",
            # skopeo refuses to work where there is no policy: then anything is accepted, as elsewhere by default.
            *([] if any(Path(home, path).exists() for path in _POLICIES) else ["--insecure-policy"]),
            *(["--registries-conf", named] if named else []),
            f"--command-timeout={_PATIENCE + size // _SLOWEST}s",
            "copy",
            "--preserve-digests",
            # They are checked, but a registry without a place for signatures would refuse the copy.
            "--remove-signatures",
            f"--authfile={self.credentials}",
        ]

    def _without_tls(self, source: Reference, destination: Reference) -> list[str]:
        pairs = (("--src-tls-verify=false", source), ("--dest-tls-verify=false", destination))
        return [option for option, reference in pairs if reference.registry in self.access.insecure]

    def _without_secrets(self, text: str) -> str:
        """Addresses of blobs may carry a signature, those of proxies a password."""
        for credentials in self.access.credentials.values():
            for secret in (credentials.password, credentials.basic):
                text = text.replace(secret, "***") if secret else text
        return _USER.sub(r"\1***@", _QUERY.sub(r"\1?...", text))


@contextmanager
def ready(access: Access) -> Iterator[Skopeo]:
    """skopeo, ready to run; all that still run are stopped when the block is left.

    :raises HostError: it is not installed
    """
    if not process.which("skopeo"):
        raise HostError("skopeo is not installed: it copies images", "install the package skopeo")
    with auth_file(access) as credentials, trusted(access) as bundle, process.Children(_GRACE) as children:
        environment = {**os.environ, "PATH": process.tool_path(), "LC_ALL": "C.UTF-8"}
        if bundle:
            environment["SSL_CERT_FILE"] = str(bundle)
        yield Skopeo(access, children, credentials, environment)


def _said(lines: deque[str]) -> str:
    """The fatal error among the last lines, or all of them."""
    for text in reversed(lines):
        if match := _FATAL.search(text):
            return re.sub(r"\\([\"\\])", r"\1", match["text"]).replace("\\n", " ")
    return "; ".join(lines)
