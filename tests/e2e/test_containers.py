"""The tar archive as a container: the seed's ``docker import - image:NAME < NAME.tar``, and podman's."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from building import Built
from container_engines import DOCKER, docker_daemon, output_of, podman_storage

from diskimage_create import engines

TARGET = "image:amphora-x64-haproxy"
#: More than what this machine may give away is no limit for a container
LIMITS = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768")


@pytest.fixture(scope="module")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_daemon(tmp_path_factory.mktemp("dockerd")) as address:
        yield address


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
    identifier = engines.import_archive(bookworm.path("tar"), "amphora:latest")
    listed = output_of(DOCKER, "-H", dockerd, "images", "--no-trunc", "--quiet", "amphora")
    assert listed.split() == [identifier]
    output_of(DOCKER, "-H", dockerd, "rmi", "amphora:latest")


def test_podman_import(bookworm: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    with podman_storage() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        output_of("podman", "import", bookworm.path("tar"), TARGET)
        run = ("podman", "run", "--rm", "--network", "none", *LIMITS, "--pull=never")
        printed = output_of(*run, TARGET, "haproxy", "-v")
    assert printed.startswith("HAProxy version")
