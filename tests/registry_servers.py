"""Real registries on loopback, and small images in them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True)
class Server:
    """A registry that runs."""

    host: str
    log: Path
    session: requests.Session
    scheme: str = "http"

    def url(self, path: str) -> str:
        return f"{self.scheme}://{self.host}/v2/{path}"

    def push_blob(self, repository: str, content: bytes) -> dict[str, Any]:
        """Store a blob; its digest and size as a manifest names them."""
        found = digest(content)
        start = self.session.post(self.url(f"{repository}/blobs/uploads/"))
        start.raise_for_status()
        address = requests.compat.urljoin(self.url(""), start.headers["Location"])
        headers = {"Content-Type": "application/octet-stream"}
        self.session.put(address, params={"digest": found}, data=content, headers=headers).raise_for_status()
        return {"digest": found, "size": len(content)}

    def push_manifest(self, repository: str, tag: str, manifest: Mapping[str, Any]) -> str:
        """Store a manifest under a tag, or under its digest where the tag is empty; the digest."""
        content = json.dumps(manifest).encode()
        name = tag or digest(content)
        headers = {"Content-Type": manifest["mediaType"]}
        self.session.put(self.url(f"{repository}/manifests/{name}"), data=content, headers=headers).raise_for_status()
        return digest(content)

    def push(
        self,
        repository: str,
        tag: str,
        layers: Sequence[bytes] = (),
        labels: Mapping[str, str] | None = None,
        architecture: str = "amd64",
    ) -> str:
        """Store an image made of layers (:func:`layer`); the digest of its manifest."""
        blobs = layers or [layer({"etc/name": f"{repository}:{tag}".encode()})]
        configuration = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": dict(labels or {})},
            "rootfs": {"type": "layers", "diff_ids": [digest(gzip.decompress(blob)) for blob in blobs]},
        }
        config = self.push_blob(repository, json.dumps(configuration).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **config},
            "layers": [{"mediaType": LAYER, **self.push_blob(repository, blob)} for blob in blobs],
        }
        return self.push_manifest(repository, tag, manifest)

    def push_index(self, repository: str, tag: str, architectures: Sequence[str], **image: Any) -> str:
        """Store one image for each architecture, and an index of them under the tag; the digest of the index."""
        entries = []
        for architecture in architectures:
            made = layer({"etc/arch": architecture.encode()})
            found = self.push(repository, "", [made], architecture=architecture, **image)
            size = len(
                self.session.get(self.url(f"{repository}/manifests/{found}"), headers={"Accept": MANIFEST}).content
            )
            platform = {"os": "linux", "architecture": architecture}
            entries.append({"mediaType": MANIFEST, "digest": found, "size": size, "platform": platform})
        return self.push_manifest(repository, tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})

    def digest(self, repository: str, tag: str) -> str | None:
        """The digest of what is stored under a tag."""
        accept = {"Accept": f"{MANIFEST}, {INDEX}, application/vnd.docker.distribution.manifest.v2+json"}
        answer = self.session.head(self.url(f"{repository}/manifests/{tag}"), headers=accept)
        return answer.headers.get("Docker-Content-Digest") if answer.ok else None


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer(files: Mapping[str, bytes]) -> bytes:
    """A layer of an image: always the same bytes for the same files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), compresslevel=1, mtime=0)


@dataclass(frozen=True)
class Tls:
    """The certificate of a server on loopback, and the CA that vouches for it; all of them files."""

    certificate: Path
    key: Path
    ca: Path


def certificate(directory: Path) -> Tls:
    """A CA of its own, and a certificate for 127.0.0.1."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)  # whose key signs tokens, too
    directory.mkdir(parents=True, exist_ok=True)
    tls = Tls(directory / "server.pem", directory / "server.key", directory / "ca.pem")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(tls.certificate, append=number > 0)
    issued.private_key_pem.write_to_path(tls.key)
    authority.cert_pem.write_to_path(tls.ca)
    return tls


def htpasswd(directory: Path, user: str, password: str) -> dict[str, Any]:
    """The settings of a registry that knows one user."""
    if not shutil.which("htpasswd"):
        pytest.skip("htpasswd is not installed (apache2-utils)")
    directory.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["htpasswd", "-Bin", user], input=password, capture_output=True, text=True, check=True)
    (directory / "htpasswd").write_text(made.stdout)
    return {"htpasswd": {"realm": "a test", "path": str(directory / "htpasswd")}}


@contextmanager
def registry(
    directory: Path, tls: Tls | None = None, auth: Mapping[str, Any] | None = None, session_auth: Any = None
) -> Iterator[Server]:
    """A docker-registry process that stores below a directory.

    :param auth: its settings of that name; without them it lets everyone do everything
    :param session_auth: what the test's own requests need then
    """
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": False}, "level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of a test"},
        **({"auth": dict(auth)} if auth else {}),
    }
    if tls:
        settings["http"]["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    with running(directory, settings) as log, requests.Session() as session:
        session.trust_env = False
        session.verify = str(tls.ca) if tls else True
        session.auth = session_auth
        server = Server(f"127.0.0.1:{port}", log, session, "https" if tls else "http")
        wait_until_it_answers(server)
        yield server


@contextmanager
def running(directory: Path, settings: Mapping[str, Any]) -> Iterator[Path]:
    """The process, with its settings in a file (JSON is YAML, too); the file that it logs to."""
    config, log = directory / "config.yml", directory / "log"
    config.write_text(json.dumps(settings))
    with log.open("ab") as output:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=output, stderr=output)
        try:
            yield log
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_it_answers(server: Server, seconds: float = 20) -> None:
    """Whatever it answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            server.session.get(server.url(""), timeout=5)
            return
        except requests.ConnectionError:
            if time.monotonic() > deadline:
                pytest.fail(f"the registry does not start:\n{server.log.read_text()}")
            time.sleep(0.05)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
