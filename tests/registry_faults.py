"""A proxy on loopback in front of a real registry, that fails as it is told to."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import requests

from registry_servers import Server

#: What a proxy does not hand on (RFC 9110, 7.6.1), or says itself
_OWN = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server", "content-encoding"}


@dataclass
class Fault:
    """What goes wrong with requests whose ``METHOD PATH`` a pattern is found in."""

    pattern: str
    does: Literal["answer", "truncate", "corrupt", "close", "slow", "hang"] = "answer"
    """An answer of its own; half of the body; a body of other content; no answer; a body in pieces; no end"""
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    times: int = 1
    """How often; -1 for always"""


@dataclass
class Proxy:
    """A proxy that runs: its address, what is to go wrong, and what it was asked."""

    host: str
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    """When each was asked, in seconds of a clock that only goes forward"""
    over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, pattern: str) -> int:
        """How often something was asked."""
        return sum(bool(re.search(pattern, line)) for line in self.asked)

    def fault(self, line: str) -> Fault | None:
        """What goes wrong with this request."""
        with self._lock:
            self.asked.append(line)
            self.moments.append(time.monotonic())
            for fault in self.faults:
                if fault.times and re.search(fault.pattern, line):
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def proxy(server: Server) -> Iterator[Proxy]:
    """A proxy in front of a registry."""
    running = Proxy("")

    class Handler(_Handler):
        upstream = server
        state = running

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        running.host = f"127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield running
        finally:
            running.over.set()
            listening.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    upstream: Server
    state: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test knows what it asked."""

    def handle_one_request(self) -> None:
        """A client that goes away is no error of ours."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _serve(self) -> None:
        fault = self.state.fault(f"{self.command} {self.path}")
        if fault and fault.does == "close":
            self.close_connection = True
            self.connection.shutdown(2)
            return
        if fault and fault.does == "hang":
            self.state.over.wait()
            return
        body = self._body()
        if fault and fault.does == "answer":
            self._answer(fault.status, fault.headers, fault.body)
            return
        names = {name.title() for name in self.headers if name.lower() not in _OWN}
        headers = {name: ", ".join(self.headers.get_all(name, [])) for name in names}  # a name may come repeatedly
        url = f"{self.upstream.scheme}://{self.upstream.host}{self.path}"
        answer = requests.request(
            self.command, url, headers=headers, data=body, allow_redirects=False, timeout=60, verify=False
        )
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN}
        if self.command == "HEAD" and "Content-Length" in answer.headers:
            kept["Content-Length"] = answer.headers["Content-Length"]
        self._answer(answer.status_code, kept, answer.content, fault.does if fault else "")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 (names of the base class)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes, does: str = "") -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        match does:
            case "truncate":
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
            case "corrupt":
                self.wfile.write(bytes(len(body)))
            case "slow":
                piece = len(body) // 20 + 1
                for start in range(0, len(body), piece):
                    self.wfile.write(body[start : start + piece])
                    time.sleep(0.05)
            case _:
                self.wfile.write(body)
