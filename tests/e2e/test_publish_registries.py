"""Images in registries: what is there can be read by others, is sent once, and never seen in halves."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from diskimage_create import as_root, cli
from diskimage_create.errors import InputError
from diskimage_create.publish import Options, Receipt, Status, archives, destinations, publish, source
from diskimage_create.publish.model import Compression, Form
from diskimage_create.publish.oci.contents import ARTIFACT
from diskimage_create.registries import Access, Credentials, pushing
from publishing import Restartable, disk_image, file_image, restartable, tar_image
from registry_faults import Fault, Proxy, proxy
from registry_servers import INDEX, MANIFEST, Server, certificate, htpasswd, registry
from token_server import token_server

SECRET = "a-secret-that-nobody-may-see"
START, PIECE, FINISH = "POST /v2/.*/uploads/", "PATCH /v2/.*/uploads/", "PUT /v2/.*/uploads/"
needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root mounts")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def faulty(stored: Server) -> Iterator[Proxy]:
    with proxy(stored) as running:
        yield running


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "_PAUSE", 0.02)


def to(host: str, name: str, image: Path, **options: Any) -> Receipt:
    """Publish an image to a registry."""
    access = options.pop("access", None) or Access(insecure=frozenset({host}))
    (receipt,) = publish(
        source.read(image), destinations.parse([f"oci://{host}/{name}"]), Options(access=access, **options)
    )
    return receipt


def manifest_of(server: Server, name: str) -> dict[str, Any]:
    repository, _, tag = name.partition(":")
    answer = server.session.get(server.url(f"{repository}/manifests/{tag}"), headers={"Accept": f"{MANIFEST}, {INDEX}"})
    assert answer.ok, answer.text
    manifest: dict[str, Any] = answer.json()
    return manifest


def blob_of(server: Server, repository: str, digest: str) -> bytes:
    content: bytes = server.session.get(server.url(f"{repository}/blobs/{digest}")).content
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    return content


def skopeo(*arguments: str | Path) -> str:
    done = subprocess.run(["skopeo", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def random_image(path: Path, size: int, arch: str = "amd64") -> Path:
    return file_image(path, os.urandom(size), arch)


@pytest.fixture
def name() -> str:
    """A name that nobody else uses."""
    return f"images/{os.urandom(4).hex()}:trixie"


def test_an_artifact_holds_the_file_the_record_and_the_checksum(stored, tmp_path, name):
    image = random_image(tmp_path / "amphora.qcow2", 300_000)
    receipt = to(stored.host, name, image)
    assert receipt.status is Status.PUBLISHED
    manifest = manifest_of(stored, name)
    assert receipt.digest == stored.digest(*name.split(":"))
    assert receipt.reference == f"{stored.host}/{name.partition(':')[0]}@{receipt.digest}"
    assert manifest["artifactType"] == ARTIFACT
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    files = {
        layer["annotations"]["org.opencontainers.image.title"]: blob_of(stored, name.partition(":")[0], layer["digest"])
        for layer in manifest["layers"]
    }
    assert files == {
        "amphora.qcow2": image.read_bytes(),
        "amphora.qcow2.json": (tmp_path / "amphora.qcow2.json").read_bytes(),
        "amphora.qcow2.sha256": f"{hashlib.sha256(image.read_bytes()).hexdigest()}  amphora.qcow2\n".encode(),
    }
    assert receipt.bytes == sum(map(len, files.values())) + len(b"{}")


def test_what_is_there_is_not_sent_again(stored, faulty, tmp_path, name):
    image = random_image(tmp_path / "amphora.qcow2", 300_000)
    first = to(stored.host, name, image)
    again = to(faulty.host, name, image)
    assert (again.status, again.digest, again.bytes) == (Status.PRESENT, first.digest, 0)
    assert not faulty.count("POST|PATCH|PUT")


def test_what_is_attested_later_joins_the_image(stored, tmp_path, name):
    image = random_image(tmp_path / "amphora.qcow2", 300_000)
    first = to(stored.host, name, image)
    sbom = tmp_path / "amphora.qcow2.spdx.json"
    sbom.write_text('{"spdxVersion": "SPDX-2.3"}')
    second = to(stored.host, name, image)
    assert second.status is Status.PUBLISHED
    assert second.digest != first.digest
    assert second.bytes == sbom.stat().st_size
    said = {
        layer["annotations"]["org.opencontainers.image.title"]: layer["mediaType"]
        for layer in manifest_of(stored, name)["layers"]
    }
    assert said["amphora.qcow2.spdx.json"] == "application/spdx+json"
    assert len(said) == 4
    assert to(stored.host, name, image).status is Status.PRESENT


@pytest.mark.parametrize("suffix", ["tar", "tgz"])
@pytest.mark.parametrize("compression", list(Compression))
def test_an_archive_becomes_a_container_image(stored, tmp_path, name, suffix, compression):
    image = tar_image(tmp_path / f"amphora.{suffix}")
    receipt = to(stored.host, name, image, compression=compression)
    manifest = manifest_of(stored, name)
    assert receipt.status is Status.PUBLISHED
    (layer,) = manifest["layers"]
    method = "gzip" if suffix == "tgz" else compression
    assert layer["mediaType"] == f"application/vnd.oci.image.layer.v1.tar+{method}"
    repository = name.partition(":")[0]
    configuration = json.loads(blob_of(stored, repository, manifest["config"]["digest"]))
    content = blob_of(stored, repository, layer["digest"])
    if method == "gzip":
        (unpacked,) = configuration["rootfs"]["diff_ids"]
        assert f"sha256:{hashlib.sha256(gzip.decompress(content)).hexdigest()}" == unpacked
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            assert "./bin/program" in archive.getnames()
    assert (configuration["architecture"], configuration["os"]) == ("amd64", "linux")
    assert configuration["config"]["Cmd"] == ["/bin/sh"]
    assert configuration["config"]["Labels"]["org.opencontainers.image.version"] == "trixie-20260504T030201Z"


@needs_root
def test_a_disk_becomes_the_same_container_image_each_time(stored, tmp_path, name):
    image = disk_image(tmp_path / "amphora.qcow2")
    digests = {to(stored.host, each, image, form=Form.IMAGE).digest for each in (name, f"{name}-again")}
    assert len(digests) == 1


@needs_skopeo
def test_others_read_what_was_published(stored, tmp_path, name):
    image = tar_image(tmp_path / "amphora.tar")
    receipt = to(stored.host, name, image)
    address = f"docker://{stored.host}/{name}"
    told = json.loads(skopeo("inspect", "--tls-verify=false", address))
    assert (told["Digest"], told["Architecture"]) == (receipt.digest, "amd64")
    assert told["Labels"]["diskimage-create.sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert told["Created"] == "2026-05-04T03:02:01Z"
    skopeo("--insecure-policy", "copy", "--src-tls-verify=false", address, f"oci:{tmp_path}/layout:t")
    artifact = random_image(tmp_path / "amphora.qcow2", 100_000)
    to(stored.host, f"{name}-artifact", artifact)
    skopeo(
        *("--insecure-policy", "copy", "--src-tls-verify=false", f"{address}-artifact"), f"dir:{tmp_path}/files"
    )  # fmt: skip
    assert artifact.read_bytes() in [path.read_bytes() for path in (tmp_path / "files").iterdir()]


@pytest.mark.parametrize("form", [Form.ARTIFACT, Form.IMAGE])
def test_several_architectures_share_a_tag(stored, tmp_path, name, form):
    images = {arch: tar_image(tmp_path / f"{arch}.tar", arch, arch) for arch in ("arm64", "amd64", "ppc64le")}
    receipts = {arch: to(stored.host, name, image, form=form) for arch, image in images.items()}
    index = manifest_of(stored, name)
    assert index["mediaType"] == INDEX
    assert [(each["platform"]["architecture"], each["digest"]) for each in index["manifests"]] == [
        (arch, receipts[arch].digest) for arch in sorted(images)
    ]
    for arch, image in images.items():
        assert to(stored.host, name, image, form=form) == Receipt(
            **{**receipts[arch].__dict__, "status": Status.PRESENT, "bytes": 0, "seconds": pytest.approx(0, abs=100)}
        )


@needs_skopeo
def test_an_index_gives_each_machine_its_own(stored, tmp_path, name):
    for arch in ("amd64", "arm64"):
        to(stored.host, name, tar_image(tmp_path / f"{arch}.tar", arch, arch))
    for arch in ("amd64", "arm64"):
        address = ("--tls-verify=false", f"docker://{stored.host}/{name}")
        told = json.loads(skopeo("--override-arch", arch, "inspect", *address))
        assert (told["Architecture"], told["Labels"]["org.opencontainers.image.title"]) == (arch, arch)


def test_an_image_of_others_gets_company(stored, tmp_path, name):
    foreign = stored.push(*name.split(":"), architecture="arm64")
    ours = to(stored.host, name, tar_image(tmp_path / "amphora.tar"))
    index = manifest_of(stored, name)
    assert {each["digest"] for each in index["manifests"]} == {foreign, ours.digest}


def test_another_image_is_replaced_when_that_is_asked_for(stored, tmp_path, name):
    first, second = (random_image(tmp_path / f"{number}.qcow2", 1000) for number in (1, 2))
    before = to(stored.host, name, first)
    refused = to(stored.host, name, second)
    assert (refused.status, refused.bytes) == (Status.FAILED, 0)
    assert "another image is there" in refused.message
    assert "--force" in str(refused.hint)
    assert stored.digest(*name.split(":")) == before.digest
    forced = to(stored.host, name, second, force=True)
    assert stored.digest(*name.split(":")) == forced.digest != before.digest


def test_forcing_one_architecture_leaves_the_others(stored, tmp_path, name):
    arm, old, new = (
        random_image(tmp_path / f"{number}.qcow2", 1000, arch)
        for number, arch in enumerate(("arm64", "amd64", "amd64"))
    )
    kept = to(stored.host, name, arm)
    to(stored.host, name, old)
    made = to(stored.host, name, new, force=True)
    assert [each["digest"] for each in manifest_of(stored, name)["manifests"]] == [made.digest, kept.digest]


def test_an_image_whose_blobs_were_lost_is_sent_again(tmp_path, name):
    image = random_image(tmp_path / "amphora.qcow2", 100_000)
    with restartable(tmp_path / "registry") as server:
        server.start()
        digest = to(server.server.host, name, image).digest
        (lost,) = (tmp_path / "registry").glob(f"data/**/{hashlib.sha256(image.read_bytes()).hexdigest()}/data")
        lost.unlink()
        server.stop()
        server.start()
        receipt = to(server.server.host, name, image)
        assert (receipt.status, receipt.digest) == (Status.PUBLISHED, digest)
        assert lost.exists()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(START, status=503),
        Fault(START, status=429, headers={"Retry-After": "0"}),
        Fault(START, does="close"),
        Fault(PIECE, status=500),
        Fault(PIECE, does="close", times=3),
        Fault(PIECE, status=404),
        Fault(PIECE, status=416),
        Fault(FINISH, status=502),
        Fault(FINISH, does="close"),
        Fault(FINISH, does="truncate"),
        Fault("PUT /v2/.*/manifests/", status=503),
        Fault("HEAD /v2/.*/blobs/", does="close"),
    ],
    ids=lambda fault: f"{fault.pattern.partition(' ')[0]} {fault.does} {fault.status}",
)  # fmt: skip
def test_what_passes_is_tried_again(stored, faulty, tmp_path, name, monkeypatch, fault):
    monkeypatch.setattr(pushing, "_PIECE", 30_000)
    image = random_image(tmp_path / "amphora.qcow2", 100_000)
    faulty.faults.append(fault)
    assert to(faulty.host, name, image).status is Status.PUBLISHED
    assert not fault.times
    assert blob_of(stored, name.partition(":")[0], f"sha256:{source.read(image).sha256}") == image.read_bytes()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(START, status=403, times=-1), "does not allow it"),
        (Fault(PIECE, status=500, times=-1), "status 500"),
        (Fault(FINISH, status=400, times=-1), "does not take what is sent"),
        (Fault(START, does="close", times=-1), "breaks the connection off"),
    ],
    ids=lambda value: f"{value.pattern} {value.status}" if isinstance(value, Fault) else "",
)  # fmt: skip
def test_what_does_not_pass_is_said(stored, faulty, tmp_path, name, fault, message):
    faulty.faults.append(fault)
    receipt = to(faulty.host, name, random_image(tmp_path / "amphora.qcow2", 1000))
    assert receipt.status is Status.FAILED
    assert message in receipt.message
    assert stored.digest(*name.split(":")) is None


def test_a_broken_connection_goes_on_where_the_registry_says(faulty, tmp_path, name, monkeypatch):
    monkeypatch.setattr(pushing, "_PIECE", 50_000)
    image = random_image(tmp_path / "amphora.qcow2", 500_000)

    def break_once(what: str, done: int, total: int) -> None:
        if done >= 300_000 and not faulty.faults:
            faulty.faults += [Fault(PIECE, does="close"), Fault("GET /v2/.*/uploads/", status=503)]

    receipt = to(faulty.host, name, image, progress=break_once)
    assert receipt.status is Status.PUBLISHED
    # Ten pieces of the image, one of them twice, and the small blobs; the upload of each began once.
    assert faulty.count(PIECE) == 10 + 1 + 3
    assert faulty.count(START) == 4


def test_a_registry_that_is_restarted_gets_all_of_it(tmp_path, name, monkeypatch):
    monkeypatch.setattr(pushing, "_PIECE", 2**20)
    monkeypatch.setattr(pushing, "_PAUSE", 0.3)
    image = random_image(tmp_path / "amphora.qcow2", 20 * 2**20)
    with restartable(tmp_path / "registry") as server:
        server.start()
        host, starting = server.server.host, []

        def restart_once(what: str, done: int, total: int) -> None:
            if done > 10 * 2**20 and not starting:
                server.stop()
                starting.append(threading.Timer(0.5, server.start))
                starting[0].start()

        receipt = to(host, name, image, progress=restart_once)
        starting[0].join()
        assert receipt.status is Status.PUBLISHED
        # Some of the piece that broke off may be there, and then this registry wants the blob from the beginning.
        assert receipt.bytes < 2 * image.stat().st_size
        assert f"sha256:{source.read(image).sha256}" in server.blobs()


@pytest.mark.parametrize("form", list(Form))
def test_a_changed_image_is_never_seen(stored, faulty, tmp_path, name, form):
    image = tar_image(tmp_path / "amphora.tar")
    content = bytearray(image.read_bytes())
    content[-600] ^= 1
    image.write_bytes(content)
    with pytest.raises(InputError, match="not the image that its record is of"):
        to(faulty.host, name, image, form=form)
    assert stored.digest(*name.split(":")) is None
    assert not faulty.count(FINISH)


def test_credentials_and_an_authority_of_ones_own(tmp_path, name):
    tls = certificate(tmp_path / "tls")
    auth = htpasswd(tmp_path / "auth", "publisher", SECRET)
    image = random_image(tmp_path / "amphora.qcow2", 1000)
    with registry(tmp_path / "registry", tls, auth, ("publisher", SECRET)) as server:
        good = {server.host: Credentials("publisher", SECRET)}
        receipt = to(server.host, name, image, access=Access(good, ca_certificates=tls.ca))
        assert receipt.digest == server.digest(*name.split(":"))
        wrong = to(
            server.host,
            f"{name}-2",
            image,
            access=Access({server.host: Credentials("x", SECRET)}, ca_certificates=tls.ca),
        )
        assert wrong.status is Status.FAILED
        assert "credentials" in wrong.message
        assert SECRET not in str(wrong)
        unknown = to(server.host, f"{name}-2", image, access=Access(good))
        assert unknown.status is Status.FAILED
        assert "certificate" in unknown.message


def test_tokens_of_a_token_server(tmp_path, name):
    tls = certificate(tmp_path / "tls")
    image = random_image(tmp_path / "amphora.qcow2", 1000)
    with (
        token_server(tls, "publisher", SECRET) as tokens,
        registry(tmp_path / "registry", tls, tokens.settings, tokens.session_auth) as server,
    ):
        access = Access({server.host: Credentials("publisher", SECRET)}, ca_certificates=tls.ca)
        for status in (Status.PUBLISHED, Status.PRESENT):
            assert to(server.host, name, image, access=access).status is status
        # The registry names what it wants in any order.
        wanted = {f"repository:{name.partition(':')[0]}:{actions}" for actions in ("pull,push", "push,pull")}
        assert wanted & set(tokens.scopes)


@needs_root
def test_a_registry_without_room_says_so_and_gets_it_when_it_has(tmp_path, name):
    image = random_image(tmp_path / "amphora.qcow2", 3 * 2**20)
    place = tmp_path / "registry"
    place.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2M", "none", place], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no mounts here: {error.stderr}")
    try:
        with restartable(place) as server:
            server.start()
            host = server.server.host
            failed = to(host, name, image)
            assert failed.status is Status.FAILED
            assert server.server.digest(*name.split(":")) is None
            subprocess.run(["mount", "-o", "remount,size=20M", place], check=True)
            assert to(host, name, image).status is Status.PUBLISHED
    finally:
        subprocess.run(["umount", place], check=True)


@needs_root
def test_root_packs_the_same_archive_for_a_user(tmp_path):
    image = disk_image(tmp_path / "amphora.qcow2")
    with ExitStack() as stack:
        ours = archives.once(source.read(image), stack)().read_bytes()
    target = tmp_path / "root.tar"
    as_root.ask("diskimage_create.publish.archives", {"image": str(image), "target": str(target)})
    assert target.read_bytes() == ours
    with tarfile.open(target) as archive:
        assert archive.getmember("./bin/program").mode == 0o4755


def test_one_that_is_down_does_not_keep_it_from_the_others(stored, tmp_path, name, capfd):
    image = random_image(tmp_path / "amphora.qcow2", 1000)
    places = [f"oci://127.0.0.1:1/{name}", f"oci://{stored.host}/{name}"]
    insecure = ("--insecure-registry", stored.host, "--insecure-registry", "127.0.0.1:1")
    assert cli.main(["publish", *insecure, "--format", "json", str(image), *places]) == 6
    out, err = capfd.readouterr()
    said = json.loads(out)
    assert [each["status"] for each in said["receipts"]] == ["failed", "published"]
    assert f"({places[0]})" in err
    assert "Traceback" not in err


def test_architectures_published_at_once_are_complete_after_the_next(stored, tmp_path, name):
    images = [random_image(tmp_path / f"{arch}.qcow2", 1000, arch) for arch in ("amd64", "arm64", "ppc64le", "i386")]
    to(stored.host, name, images[0])
    receipts: dict[Path, Receipt] = {}
    threads = [
        threading.Thread(target=lambda image=image: receipts.update({image: to(stored.host, name, image)}))
        for image in images[1:]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {receipts[image].status for image in images[1:]} == {Status.PUBLISHED}
    for image in images:  # registries cannot compare before they write, so one may have been lost
        assert to(stored.host, name, image).status is not Status.FAILED
    assert len(manifest_of(stored, name)["manifests"]) == len(images)


def killed_after(seconds: float, *arguments: str | Path) -> bool:
    """Start a publish, and kill it; whether it was killed before its end."""
    command = [sys.executable, "-m", "diskimage_create", "publish", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            return True
    return False


def campaign(server: Restartable, directory: Path, kills: int) -> None:
    """Kill so many publishes at moments all over their time, and publish each again once."""
    server.start()
    host, killed = server.server.host, 0
    insecure = ("--insecure-registry", host)
    first = random_image(directory / "first.qcow2", 30 * 2**20)
    began = time.monotonic()
    assert not killed_after(120, *insecure, first, f"oci://{host}/first:t")
    whole = time.monotonic() - began
    for number in itertools.count():
        if killed == kills:
            break
        image = random_image(directory / f"{number}.qcow2", 30 * 2**20)
        name = f"image-{number}"
        if killed_after(whole * (0.2 + 0.8 * killed / kills), *insecure, image, f"oci://{host}/{name}:t"):
            killed += 1
        else:
            whole *= 0.9  # the first one was slower
        if seen := server.server.digest(name, "t"):  # then all of it is there
            assert to(host, f"{name}:t", image).status is Status.PRESENT
        complete = server.blobs()
        receipt = to(host, f"{name}:t", image)
        assert receipt.status is not Status.FAILED
        if f"sha256:{source.read(image).sha256}" in complete and not seen:
            assert receipt.bytes < 2**20  # the finished blob was not sent again
        assert blob_of(server.server, name, f"sha256:{source.read(image).sha256}") == image.read_bytes()
        image.unlink()
    server.stop()
    shutil.rmtree(server.directory)  # pytest would keep it


def test_killed_publishes_are_complete_after_the_next(tmp_path):
    with restartable(tmp_path / "registry") as server:
        campaign(server, tmp_path, 4)


@pytest.mark.full
def test_fifty_killed_publishes(tmp_path):
    with restartable(tmp_path / "registry") as server:
        campaign(server, tmp_path, 50)
