"""Publishing to a real Glance: what it is told, rotation, and kills between any two requests."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest

import publishable
from diskimage_create.errors import InputError, RemoteError
from diskimage_create.publish import Options, Receipt, Status
from diskimage_create.publish.glance import describe, parse
from diskimage_create.publish.model import Glance as Settings
from diskimage_create.publish.source import Source
from diskimage_create.publish.source import beside as source_beside
from forking import ended, forked
from glance_server import Glance, glance

pytest.importorskip("openstack", reason="openstacksdk is not installed")

DESTINATION = parse("glance:amphora-x64-haproxy")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """It takes images as they are uploaded."""
    with glance(tmp_path_factory.mktemp("plain"), methods="[]") as running:
        yield running


@pytest.fixture(scope="module")
def importing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """It imports images after they are uploaded."""
    with glance(tmp_path_factory.mktemp("importing")) as running:
        yield running


@pytest.fixture(params=["plain"])
def cloud(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Glance:
    """An empty Glance, as the cloud that the environment names."""
    server: Glance = request.getfixturevalue(request.param)
    server.clear()
    for name, value in server.clouds(tmp_path / "clouds").items():
        monkeypatch.setenv(name, value)
    return server


both = pytest.mark.parametrize("cloud", ["plain", "importing"], indirect=True)
_numbers = itertools.count()


def first_id() -> str:
    """An identifier that comes before ours: images of one second are ordered by it."""
    return f"00000000-0000-4000-8000-{next(_numbers):012}"


def publish(source: Source, **more: Any) -> Receipt:
    options = Options(**more)
    DESTINATION.require(source, options)
    return DESTINATION.publish(source, options)


def tagged(cloud: Glance) -> list[str]:
    return [image["id"] for image in cloud.images(tag="amphora")]


@both
def test_what_glance_is_told(cloud: Glance, tmp_path: Path) -> None:
    source = publishable.read(tmp_path)
    seen: list[tuple[str, int, int]] = []
    settings = Settings(properties={"hw_rng_model": "virtio", "min_ram": "1024"}, visibility="private")
    receipt = publish(source, glance=settings, progress=lambda *step: seen.append(step))
    assert (receipt.status, receipt.bytes, receipt.message) == (Status.PUBLISHED, source.bytes, "tagged amphora")
    assert seen[-1] == ("glance:amphora-x64-haproxy", source.bytes, source.bytes)
    (image,) = cloud.images()
    expected = {
        **{"id": receipt.reference, "name": "amphora-x64-haproxy", "status": "active", "tags": ["amphora"]},
        **{"disk_format": "qcow2", "container_format": "bare", "visibility": "private", "size": source.bytes},
        **{"hw_architecture": "x86_64", "os_distro": "debian", "os_version": "13", "os_type": "linux"},
        **{"hw_disk_bus": "virtio", "hw_firmware_type": "bios", "hw_rng_model": "virtio"},
        **{"min_disk": 5, "min_ram": 1024, describe.SHA256: source.sha256},
    }
    assert {name: image.get(name) for name in expected} == expected
    assert describe.PUBLISHER not in image
    assert cloud.request("GET", f"images/{image['id']}/file").content == source.path.read_bytes()


def test_the_fields_own_client_reads_it(cloud: Glance, tmp_path: Path) -> None:
    receipt = publish(publishable.read(tmp_path))
    command = [Path(sys.executable).parent / "openstack", "image", "list", "--tag", "amphora", "--format", "json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout) == [{"ID": receipt.reference, "Name": "amphora-x64-haproxy", "Status": "active"}]


def test_nothing_is_sent_twice(cloud: Glance, tmp_path: Path) -> None:
    source = publishable.read(tmp_path)
    first = publish(source)
    again = publish(source, glance=Settings(properties={"hw_rng_model": "virtio"}))
    assert (again.status, again.bytes, again.reference) == (Status.PRESENT, 0, first.reference)
    (image,) = cloud.images()
    assert image["hw_rng_model"] == "virtio"


def test_rotation(cloud: Glance, tmp_path: Path) -> None:
    foreign = cloud.create(b"other", id=first_id(), name="another", tags=["amphora"], disk_format="raw")
    arm = cloud.create(b"arm", name="arm", tags=["amphora"], disk_format="raw", hw_architecture="aarch64")
    made = [publish(publishable.read(tmp_path / str(seed), seed), keep_last=2).reference for seed in range(4)]
    images = {image["id"]: image for image in cloud.images()}
    assert set(images) == {foreign["id"], arm["id"], *made[2:]}
    assert set(tagged(cloud)) == {made[3], arm["id"]}


def test_an_older_image_does_not_take_the_tag_back(cloud: Glance, tmp_path: Path) -> None:
    old, new = (publishable.read(tmp_path / str(seed), seed) for seed in range(2))
    publish(old)
    newer = publish(new).reference
    again = publish(old)
    assert (again.status, again.message) == (Status.PRESENT, f"a newer image, {newer}, has the tag")
    assert tagged(cloud) == [newer]
    forced = publish(old, force=True)
    assert forced.status is Status.PUBLISHED
    assert tagged(cloud) == [forced.reference]
    assert {image["id"] for image in cloud.images()} == {newer, forced.reference}


class Users(BaseHTTPRequestHandler):
    """Stands for Nova and Octavia, which are much to run for two questions."""

    used: dict[str, str]
    status = 200

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = parse_qs(query)
        key = path.rpartition("/")[2]
        (image,) = asked.get("image") or asked.get("image_id") or [""]
        status = 403 if "all_tenants" in asked else self.status
        said: object = {key: [{"id": "x"}] if self.used.get(key) == image else []}
        if not image:  # what versions there are
            link = {"rel": "self", "href": f"http://{self.headers['Host']}/v2/"}
            status, said = 200, {"versions": [{"id": "v2.1", "status": "CURRENT", "version": "", "links": [link]}]}
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Not on the test's output."""


@pytest.mark.parametrize(("service", "key"), [("compute", "servers"), ("load_balancer", "amphorae")])
@pytest.mark.parametrize("status", [200, 503])
def test_what_is_in_use_stays(
    cloud: Glance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str, key: str, status: int
) -> None:
    unused = publish(publishable.read(tmp_path / "0", 0)).reference
    used = publish(publishable.read(tmp_path / "1", 1)).reference or ""
    handler = type("Handler", (Users,), {"used": {key: used}, "status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as stub:
        Thread(target=stub.serve_forever, daemon=True).start()
        override = {f"{service}_endpoint_override": f"http://127.0.0.1:{stub.server_port}"}
        for name, value in cloud.clouds(tmp_path / "users", **override).items():
            monkeypatch.setenv(name, value)
        newest = publish(publishable.read(tmp_path / "2", 2), keep_last=1).reference
        stub.shutdown()
    expected = {newest, used} if status == 200 else {newest, used, unused}
    assert {image["id"] for image in cloud.images()} == expected


def test_what_is_protected_stays(cloud: Glance, tmp_path: Path) -> None:
    first = publish(publishable.read(tmp_path / "a", 1)).reference
    change = [{"op": "replace", "path": "/protected", "value": True}]
    headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    cloud.request("PATCH", f"images/{first}", json=change, headers=headers)
    said: list[str] = []
    second = publish(publishable.read(tmp_path / "b", 2), keep_last=1, say=said.append).reference
    assert said == [f"Glance: the older image {first} stays: it is in use, or protected"]
    assert {image["id"] for image in cloud.images()} == {first, second}
    assert tagged(cloud) == [second]


@pytest.mark.parametrize("cloud", ["importing"], indirect=True)
def test_an_image_that_glance_finds_wrong_leaves_nothing(cloud: Glance, tmp_path: Path) -> None:
    source = publishable.read(tmp_path)
    older = publish(source).reference
    record = {**source.record, "image": {**source.record["image"], "types": ["vhd"]}}
    with pytest.raises(RemoteError, match="could not import") as raised:
        publish(replace(publishable.read(tmp_path / "b", 2), record=record, type="vhd"))
    assert raised.value.exit_code == 6
    assert [image["id"] for image in cloud.images()] == tagged(cloud) == [older]


def test_a_damaged_image_is_uploaded_again(cloud: Glance, tmp_path: Path) -> None:
    source = publishable.read(tmp_path)
    liar = {describe.SHA256: source.sha256, "hw_architecture": "x86_64", "tags": ["amphora"]}
    damaged = cloud.create(b"damaged", name="amphora-x64-haproxy", disk_format="raw", id=first_id(), **liar)
    receipt = publish(source)
    assert receipt.status is Status.PUBLISHED
    assert receipt.reference != damaged["id"]
    assert [image["id"] for image in cloud.images()] == tagged(cloud) == [receipt.reference]


@both
def test_an_image_that_is_not_the_one_of_its_record_leaves_nothing(cloud: Glance, tmp_path: Path) -> None:
    older = publish(publishable.read(tmp_path)).reference
    source = publishable.read(tmp_path / "b", 2, kilobytes=3000)
    with source.path.open("r+b") as file:
        file.seek(-500_000, os.SEEK_END)
        file.write(b"\0\0\0\0")
    with pytest.raises(InputError, match="not the image that its record is of"):
        publish(source_beside(source))
    assert [image["id"] for image in cloud.images()] == tagged(cloud) == [older]


def test_wrong_credentials(cloud: Glance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = publishable.read(tmp_path)
    for name, value in cloud.clouds(tmp_path / "wrong", token="s3cret").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RemoteError, match="401") as raised:
        publish(source)
    assert "s3cret" not in f"{raised.value} {raised.value.hint}"


def test_nobody_answers(cloud: Glance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = publishable.read(tmp_path)
    for name, value in cloud.clouds(tmp_path / "down", image_endpoint_override="http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RemoteError, match="cannot be reached"):
        publish(source)


def test_an_unknown_cloud(cloud: Glance, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no-such-cloud"):
        publish(publishable.read(tmp_path), glance=Settings(cloud="no-such-cloud"))


def killed_after(change: int) -> None:
    """Let this process die when its nth request that changes something has been answered."""
    from requests import Session

    send, seen = Session.send, 0

    def dying(self: Any, request: Any, **more: Any) -> Any:
        nonlocal seen
        answer = send(self, request, **more)
        seen += request.method != "GET"
        if seen == change:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    Session.send = dying  # type: ignore[method-assign]


def assert_complete(cloud: Glance, source: Source, receipt: Receipt, older: str) -> None:
    """The new image alone has the tag, and nothing is left of what was killed."""
    assert tagged(cloud) == [receipt.reference]
    images = {image["id"]: image for image in cloud.images()}
    assert set(images) <= {receipt.reference, older}
    assert all(image["status"] == "active" for image in images.values())
    assert receipt.reference in images
    assert images[receipt.reference][describe.SHA256] == source.sha256


@both
def test_killed_between_any_two_steps(cloud: Glance, tmp_path: Path) -> None:
    """There is always a usable image with the tag, and the next run completes what was begun."""
    older = publishable.read(tmp_path / "older", 1)
    source = publishable.read(tmp_path / "newer", 2)
    status, change = -signal.SIGKILL, 0
    while status == -signal.SIGKILL:
        change += 1
        cloud.clear()
        publish(older)

        def killed(change: int = change) -> None:
            killed_after(change)
            publish(source, keep_last=1)

        status = ended(forked(killed))
        assert "active" in [image["status"] for image in cloud.images(tag="amphora")], f"killed after change {change}"
        assert_complete(cloud, source, publish(source, keep_last=1), older="")
    assert status == 0
    assert change > 6  # create, send, complete, tag, untag, remove; and the run that was not killed


def campaign(cloud: Glance, work: Path, times: int, randomly: random.Random) -> None:
    """Kill publishers at random moments, and publish again."""
    older = publishable.read(work / "older", 1)
    source = publishable.read(work / "newer", 2, kilobytes=8000)
    first = publish(older).reference
    assert first
    started = time.monotonic()
    publish(source)
    usual = time.monotonic() - started
    for _ in range(times):
        cloud.clear()
        first = publish(older).reference or ""
        pid = forked(lambda: publish(source))
        time.sleep(randomly.uniform(0, usual))
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        assert "active" in [image["status"] for image in cloud.images(tag="amphora")]
        assert_complete(cloud, source, publish(source), first)


def test_killed_at_random_moments(cloud: Glance, tmp_path: Path) -> None:
    campaign(cloud, tmp_path, 4, random.Random(8))


@pytest.mark.full
def test_fifty_kills(cloud: Glance, tmp_path: Path) -> None:
    campaign(cloud, tmp_path, 50, random.Random())


def test_several_publish_at_once(cloud: Glance, tmp_path: Path) -> None:
    """Of different images the newest has the tag in the end, of the same one there is one, whoever was first."""
    sources = [publishable.read(tmp_path / str(number), number % 2) for number in range(4)]
    pids = [forked(lambda source=source: publish(source)) for source in sources]
    assert [ended(pid) for pid in pids] == [0, 0, 0, 0]
    images = cloud.images()
    assert [image["status"] for image in images] == ["active"] * len(images)
    assert {image[describe.SHA256] for image in images} == {source.sha256 for source in sources}
    newest = max(images, key=lambda image: (image["created_at"], image["id"]))
    assert tagged(cloud) == [newest["id"]]
    assert len(images) == 2
