"""Images in docker and podman, with what they say of themselves; each engine is asked by its own client."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from container_engines import docker_daemon, output_of, podman_storage

from diskimage_create import cli, engines
from diskimage_create.engines import Engine
from diskimage_create.errors import HostError
from diskimage_create.publish import Options, Receipt, Status, destinations, publish, source
from diskimage_create.registries import Access
from publishing import disk_image, file_image, tar_image
from registry_servers import registry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="daemons, storages and mounts of a test are root's")
#: More than what this machine may give away is no limit for a container
LIMITS = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768")


@pytest.fixture(scope="module")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_daemon(tmp_path_factory.mktemp("dockerd")) as address:
        yield address


@pytest.fixture(scope="module")
def storage() -> Iterator[dict[str, str]]:
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    with podman_storage() as environment:
        yield environment


@pytest.fixture(params=list(Engine))
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    chosen: Engine = request.param
    if chosen is Engine.DOCKER:
        monkeypatch.setenv("DOCKER_HOST", request.getfixturevalue("dockerd"))
        monkeypatch.setenv("PATH", f"/usr/bin:{os.environ['PATH']}")
    else:
        for name, value in request.getfixturevalue("storage").items():
            monkeypatch.setenv(name, value)
    return chosen


@pytest.fixture
def name() -> str:
    return f"image:{os.urandom(4).hex()}"


def to(place: str, image: Path, **options: Any) -> Receipt:
    (receipt,) = publish(source.read(image), destinations.parse([place]), Options(**options))
    return receipt


def inspected(engine: Engine, name: str) -> dict[str, Any]:
    (image,) = json.loads(output_of(str(engine), "image", "inspect", name))
    found: dict[str, Any] = image
    return found


@pytest.mark.parametrize("kind", ["tar", "tgz", "qcow2", "raw", "vhd", "squashfs"])
def test_an_image_of_any_type_runs(engine, tmp_path, name, kind):
    make = tar_image if kind in ("tar", "tgz") else disk_image
    receipt = to(f"{engine}:{name}", make(tmp_path / f"amphora.{kind}"))
    assert (receipt.status, receipt.reference) == (Status.PUBLISHED, name)
    assert inspected(engine, name)["Id"].removeprefix("sha256:") == str(receipt.digest).removeprefix("sha256:")
    more = () if engine is Engine.DOCKER else LIMITS
    run = (str(engine), "run", "--rm", "--network", "none", "--pull=never", *more)
    assert "ldconfig" in output_of(*run, name, "/bin/program", "--version")


def test_it_says_what_it_is(engine, tmp_path, name):
    image = tar_image(tmp_path / "amphora.tar")
    to(f"{engine}:{name}", image)
    said = inspected(engine, name)
    assert said["Architecture"] == "amd64"
    assert said["Config"]["Cmd"] == ["/bin/sh"]
    assert said["Config"]["Labels"] == source.read(image).labels


def test_labels_arrive_as_they_are(engine, tmp_path, name):
    image = tar_image(tmp_path / "amphora.tar")
    labels = {"plain": "x", "odd": 'a "b" $c \\d ${e} =f #g é', "a.b/c": "'"}
    engines.import_archive(image, name, labels, "amd64", engine)
    assert inspected(engine, name)["Config"]["Labels"] == labels


def test_what_is_there_is_not_imported_again(engine, tmp_path, name):
    image = tar_image(tmp_path / "amphora.tar")
    first = to(f"{engine}:{name}", image)
    again = to(f"{engine}:{name}", image)
    assert (again.status, again.digest, again.bytes) == (Status.PRESENT, first.digest, 0)


def test_another_image_keeps_its_name_unless_forced(engine, tmp_path, name):
    images = [tar_image(tmp_path / f"{mark}.tar", mark) for mark in ("one", "two")]
    first = to(f"{engine}:{name}", images[0])
    refused = to(f"{engine}:{name}", images[1])
    assert (refused.status, inspected(engine, name)["Id"][-12:]) == (Status.FAILED, str(first.digest)[-12:])
    assert "--force" in str(refused.hint)
    forced = to(f"{engine}:{name}", images[1], force=True)
    assert inspected(engine, name)["Id"][-12:] == str(forced.digest)[-12:] != str(first.digest)[-12:]


def test_podman_keeps_the_architecture_of_another_machine(storage, monkeypatch, tmp_path, name):
    for variable, value in storage.items():
        monkeypatch.setenv(variable, value)
    to(f"podman:{name}", tar_image(tmp_path / "amphora.tar", arch="aarch64"))
    assert inspected(Engine.PODMAN, name)["Architecture"] == "arm64"


def test_a_killed_publish_is_complete_after_the_next(engine, tmp_path, name):
    image = disk_image(tmp_path / "amphora.qcow2")
    command = [Path(sys.executable).with_name("diskimage-create"), "publish", image]
    began = time.monotonic()
    output_of(*command, f"{engine}:{name}-whole")
    whole = time.monotonic() - began
    for number in range(4):
        place = f"{engine}:{name}-{number}"
        with subprocess.Popen([*command, place], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
            try:
                child.wait(whole * (0.4 + 0.2 * number))
            except subprocess.TimeoutExpired:
                child.kill()
        assert to(place, image).status is not Status.FAILED
        assert inspected(engine, f"{name}-{number}")["Config"]["Labels"] == source.read(image).labels
        run = (str(engine), "run", "--rm", "--network", "none", "--pull=never")
        more = () if engine is Engine.DOCKER else LIMITS
        assert "ldconfig" in output_of(*run, *more, f"{name}-{number}", "/bin/program", "--version")


def test_a_daemon_that_does_not_run_is_said(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    assert cli.main(["publish", str(tar_image(tmp_path / "amphora.tar")), "docker:image:x"]) == 6
    err = capfd.readouterr().err
    assert "(docker:image:x)" in err
    assert "'docker version' tells" in err


def test_a_missing_engine_is_said_before_anything_is_published(tmp_path, monkeypatch):
    image = file_image(tmp_path / "amphora.tar", b"an archive")
    monkeypatch.setattr("diskimage_create.process.which", lambda name: None if name == "podman" else f"/usr/bin/{name}")
    with registry(tmp_path / "registry") as server:
        access = Access(insecure=frozenset({server.host}))
        places = destinations.parse([f"oci://{server.host}/a:t", "podman:x:y"])
        with pytest.raises(HostError, match="podman is not installed"):
            publish(source.read(image), places, Options(access=access))
        assert server.digest("a", "t") is None


def test_podman_pulls_and_runs_what_a_registry_got(storage, monkeypatch, tmp_path, name):
    for variable, value in storage.items():
        monkeypatch.setenv(variable, value)
    image = disk_image(tmp_path / "amphora.qcow2")
    with registry(tmp_path / "registry") as server:
        for compression in ("gzip", "zstd"):
            place = f"oci://{server.host}/image:{compression}"
            options = ("--insecure-registry", server.host, "--as", "image", "--compression", compression)
            assert cli.main(["publish", *options, str(image), place]) == 0
            pulled = output_of("podman", "pull", "--quiet", "--tls-verify=false", place.removeprefix("oci://")).strip()
            run = ("podman", "run", "--rm", "--network", "none", "--pull=never", *LIMITS)
            assert "ldconfig" in output_of(*run, pulled, "/bin/program", "--version")
            assert inspected(Engine.PODMAN, pulled)["Labels"] == source.read(image).labels
