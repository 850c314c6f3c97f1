"""A registry on loopback that counts what it is asked at once: any tag exists, but those that begin with ``no-``.

All images are the same one, with labels.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.oci.image.index.v1+json"
_IMAGE = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Counts:
    """What was asked."""

    host: str = ""
    gather: int = 1
    """Answer nothing before so many are asking at once, or ten seconds have passed"""
    seconds: float = 0
    """How long each answer takes besides"""
    asked: list[str] = field(default_factory=list)
    """Path of each request for a manifest, or for a blob"""
    labels: dict[str, str] = field(default_factory=dict)
    """Those of every image"""
    most: int = 0
    """The most requests that were there at once"""
    _now: int = 0
    _change: threading.Condition = field(default_factory=threading.Condition)

    def arrive(self, path: str) -> None:
        with self._change:
            self.asked.append(path)
            self._now += 1
            self.most = max(self.most, self._now)
            self._change.notify_all()
            self._change.wait_for(lambda: self.most >= self.gather, timeout=10)
        time.sleep(self.seconds)

    def leave(self) -> None:
        with self._change:
            self._now -= 1


def digest(path: str) -> str:
    """What is there, by its path, for all time."""
    return f"sha256:{hashlib.sha256(path.encode()).hexdigest()}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, counts: Counts, *arguments: Any) -> None:
        self.counts = counts
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self.counts.arrive(self.path)
        self.send_response(404 if self.path.rpartition("/")[2].startswith("no-") else 200)
        self.send_header("Docker-Content-Digest", digest(self.path))
        self.send_header("Content-Type", MANIFEST)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.counts.leave()

    def do_GET(self) -> None:
        self.counts.arrive(self.path)
        configuration = json.dumps({"config": {"Labels": self.counts.labels}}).encode()
        blob = {"digest": f"sha256:{hashlib.sha256(configuration).hexdigest()}", "size": len(configuration)}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": _IMAGE, "config": blob, "layers": []}).encode()
        tags = json.dumps({"name": "any", "tags": ["such"]}).encode()
        kind, content = ("application/json", tags) if self.path.endswith("/tags/list") else (_IMAGE, manifest)
        kind, content = ("application/octet-stream", configuration) if "/blobs/" in self.path else (kind, content)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.counts.leave()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@contextmanager
def counting_registry() -> Iterator[Counts]:
    """The registry, while it runs."""
    counts = Counts()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, counts))
    server.daemon_threads = True
    counts.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield counts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
