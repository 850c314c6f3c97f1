"""Manifests, labels and tags of images in a real registry."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diskimage_create.errors import RemoteError
from diskimage_create.references import Reference
from diskimage_create.registries import Access, NotFound, Registries
from diskimage_create.registries.connections import speaks_tls
from registry_servers import Server, certificate, registry

LABELS = {"rdo_version": "3541_4352", "version": "1.2", "release": "7"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        running.push("tripleomaster/nova-api", "current-tripleo", labels=LABELS)
        running.push("tripleomaster/nova-api", "older", labels={"version": "1.1"})
        running.push_index("library/multi", "1", ["arm64", "amd64"], labels={"which": "index"})
        yield running


@pytest.fixture
def registries(server: Server) -> Iterator[Registries]:
    with Registries(Access(insecure=frozenset({server.host}))) as opened:
        yield opened


def test_an_image_has_a_manifest_and_labels(server, registries):
    reference = Reference(server.host, "tripleomaster/nova-api", "current-tripleo")
    manifest = registries.manifest(reference)
    assert manifest.digest == server.digest("tripleomaster/nova-api", "current-tripleo")
    assert registries.digest(reference) == manifest.digest
    assert not manifest.is_index
    assert len(manifest.blobs) == 2
    assert registries.labels(reference) == LABELS
    assert registries.manifest(reference.pinned(manifest.digest)) == manifest


def test_an_index_has_the_labels_of_an_architecture_in_it(server, registries):
    reference = Reference(server.host, "library/multi", "1")
    assert registries.manifest(reference).is_index
    assert registries.digest(reference) == server.digest("library/multi", "1")
    assert registries.labels(reference, "s390x") == registries.labels(reference) == {"which": "index"}


def test_what_there_is_can_be_listed(server, registries):
    assert registries.tags(Reference(server.host, "tripleomaster/nova-api")) == ["current-tripleo", "older"]
    assert registries.tags(Reference(server.host, "nothing/here")) == []
    assert registries.repositories(server.host) == ["library/multi", "tripleomaster/nova-api"]


def test_what_is_not_there_is_named(server, registries):
    missing = Reference(server.host, "tripleomaster/nova-api", "newest")
    assert registries.digest(missing) is None
    with pytest.raises(NotFound, match="tripleomaster/nova-api:newest: the registry has no such image"):
        registries.manifest(missing)


def test_many_are_asked_at_once_and_each_once(server, registries):
    good = Reference(server.host, "tripleomaster/nova-api", "older")
    bad = good.tagged("missing")
    answers = registries.all_of(lambda reference: registries.labels(reference), [good, bad, good])
    assert answers[good] == {"version": "1.1"}
    assert isinstance(answers[bad], NotFound)
    asked = [
        line for line in server.log.read_text().splitlines() if "GET /v2/tripleomaster/nova-api/manifests/older" in line
    ]
    assert len(asked) == 1


def test_a_registry_without_tls_is_not_trusted_unasked(server):
    with (
        Registries(Access()) as registries,
        pytest.raises(RemoteError, match="certificate is not accepted, or it does not"),
    ):
        registries.digest(Reference(server.host, "library/multi", "1"))


def test_who_has_tls_is_asked_without_anybodys_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Asked(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    tls = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with http.server.HTTPServer(("127.0.0.1", 0), Asked) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert speaks_tls(f"127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    assert seen == [None]
