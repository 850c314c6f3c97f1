"""A real Glance on loopback: SQLite, files, no Keystone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from registry_servers import free_port

#: Every caller is an administrator: the pipeline has no authentication
CONFIGURATION = """
[DEFAULT]
bind_host = 127.0.0.1
log_file = {directory}/glance.log
enabled_backends = local:file
enabled_import_methods = {methods}
worker_self_reference_url = http://127.0.0.1:{port}
workers = 1
[database]
connection = sqlite:///{directory}/glance.sqlite
[glance_store]
default_backend = local
[local]
filesystem_store_datadir = {directory}/images
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
[paste_deploy]
flavor =
[oslo_concurrency]
lock_path = {directory}/locks
[oslo_policy]
enforce_scope = false
"""


@dataclass(frozen=True)
class Glance:
    """A Glance that runs."""

    url: str
    directory: Path

    def clouds(self, directory: Path, **more: Any) -> dict[str, str]:
        """The environment that leads OpenStack's clients to it, as the cloud ``test``."""
        import yaml

        cloud = {"auth_type": "none", "auth": {"endpoint": self.url}, "image_endpoint_override": self.url, **more}
        path = directory / "clouds.yaml"
        path.write_text(yaml.safe_dump({"clouds": {"test": cloud}}))
        return {"OS_CLIENT_CONFIG_FILE": str(path)}

    def images(self, **filters: str) -> list[dict[str, Any]]:
        """All images, the newest first, whatever their state."""
        found: list[dict[str, Any]] = []
        path = "/v2/images"
        while path:
            answer = requests.get(f"{self.url}{path}", params=filters, timeout=30)
            answer.raise_for_status()
            found += answer.json()["images"]
            path = answer.json().get("next", "")
        return found

    def delete_all(self) -> None:
        for image in self.images():
            requests.delete(f"{self.url}/v2/images/{image['id']}", timeout=30).raise_for_status()


@contextmanager
def glance(directory: Path, methods: str = "[glance-direct,web-download]") -> Iterator[Glance]:
    """A Glance that stores below a directory.

    :param methods: the import methods that it offers; ``[]`` for none
    """
    pytest.importorskip("glance", reason="Glance is not installed")
    port = free_port()
    for name in ("images", "staging", "tasks", "locks"):
        (directory / name).mkdir(parents=True)
    configuration = directory / "glance-api.conf"
    configuration.write_text(CONFIGURATION.format(directory=directory, port=port, methods=methods))
    scripts = Path(sys.executable).parent
    migrate = [scripts / "glance-manage", "--config-file", configuration, "db_sync"]
    subprocess.run(migrate, check=True, capture_output=True)
    command = [
        *(scripts / "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1", "--threads", "8"),
        *("--timeout", "600", "--graceful-timeout", "1", "glance.wsgi.api:application"),
    ]
    environment = {**os.environ, "OS_GLANCE_CONFIG_DIR": str(directory)}
    with (directory / "gunicorn.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=directory)
        try:
            server = Glance(f"http://127.0.0.1:{port}", directory)
            wait_until_it_answers(server, process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_it_answers(server: Glance, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if requests.get(f"{server.url}/v2/images", timeout=30).ok:
                return
        except requests.ConnectionError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"Glance does not start:\n{(server.directory / 'gunicorn.log').read_text()[-3000:]}")
        time.sleep(0.2)
