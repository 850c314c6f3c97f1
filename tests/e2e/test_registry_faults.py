"""What goes wrong with registries: tried again where that helps, said plainly where it does not."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from diskimage_create.errors import RemoteError
from diskimage_create.references import Reference
from diskimage_create.registries import Access, Credentials, NotFound, Registries, copying
from diskimage_create.registries.configuration import Configuration, Mirror, Namespace
from diskimage_create.registries.copying import Copied, Copy, Status, copy_all
from registry_faults import Fault, Proxy, proxy
from registry_servers import Server, layer, registry

SECRET = "a-secret-that-nobody-may-see"
MANIFEST, BLOB, UPLOAD = "GET /v2/.*/manifests/", "GET /v2/.*/blobs/sha256", "(PATCH|PUT) /v2/.*/blobs/uploads/"
START, FINISH = "POST /v2/.*/blobs/uploads/", "PUT /v2/.*/manifests/"
needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("source")) as running:
        yield running


@pytest.fixture
def source(stored: Server) -> Iterator[Proxy]:
    with proxy(stored) as running:
        yield running


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("target")) as running:
        yield running


@pytest.fixture
def target(received: Server) -> Iterator[Proxy]:
    with proxy(received) as running:
        yield running


@pytest.fixture
def image(stored: Server) -> tuple[str, str]:
    """The repository of an image that is nowhere else, and its digest."""
    name = f"image-{os.urandom(4).hex()}"
    made = stored.push(name, "t", [layer({"random": os.urandom(100_000)})], labels={"version": "1"})
    return name, made


def said(code: str) -> bytes:
    """An error as the OCI Distribution Specification has it."""
    return json.dumps({"errors": [{"code": code, "message": "what the registry says"}]}).encode()


def wish(source: Proxy, target: Proxy, name: str) -> Copy:
    return Copy(Reference(source.host, name, "t"), Reference(target.host, name, "t"))


def copied(source: Proxy, target: Proxy, name: str) -> Copied:
    credentials = {target.host: Credentials("user", SECRET)}
    with Registries(Access(credentials, frozenset({source.host, target.host}))) as registries:
        (result,) = copy_all(
            [Copy(Reference(source.host, name, "t"), Reference(target.host, name, "t"))], registries, 2
        )
    return result


@pytest.mark.parametrize(
    "fault",
    [
        Fault("manifests", status=500),
        Fault("manifests", status=503, times=2),
        Fault("manifests", status=429, headers={"Retry-After": "1"}),
        Fault("manifests", "truncate"),
        Fault("manifests", "close"),
        Fault("manifests", "slow"),
        Fault("blobs", "truncate"),
        Fault("blobs", "close"),
    ],
    ids=lambda fault: f"{fault.does}-{fault.status}-{fault.pattern}",
)
def test_requests_are_repeated(fault, source, image):
    source.faults.append(fault := replace(fault))
    name, digest = image
    with Registries(Access(insecure=frozenset({source.host}))) as registries:
        reference = Reference(source.host, name, "t")
        assert registries.manifest(reference).digest == digest
        assert registries.labels(reference) == {"version": "1"}
    assert fault.times == 0


def test_a_registry_says_how_long_to_wait(source, image):
    source.faults.append(Fault(MANIFEST, status=429, headers={"Retry-After": "2"}))
    with Registries(Access(insecure=frozenset({source.host}))) as registries:
        registries.manifest(Reference(source.host, image[0], "t"))
    first, second = (when for line, when in zip(source.asked, source.moments, strict=True) if "manifests" in line)
    assert second - first >= 2


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("manifests", status=404), "the registry has no such image"),
        (Fault("manifests", status=401, headers={"WWW-Authenticate": "Basic"}), "wants other credentials"),
        (Fault("manifests", status=403), "does not allow it"),
        (Fault("manifests", status=429, headers={"Retry-After": "0"}), "wants fewer requests"),
        (Fault("manifests", status=418), "answers with status 418"),
        (Fault("manifests", "corrupt"), "has the digest sha256:.*, not sha256:"),
        (Fault("manifests", status=200, body=b"<html>log in</html>"), "is no manifest of an image"),
        (Fault("manifests", status=200, body=b'{"manifests": [{"size": 1}]}'), "is no manifest of an image"),
        (
            Fault("manifests", status=200, body=b'{"layers": [{"digest": "x", "size": ""}]}'),
            "is no manifest of an image",
        ),
    ],
    ids=lambda value: f"{value.does}-{value.status}" if isinstance(value, Fault) else "",
)
def test_what_stays_wrong_is_said(fault, says, source, image):
    source.faults.append(replace(fault, times=-1))
    reference = Reference(source.host, image[0], "t")
    access = Access({source.host: Credentials("user", SECRET)}, frozenset({source.host}))
    with Registries(access) as registries, pytest.raises(RemoteError, match=says) as raised:
        registries.manifest(reference)
    assert raised.value.message.startswith(str(reference))
    assert SECRET not in raised.value.message
    assert isinstance(raised.value, NotFound) == (fault.status == 404)


def test_mirrors_are_tried_first_and_the_registry_last(source, stored, image):
    name, digest = image
    mirrors = (Mirror("127.0.0.1:1/gone", insecure=True), Mirror(source.host, insecure=True))
    configuration = Configuration((Namespace("example.test", stored.host, insecure=True, mirrors=mirrors),))
    with Registries(Access(), configuration=configuration) as registries:
        wanted = Reference("example.test", name, "t")
        assert registries.manifest(wanted).digest == digest
        assert source.count(MANIFEST) == 1
        source.faults.append(Fault("manifests", status=404, times=-1))
        assert registries.digest(wanted) == digest
        with pytest.raises(NotFound, match=f"^example.test/{name}:missing: "):
            registries.manifest(wanted.tagged("missing"))


def test_what_is_blocked_is_not_asked_for(source, image):
    configuration = Configuration((Namespace(source.host, source.host, insecure=True, blocked=True),))
    reference = Reference(source.host, image[0], "t")
    with Registries(Access(), configuration=configuration) as registries:
        with pytest.raises(RemoteError, match="blocks the registry"):
            registries.manifest(reference)
        assert not source.asked
        assert registries.digest(reference, direct=True) == image[1]


@needs_skopeo
@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("source", Fault(BLOB, status=500)),
        ("source", Fault(BLOB, status=429, headers={"Retry-After": "1"})),
        ("source", Fault(BLOB, "truncate")),
        ("source", Fault(BLOB, "corrupt")),
        ("source", Fault(BLOB, "close")),
        ("source", Fault(BLOB, "slow")),
        ("source", Fault("GET /v2/.*/manifests/sha256", status=502)),
        ("target", Fault(START, status=503)),
        ("target", Fault(UPLOAD, "close")),
        ("target", Fault(UPLOAD, status=500)),
        ("target", Fault(FINISH, status=500)),
        ("target", Fault(FINISH, status=429, headers={"Retry-After": "1"})),
        ("target", Fault(FINISH, "close")),
    ],
    ids=lambda value: f"{value.does}-{value.status}-{value.pattern}" if isinstance(value, Fault) else value,
)
def test_copies_are_repeated(place, fault, source, target, received, image):
    {"source": source, "target": target}[place].faults.append(fault := replace(fault))
    name, digest = image
    result = copied(source, target, name)
    assert (result.status, result.why) == (Status.COPIED, "")
    assert received.digest(name, "t") == result.digest == digest
    assert fault.times == 0


@needs_skopeo
@pytest.mark.parametrize(
    ("place", "fault", "says", "tried"),
    [
        ("source", Fault(BLOB, status=404), "404|not found|blob unknown", None),
        ("source", Fault(BLOB, "corrupt"), "[Dd]igest", 3),
        ("source", Fault(BLOB, "truncate"), "EOF", 3),
        ("source", Fault("(GET|HEAD) .*/manifests/t", status=404), "has no such image", 0),
        ("target", Fault(START, status=401, body=said("UNAUTHORIZED")), "unauthorized: what the registry says", 1),
        ("target", Fault(START, status=403, body=said("DENIED")), "denied: what the registry says", 1),
        ("target", Fault(UPLOAD, status=500), "500", 3),
        ("target", Fault(FINISH, status=500), "500", 3),
        ("target", Fault(FINISH, "close"), "EOF", 3),
    ],
    ids=lambda value: f"{value.does}-{value.status}-{value.pattern}" if isinstance(value, Fault) else "",
)
def test_copies_that_fail_leave_no_tag(place, fault, says, tried, source, target, received, image, monkeypatch):
    monkeypatch.setattr(copying, "_ATTEMPTS", 3)
    monkeypatch.setattr(copying, "_PAUSE", 0.01)
    failing = replace(fault, times=-1, body=fault.body or said("UNKNOWN"))
    {"source": source, "target": target}[place].faults.append(failing)
    name, _ = image
    result = copied(source, target, name)
    assert result.status is Status.FAILED
    assert name in result.why or target.host in result.why
    assert re.search(says, result.why), result.why
    assert tried is None or result.attempts == tried, result.why
    assert SECRET not in result.why
    assert received.digest(name, "t") is None


@needs_skopeo
def test_an_image_whose_layer_did_not_arrive_with_another_is_copied(source, target, stored, received, monkeypatch):
    shared = layer({"random": os.urandom(1_000_000)})
    names = [f"waits-{os.urandom(4).hex()}" for _ in range(3)]
    for name in names:
        stored.push(name, "t", [shared, layer({"own": os.urandom(100)})])
    target.faults.append(Fault(f"PUT /v2/{names[0]}/manifests/t", status=400, times=-1))
    copies = [wish(source, target, name) for name in names]
    monkeypatch.setattr(copying, "_ATTEMPTS", 1)
    with Registries(Access(insecure=frozenset({source.host, target.host}))) as registries:
        results = copy_all(copies, registries, 3)
    assert [result.status for result in results] == [Status.FAILED, Status.COPIED, Status.COPIED]
    assert received.digest(names[2], "t") == results[2].digest


@needs_skopeo
def test_skopeo_has_the_hosts_registries(source, target, received, image, tmp_path: Path, monkeypatch):
    """The variable that buildah and podman know holds for copies, too."""
    name, digest = image
    settings = tmp_path / "registries.conf"
    settings.write_text(f'[[registry]]\nprefix = "example.test"\nlocation = "{source.host}"\ninsecure = true\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(settings))
    with Registries(Access(insecure=frozenset({target.host}))) as registries:
        moved = Copy(Reference("example.test", name, "t"), Reference(target.host, name, "t"))
        (result,) = copy_all([moved], registries, 1)
    assert (result.status, result.why, result.digest) == (Status.COPIED, "", digest)
