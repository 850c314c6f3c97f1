"""``container image hotfix``, ``push`` and ``list``, with a storage that stands in for the host's."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from building import COMMAND
from image_bases import Storage, make_package, make_rpm, output_of

from registry_servers import Server, certificate, free_port, registry, running, wait_until_it_answers


def cli(storage: Storage, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **storage.environment, "LC_ALL": "C.UTF-8"}
    command = [*COMMAND, "container", "image", *map(str, arguments)]
    return subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory, host_images: Storage) -> Path:
    """Directories of packages: newer ones, and older ones than those of the images."""
    work = tmp_path_factory.mktemp("packages")
    for name, version in (("newer", "2.0"), ("older", "0.9")):
        (work / name).mkdir()
        make_package(work / name, "thing", f"{version}-1")
        make_rpm(work / name, "thing", version, "1")
    return work


@pytest.fixture(autouse=True)
def no_container_is_left(host_images: Storage) -> Iterator[None]:
    yield
    assert host_images.containers == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def hotfixed(host_images: Storage, packages: Path) -> list[str]:
    """Both images with a hotfix; their names."""
    images = ("--image", "localhost/rpm:1", "--image", "localhost/deb:1")
    paths = ("--rpms-path", packages / "newer", "--debs-path", packages / "newer")
    done = cli(host_images, "hotfix", *images, *paths, "--tag", "fix1")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_images_get_a_layer_and_a_tag(host_images: Storage, hotfixed: list[str]) -> None:
    assert hotfixed == ["localhost/rpm:1-fix1", "localhost/deb:1-fix1"]
    assert set(hotfixed) <= set(host_images.images)
    for name in hotfixed:
        made, base = map(host_images.inspect, (name, name.removesuffix("-fix1")))
        assert made["OCIv1"]["config"]["User"] == "nobody"
        assert made["OCIv1"]["config"]["Labels"]["modified_append_tag"] == "-fix1"
        layers = base["OCIv1"]["rootfs"]["diff_ids"]
        assert made["OCIv1"]["rootfs"]["diff_ids"][:-1] == layers


def test_the_version_in_it_is_the_one_delivered(host_images: Storage, hotfixed: list[str]) -> None:
    assert host_images.run(hotfixed[0], "rpm", "-q", "thing").strip() == "thing-2.0-1.noarch"
    assert host_images.run(hotfixed[1], "dpkg-query", "-W", "thing").split() == ["thing", "2.0-1"]


def test_a_hotfix_can_be_made_again(host_images: Storage, hotfixed: list[str], packages: Path) -> None:
    before = host_images.images
    done = cli(host_images, "hotfix", "--image", "localhost/rpm:1", "--rpms-path", packages / "newer", "--tag", "fix1")
    assert done.returncode == 0, done.stderr
    assert host_images.images == before


@pytest.mark.parametrize(
    ("image", "option", "told"),
    [
        ("localhost/rpm:1", "--rpms-path", "thing-1.0-1.noarch (which is newer than thing-0.9-1.noarch)"),
        ("localhost/deb:1", "--debs-path", "thing.all 0.9-1 was delivered, and the image has 1.0-1"),
        ("localhost/deb:1", "--rpms-path", "it is made of deb packages, and there is no debs_path"),
    ],
)
def test_another_version_is_an_error_and_leaves_no_image(
    host_images: Storage, packages: Path, image: str, option: str, told: str
) -> None:
    before = host_images.images
    done = cli(host_images, "hotfix", "--image", image, option, packages / "older", "--tag", "old")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"error: {image}: " in done.stderr
    assert told in done.stderr
    assert host_images.images == before


def test_what_cannot_be_made_stops_no_other(host_images: Storage, packages: Path) -> None:
    images = ("--image", "localhost/deb:1", "--image", "localhost/rpm:1")
    done = cli(host_images, "hotfix", *images, "--rpms-path", packages / "newer", "--tag", "some")
    assert (done.returncode, done.stdout) == (4, "localhost/rpm:1-some\n")
    host_images.buildah("rmi", "localhost/rpm:1-some")


def test_images_that_are_nowhere_are_all_named_before_anything_is_made(
    host_images: Storage, packages: Path, server: Server
) -> None:
    before = host_images.images
    names = ("localhost/rpm:1", "localhost/gone:1", f"{server.host}/gone:2")
    images = (part for name in names for part in ("--image", name))
    insecure = ("--insecure-registry", server.host)
    done = cli(host_images, "hotfix", *images, "--rpms-path", packages / "newer", *insecure)
    assert (done.returncode, done.stdout) == (2, "")
    assert all(f"there is no image {name}" in done.stderr for name in names[1:])
    assert host_images.images == before


@pytest.fixture(scope="module")
def pushed(host_images: Storage, hotfixed: list[str], server: Server) -> str:
    """A hotfix in a registry, as the document has it: no option says that it has no TLS."""
    done = cli(host_images, "push", "--local", "--registry-url", server.host, hotfixed[0])
    assert done.returncode == 0, done.stderr
    assert f"{server.host} has no TLS" in done.stderr
    return done.stdout.strip()


def test_a_local_image_is_pushed_and_nodes_can_run_it(pushed: str, server: Server, tmp_path: Path) -> None:
    assert pushed == f"{server.host}/rpm:1-fix1"
    node = Storage(tmp_path / "node")
    assert node.run(node.pull(pushed), "rpm", "-q", "thing").strip() == "thing-2.0-1.noarch"


def test_an_image_of_a_registry_is_pushed_with_its_digest(
    host_images: Storage, pushed: str, server: Server, tmp_path: Path
) -> None:
    server.push_index("tripleo/multi", "1", ["amd64", "arm64"])
    digest = server.digest("tripleo/multi", "1")
    options = ("--insecure-registry", server.host, "--registry-url", f"{server.host}/copies", "--append-tag", "-x")
    done = cli(host_images, "push", *options, f"{server.host}/tripleo/multi:1")
    assert (done.returncode, done.stdout) == (0, f"{server.host}/copies/tripleo/multi:1-x\n"), done.stderr
    assert server.digest("copies/tripleo/multi", "1-x") == digest


def test_what_is_in_a_registry_is_listed(host_images: Storage, pushed: str, server: Server) -> None:
    server.push("tripleo/listed", "b")
    server.push("tripleo/listed", "a")
    done = cli(host_images, "list", "--registry", server.host)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines == sorted(lines)
    assert {pushed, f"{server.host}/tripleo/listed:a", f"{server.host}/tripleo/listed:b"} <= set(lines)
    listed = json.loads(cli(host_images, "list", "--registry", server.host, "--format", "json").stdout)
    assert listed["registry"] == server.host
    assert {"repository": "tripleo/listed", "tags": ["a", "b"]} in listed["images"]


def test_an_image_that_is_not_there_is_not_pushed(host_images: Storage, server: Server) -> None:
    done = cli(host_images, "push", "--local", "--registry-url", server.host, "localhost/gone:1")
    assert done.returncode == 2
    assert "there is no image localhost/gone:1 on this host" in done.stderr
    gone = f"{server.host}/gone:1"
    done = cli(host_images, "push", "--insecure-registry", server.host, "--registry-url", f"{server.host}/copies", gone)
    assert done.returncode == 6
    assert f"error: {gone}: the registry has no such image\nhint: check the name and the tag\n" in done.stderr


def test_a_certificate_that_nobody_knows_is_told_by_us_alone(host_images: Storage, tmp_path: Path) -> None:
    with registry(tmp_path, certificate(tmp_path / "tls")) as secure:
        done = cli(host_images, "list", "--registry", secure.host)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith(f"error: {secure.host}: the registry's certificate is not accepted")


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Server]:
    """A registry that wants a password; by HTTP, which a test on loopback can do with."""
    users = tmp_path / "htpasswd"
    users.write_text(output_of("htpasswd", "-Bbn", "operator", "s3cret-word"))
    port = free_port()
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "data")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of a test"},
        "auth": {"htpasswd": {"realm": "test", "path": str(users)}},
    }
    with running(tmp_path, settings) as log, requests.Session() as session:
        session.trust_env, session.auth = False, ("operator", "s3cret-word")
        started = Server(f"127.0.0.1:{port}", log, session)
        wait_until_it_answers(started)
        yield started


def test_a_password_is_read_and_shown_nowhere(host_images: Storage, hotfixed: list[str], locked: Server) -> None:
    options = ("--local", "--registry-url", locked.host, "--insecure-registry", locked.host, "--username", "operator")
    done = cli(host_images, "push", *options, "--password", "-", hotfixed[0], stdin="s3cret-word\n")
    assert done.returncode == 0, done.stderr
    assert locked.digest("rpm", "1-fix1")
    wrong = cli(host_images, "push", *options, "--password", "-", hotfixed[0], stdin="other-word\n")
    assert wrong.returncode == 6
    assert "other-word" not in wrong.stdout + wrong.stderr
    refused = cli(host_images, "push", *options, "--password", "s3cret-word", hotfixed[0])
    assert refused.returncode == 2
    assert "s3cret-word" not in refused.stdout + refused.stderr
