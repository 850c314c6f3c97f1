"""A docker daemon and a podman of our own, which touch neither the host's network nor its images."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DOCKER = Path("/usr/bin/docker")


def output_of(*command: str | Path, stdin: Path | None = None) -> str:
    with open(stdin or os.devnull, "rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def docker_daemon(home: Path) -> Iterator[str]:
    """A daemon; its address."""
    if not DOCKER.exists():
        pytest.fail("docker.io is not installed: bindep.txt lists it")
    (home / "daemon.json").write_text("{}")
    address = f"unix://{home}/s.sock"
    off = ("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")
    places = ("--config-file", home / "daemon.json", "--data-root", home / "data", "--exec-root", home / "exec")
    command = ["dockerd", *places, "--pidfile", home / "pid", "-H", address, *off, "--userland-proxy=false"]
    with (home / "log").open("w") as log:
        daemon = subprocess.Popen([*command, "--storage-driver", "overlay2"], stdout=log, stderr=log)
    try:
        for _ in range(300):
            if subprocess.run([DOCKER, "-H", address, "version"], capture_output=True, check=False).returncode == 0:
                break
            assert daemon.poll() is None, (home / "log").read_text()[-3000:]
            time.sleep(0.1)
        yield address
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)
        subprocess.run(["umount", home / "exec/netns/default"], capture_output=True, check=False)


@contextmanager
def podman_storage() -> Iterator[dict[str, str]]:
    """A storage for podman of its own, at a path as short as it asks for; the variables that lead there."""
    with tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as home:
        storage, engine = Path(home, "storage.conf"), Path(home, "containers.conf")
        storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{home}/root"\nrunroot = "{home}/run"\n')
        engine.write_text(
            f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\ntmp_dir = "{home}/tmp"\n'
        )
        environment = {"CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(engine)}
        try:
            yield environment
        finally:
            remove = ["podman", "rmi", "--all", "--force"]
            subprocess.run(remove, env={**os.environ, **environment}, capture_output=True, check=False)
            subprocess.run(["umount", f"{home}/root/overlay"], capture_output=True, check=False)
