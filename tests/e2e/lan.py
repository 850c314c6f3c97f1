"""Machines of a network of its own: namespaces with addresses, and a proxy on the way to the rest of the world."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

#: Of a network that nobody else has: RFC 5737, documentation
_PREFIX = "198.51.100."
_BRIDGE = "dic-lan"


@dataclass(frozen=True)
class Machine:
    """One of them."""

    namespace: str
    address: str

    def command(self, *arguments: object) -> list[str]:
        """A command that runs there. Files, mounts and processes are those of this machine."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--", *map(str, arguments)]


@dataclass(frozen=True)
class Lan:
    """All of them."""

    machines: Sequence[Machine]
    proxy: str
    """URL by which they reach others"""


def why_not() -> str | None:
    """Why there can be no such network here."""
    if os.geteuid() != 0:
        return "root alone makes network namespaces"
    made = subprocess.run(["ip", "netns", "add", "dic-probe"], capture_output=True, text=True, check=False)
    if made.returncode == 0:
        subprocess.run(["ip", "netns", "delete", "dic-probe"], check=True)
        return None
    return f"this machine has no network namespaces: {made.stderr.strip()}"


@contextmanager
def lan(count: int) -> Iterator[Lan]:
    """So many machines, and this one, on one network; nothing of it is left afterwards."""
    with ExitStack() as stack:
        _ip("link", "add", "name", _BRIDGE, "type", "bridge")
        stack.callback(_ip, "link", "delete", _BRIDGE)
        _ip("address", "add", f"{_PREFIX}1/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        machines = []
        for number in range(2, count + 2):
            machine = Machine(f"dic-{number}", f"{_PREFIX}{number}")
            _ip("netns", "add", machine.namespace)
            stack.callback(_ip, "netns", "delete", machine.namespace)
            _connect(machine)
            machines.append(machine)
        server = stack.enter_context(closing(_Server((f"{_PREFIX}1", 0), _Proxy)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        yield Lan(machines, f"http://{_PREFIX}1:{server.server_port}")


def _connect(machine: Machine) -> None:
    here, inside = ["-n", machine.namespace], f"{machine.namespace}-eth"
    _ip("link", "add", inside, "type", "veth", "peer", "name", "eth0", "netns", machine.namespace)
    _ip("link", "set", inside, "master", _BRIDGE, "up")
    for name in ("lo", "eth0"):
        _ip(*here, "link", "set", name, "up")
    _ip(*here, "address", "add", f"{machine.address}/24", "dev", "eth0")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def close(self) -> None:
        self.server_close()


class _Proxy(BaseHTTPRequestHandler):
    """Passes on what machines of the network ask for: the mirrors that this machine's configuration names."""

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=60) as other:
            self.send_response(200)
            self.end_headers()
            self._pass_on(other)
        self.close_connection = True

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        with (
            suppress(OSError),
            socket.create_connection((asked.hostname or "", asked.port or 80), timeout=60) as other,
        ):
            path = asked._replace(scheme="", netloc="").geturl() or "/"
            del self.headers["Connection"]
            self.headers["Connection"] = "close"
            other.sendall(f"{self.command} {path} HTTP/1.1\r\n{self.headers}".encode())
            self._pass_on(other)
        self.close_connection = True

    def _pass_on(self, other: socket.socket) -> None:
        pairs = {self.connection: other, other: self.connection}
        while True:
            readable, _, _ = select.select(list(pairs), [], [], 120)
            if not readable:
                return
            for each in readable:
                data = each.recv(65536)
                if not data:
                    return
                pairs[each].sendall(data)

    def log_message(self, *_: object) -> None:
        pass
