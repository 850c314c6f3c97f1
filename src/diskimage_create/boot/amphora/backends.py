"""Two web servers on loopback, for a load balancer to balance between. Each knows who asked it what."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from diskimage_create.boot.qemu import LOOPBACK

#: Where the load balancer looks whether a server is alive; such requests are not counted
HEALTH = "/health"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print no traceback: a client that went away, as all do when the machine is stopped, is none of ours."""


class Backend:
    """A web server that answers everything with its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[str] = []
        """Paths of the requests, health checks left out"""
        self._server = _Server((LOOPBACK, 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """End it: whoever asks it now is refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def two_backends() -> Iterator[tuple[Backend, Backend]]:
    """Two servers as long as the block runs."""
    with ExitStack() as stack:
        both = Backend("one"), Backend("two")
        for each in both:
            stack.callback(each.stop)
        yield both


def _handler(backend: Backend) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != HEALTH:
                backend.asked.append(self.path)
            body = backend.name.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
