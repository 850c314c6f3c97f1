"""The tar archive as a container: the seed's ``docker import - image:NAME < NAME.tar``, and podman's."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from building import Built

from diskimage_create import docker

DOCKER = Path("/usr/bin/docker")
TARGET = "image:amphora-x64-haproxy"


def output_of(*command: str | Path, stdin: Path | None = None) -> str:
    with open(stdin or os.devnull, "rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A docker daemon of our own, which touches neither the host's network nor its images; yields its address."""
    if not DOCKER.exists():
        pytest.fail("docker.io is not installed: bindep.txt lists it")
    home = tmp_path_factory.mktemp("dockerd")
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


def test_docker_import_as_the_seed_has_it(bookworm: Built, dockerd: str) -> None:
    client = [DOCKER, "-H", dockerd]
    identifier = output_of(*client, "import", "-", TARGET, stdin=bookworm.path("tar")).strip()
    assert identifier.startswith("sha256:")
    printed = output_of(*client, "run", "--rm", "--network", "none", TARGET, "haproxy", "-v")
    assert printed.startswith("HAProxy version")
    output_of(*client, "rmi", TARGET)


def test_the_type_docker_imports_into_the_daemon(
    bookworm: Built, dockerd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", dockerd)
    monkeypatch.setenv("PATH", f"/usr/bin:{os.environ['PATH']}")
    identifier = docker.import_archive(bookworm.path("tar"), "amphora:latest")
    listed = output_of(DOCKER, "-H", dockerd, "images", "--no-trunc", "--quiet", "amphora")
    assert listed.split() == [identifier]
    output_of(DOCKER, "-H", dockerd, "rmi", "amphora:latest")


@pytest.fixture
def podman() -> Iterator[list[str | Path]]:
    """podman with a storage of its own, at a path as short as it asks for."""
    with tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as home:
        storage = ("--root", f"{home}/root", "--runroot", f"{home}/run", "--storage-driver", "overlay")
        command = ["podman", *storage, "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "runc"]
        yield command
        output_of(*command, "rmi", "--all", "--force")
        subprocess.run(["umount", f"{home}/root/overlay"], capture_output=True, check=False)


def test_podman_import(bookworm: Built, podman: list[str | Path]) -> None:
    output_of(*podman, "import", bookworm.path("tar"), TARGET)
    limits = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768")
    printed = output_of(*podman, "run", "--rm", "--network", "none", *limits, "--pull=never", TARGET, "haproxy", "-v")
    assert printed.startswith("HAProxy version")
