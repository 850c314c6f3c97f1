"""A web server on loopback that counts what it is asked, and answers conditional requests as RFC 9110 says."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Server:
    """What it serves, and what it was asked."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    """Path -> status that it answers with"""
    slow: set[str] = field(default_factory=set)
    password: str | None = None
    validators: bool = True
    asked: list[tuple[str, int]] = field(default_factory=list)
    """Path and status of each request, in no order that matters"""

    def url(self, path: str, user: str = "") -> str:
        return f"http://{user}{self.address}{path}"

    def statuses(self) -> list[int]:
        return sorted(status for _, status in self.asked)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, state: Server, *arguments: Any) -> None:
        self.state = state
        super().__init__(*arguments)

    def do_GET(self) -> None:
        status, body = self.answer()
        self.state.asked.append((self.path, status))
        self.send_response(status)
        if status == 200 and self.state.validators:
            self.send_header("ETag", _etag(body))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self) -> tuple[int, bytes]:
        state = self.state
        if self.path in state.slow:
            time.sleep(1.5)
        if self.path in state.broken:
            return state.broken[self.path], b""
        expected = base64.b64encode((state.password or "").encode()).decode()
        if state.password and self.headers.get("Authorization") != f"Basic {expected}":
            return 401, b""
        if (body := state.files.get(self.path)) is None:
            return 404, b""
        if self.headers.get("If-None-Match") == _etag(body):
            return 304, b""
        return 200, body

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Server]:
    state = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, state)) as server:
        state.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha1(body).hexdigest()}"'
