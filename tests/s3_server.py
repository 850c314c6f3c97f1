"""An S3 server on loopback."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from registry_servers import free_port


@dataclass(frozen=True)
class S3:
    """A server that runs."""

    url: str

    def environment(self) -> dict[str, str]:
        """What leads the clients of S3 to it."""
        return {
            **{"AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
            **{"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"},
        }

    def request(self, method: str, path: str) -> requests.Response:
        """Ask it something; it has to agree."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, f"{self.url}/{path}", timeout=60)
            answer.raise_for_status()
            return answer


@contextmanager
def s3(directory: Path) -> Iterator[S3]:
    """An S3 server that keeps everything in its memory."""
    pytest.importorskip("moto", reason="moto is not installed")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (directory / "moto.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            server = S3(f"http://127.0.0.1:{port}")
            deadline = time.monotonic() + 120
            while True:
                try:
                    server.request("GET", "moto-api/")
                    break
                except requests.ConnectionError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        pytest.fail(f"the S3 server does not start:\n{(directory / 'moto.log').read_text()[-3000:]}")
                time.sleep(0.1)
            yield server
        finally:
            process.kill()
            process.wait()
