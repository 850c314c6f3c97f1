"""A real Glance on loopback: SQLite, files, and tokens that need no Keystone (``glance_app.py``)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from registry_servers import free_port

CONFIGURATION = """
[DEFAULT]
log_file = {directory}/glance.log
enabled_backends = local:file
enabled_import_methods = {methods}
worker_self_reference_url = http://127.0.0.1:{port}
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
config_file = {directory}/paste.ini
[oslo_concurrency]
lock_path = {directory}/locks
"""
PASTE = """
[pipeline:glance-api]
pipeline = negotiation context root
[composite:root]
paste.composite_factory = glance.api:root_app_factory
/: versions
/v2: api
[app:versions]
paste.app_factory = glance.api.versions:create_resource
[app:api]
paste.app_factory = glance.api.v2.router:API.factory
[filter:negotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory
[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
"""
#: A user of a project, who is no administrator
MEMBER = "a-project:member,reader"


class Glance:
    """A Glance that runs."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.directory = directory
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["X-Auth-Token"] = MEMBER

    def clouds(self, directory: Path, token: str = MEMBER, **more: Any) -> dict[str, str]:
        """The environment that leads OpenStack's clients to it, as the cloud ``test``."""
        auth = {"endpoint": self.url, "token": token}
        cloud = {"auth_type": "admin_token", "auth": auth, "image_endpoint_override": self.url, **more}
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "clouds.yaml"
        path.write_text(yaml.safe_dump({"clouds": {"test": cloud}}))
        return {"OS_CLIENT_CONFIG_FILE": str(path), "OS_CLOUD": "test", "NO_PROXY": "127.0.0.1"}

    def request(self, method: str, path: str, **more: Any) -> requests.Response:
        """Ask it something; it has to agree."""
        answer = self.session.request(method, f"{self.url}/v2/{path}", timeout=60, **more)
        answer.raise_for_status()
        return answer

    def images(self, **filters: str) -> list[dict[str, Any]]:
        """All images, the newest first, whatever their state."""
        found: list[dict[str, Any]] = self.request("GET", "images", params={"limit": "1000", **filters}).json()[
            "images"
        ]
        return found

    def create(self, content: bytes | None = None, **attributes: Any) -> dict[str, Any]:
        """An image that somebody else made; without content it stays queued."""
        body = {"disk_format": "qcow2", "container_format": "bare", **attributes}
        made: dict[str, Any] = self.request("POST", "images", json=body).json()
        if content is not None:
            headers = {"Content-Type": "application/octet-stream"}
            self.request("PUT", f"images/{made['id']}/file", data=content, headers=headers)
        return made

    def clear(self) -> None:
        """Remove all images."""
        for image in self.images():
            if image["protected"]:
                change = [{"op": "replace", "path": "/protected", "value": False}]
                headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
                self.session.patch(f"{self.url}/v2/images/{image['id']}", json=change, headers=headers, timeout=60)
            self.request("DELETE", f"images/{image['id']}")


@contextmanager
def glance(directory: Path, methods: str = "[glance-direct,web-download]") -> Iterator[Glance]:
    """A Glance that stores below a directory. It does one thing at a time: SQLite refuses writers beside each other.

    :param methods: the import methods that it offers; ``[]`` for none
    """
    pytest.importorskip("glance", reason="Glance is not installed")
    port = free_port()
    for name in ("images", "staging", "tasks", "locks"):
        (directory / name).mkdir(parents=True)
    configuration = directory / "glance-api.conf"
    configuration.write_text(CONFIGURATION.format(directory=directory, port=port, methods=methods))
    (directory / "paste.ini").write_text(PASTE)
    scripts = Path(sys.executable).parent
    migrate = [scripts / "glance-manage", "--config-file", configuration, "db_sync"]
    subprocess.run(migrate, check=True, capture_output=True)
    command = [
        *(scripts / "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1", "--threads", "1"),
        *("--timeout", "600", "--graceful-timeout", "1", "--no-control-socket", "glance_app:application"),
    ]
    environment = {**os.environ, "OS_GLANCE_CONFIG_DIR": str(directory), "PYTHONPATH": str(Path(__file__).parent)}
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
    """Until it lists images."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            server.images()
            return
        except requests.ConnectionError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"Glance does not start:\n{(server.directory / 'gunicorn.log').read_text()[-3000:]}")
        time.sleep(0.2)
