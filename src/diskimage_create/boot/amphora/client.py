"""The controller's side of the amphora API (Octavia's documentation, "HAProxy Amphora API")."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diskimage_create.boot.amphora.certificates import Identity
from diskimage_create.boot.amphora.configuration import Credentials
from diskimage_create.boot.qemu import LOOPBACK

if TYPE_CHECKING:
    import requests

#: Seconds to connect, and to wait for an answer: an emulated machine takes its time to start haproxy
_TIMEOUT = (5.0, 120.0)
_SHORT = (5.0, 20.0)
#: Bytes of an answer at most
_LONGEST = 2**20
#: Characters of an answer that an error shows
_LONG = 700


class NoAnswer(Exception):
    """There is nobody (yet) who answers."""


class Refused(Exception):
    """The amphora does not talk to this client."""


class Rejected(Exception):
    """The amphora answered, and did not do what it was told."""


class Client:
    """Asks one amphora."""

    def __init__(self, credentials: Credentials, port: int, directory: Path) -> None:
        """Save what requests needs as files.

        :param port: of loopback, that leads to the API
        :param directory: where nobody else can read
        """
        self._credentials = credentials
        self._port = port
        self._directory = directory
        self._authority = credentials.server_authority.save(directory / "server-ca.pem")
        self._session = self._new_session(credentials.client)

    def _new_session(self, identity: Identity | None) -> Any:
        import requests
        from requests.adapters import HTTPAdapter

        amphora_id = self._credentials.amphora_id

        class ToAmphora(HTTPAdapter):
            """Expects the certificate to name the amphora's ID, not its address."""

            def init_poolmanager(self, *args: Any, **options: Any) -> None:
                super().init_poolmanager(*args, **options, assert_hostname=amphora_id)

        session = requests.Session()
        session.trust_env = False  # no proxy, no .netrc
        session.verify = str(self._authority)
        session.mount("https://", ToAmphora())
        if identity:
            path = self._directory / f"{identity.certificate.serial_number:x}.pem"
            session.cert = str(path if path.exists() else identity.save(path))
        return session

    def version(self) -> str:
        """The version of the API, which anybody may ask for who may ask at all.

        :raises NoAnswer: nobody answers yet
        """
        return str(self._json("GET", "/", timeout=_SHORT)["api_version"])

    def info(self) -> Any:
        """Hostname, versions of API and haproxy."""
        return self._json("GET", "/1.0/info")

    def details(self) -> Any:
        """Load, memory, networks and listeners."""
        return self._json("GET", "/1.0/details")

    def plug_vip(self, vip: str, subnet: str, gateway: str, mac: str, vrrp_address: str) -> Any:
        """Put the network card with this MAC into the load balancer's namespace, with the virtual address."""
        network = {
            "subnet_cidr": subnet,
            "gateway": gateway,
            "mac_address": mac,
            "vrrp_ip": vrrp_address,
            "mtu": 1500,
            "host_routes": [],
        }
        return self._json("POST", f"/1.0/plug/vip/{vip}", json=network)

    def upload(self, balancer: str, configuration: str) -> Any:
        """Give it haproxy's configuration of a load balancer; it is checked there."""
        path = f"/1.0/loadbalancer/{self._credentials.amphora_id}/{balancer}/haproxy"
        return self._json("PUT", path, data=configuration.encode())

    def start(self, balancer: str) -> Any:
        """Start haproxy for a load balancer."""
        return self._json("PUT", f"/1.0/loadbalancer/{balancer}/start")

    def listeners(self) -> list[dict[str, Any]]:
        """Listeners that it has, with their state."""
        found: list[dict[str, Any]] = self._json("GET", "/1.0/listeners")
        return found

    def ask_as(self, identity: Identity | None) -> int:
        """Ask for the version as somebody else; returns the status of the answer.

        :param identity: the certificate to show; None: none at all
        :raises Refused: there was no answer over HTTP, because TLS ended before
        """
        import requests

        with self._new_session(identity) as session:
            try:
                return int(
                    session.get(
                        f"https://{LOOPBACK}:{self._port}/", timeout=_SHORT, stream=True, allow_redirects=False
                    ).status_code
                )
            except (requests.exceptions.SSLError, requests.exceptions.ConnectionError) as error:
                if isinstance(error, requests.exceptions.Timeout):
                    raise NoAnswer(str(error)) from None
                raise Refused(str(error)) from None

    def _json(self, method: str, path: str, timeout: tuple[float, float] = _TIMEOUT, **options: Any) -> Any:
        import requests

        url = f"https://{LOOPBACK}:{self._port}{path}"
        try:
            # No redirects: a guest sends its controller nowhere else.
            with self._session.request(
                method, url, timeout=timeout, stream=True, allow_redirects=False, **options
            ) as reply:
                text = body(reply)
        except requests.RequestException as error:
            raise NoAnswer(f"{method} {path}: {_inner(error)}") from None
        if not reply.ok:
            raise Rejected(f"{method} {path}: {reply.status_code} {_shortened(text)}")
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text)
        raise Rejected(f"{method} {path}: the answer is no JSON: {text[:200]!r}")


def body(reply: requests.Response) -> str:
    """What a guest answered, which may be anything.

    :param reply: of which nothing was read yet
    :raises Rejected: it is longer than any answer of an amphora
    """
    read = b""
    for part in reply.iter_content(65536):
        read += part
        if len(read) > _LONGEST:
            raise Rejected(f"the answer is longer than {_LONGEST >> 20} MiB")
    return read.decode("utf-8", errors="replace")


def _shortened(text: str) -> str:
    """What went wrong is at the end of what a program printed: the agent quotes it all."""
    words = " ".join(text.replace("\\n", " ").split())
    return words if len(words) <= _LONG else f"{words[:60]} ... {words[60 - _LONG :]}"


def _inner(error: BaseException) -> str:
    """What really happened, without what requests and urllib3 wrap around it."""
    while (inner := getattr(error, "reason", None) or (error.args[0] if error.args else None)) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    return str(error)
