"""What publishing understands, and what it says, without any place to publish to."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create import cli, engines, filesystems
from diskimage_create.errors import InputError, Interrupted, Problem, RemoteError
from diskimage_create.publish import Options, Receipt, Status, destinations, publish, report, source
from diskimage_create.publish.engines import Local
from diskimage_create.publish.oci import Registry, indexes
from diskimage_create.publish.oci.contents import artifact
from publishing import file_image, record_beside

ARCHES = st.sampled_from(["amd64", "arm64", "ppc64le", "386"])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return file_image(tmp_path / "amphora.qcow2", b"an image")


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("docker:image:amphora-x64-haproxy", Local, "image:amphora-x64-haproxy"),
        ("docker:image", Local, "image:latest"),
        ("podman:registry:5000/site/image:1", Local, "registry:5000/site/image:1"),
        ("oci://registry.example.com/images/amphora", Registry, "registry.example.com/images/amphora:latest"),
        ("oci://127.0.0.1:5000/amphora:trixie", Registry, "127.0.0.1:5000/amphora:trixie"),
        ("oci://[::1]:5000/a:t", Registry, "[::1]:5000/a:t"),
    ],
)
def test_destinations_are_understood(text, kind, target):
    (found,) = destinations.parse([text])
    assert isinstance(found, kind)
    assert str(found) == text
    assert str(found.target if isinstance(found, Local) else found.reference) == target


def test_everything_wrong_with_destinations_is_said_at_once():
    texts = {
        "dokcer:a": "perhaps you meant docker:a",
        "oic:a": "perhaps you meant oci:a",
        "images": "a directory ends in a slash: images/",
        "ftq:a": "docker:NAME:TAG",
        "docker://host/a": "a registry is oci://host/a",
        "docker:A": "not in lower case",
        "docker:": "there is no name",
        "oci:host/a": "oci://HOST[:PORT]/NAME:TAG",
        "oci://a": "names no registry",
        f"oci://h.example/a@sha256:{'0' * 64}": "name a tag",
        "podman:a:b:c": "cannot be a tag",
    }
    with pytest.raises(InputError) as caught:
        destinations.parse(list(texts))
    assert [problem.where for problem in caught.value.problems] == list(texts)
    for problem, expected in zip(caught.value.problems, texts.values(), strict=True):
        assert expected in f"{problem.message} {problem.hint}"


@given(st.text(max_size=60))
def test_no_text_is_a_crash(text):
    with suppress(InputError):
        destinations.parse([f"{kind}:{text}" for kind in ("docker", "podman", "oci", "oci://h.example/")])


def test_a_place_is_published_to_once():
    assert len(destinations.parse(["docker:a:b", "docker:a:b"])) == 1


def test_the_record_is_read(image):
    read = source.read(image)
    assert (read.type, read.bytes, read.architecture, read.built) == ("qcow2", 8, "amd64", "2026-05-04T03:02:01+00:00")


def record_says(made, **other):
    beside = made.with_name(f"{made.name}.json")
    beside.write_text(json.dumps({**json.loads(beside.read_text()), **other}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda image: image.unlink(), "there is no such image"),
        (lambda image: image.with_name(f"{image.name}.json").unlink(), "no record amphora.qcow2.json beside it"),
        (lambda image: image.with_name(f"{image.name}.json").write_text("{"), "cannot be used"),
        (lambda image: image.with_name(f"{image.name}.json").write_text("[]"), "cannot be used"),
        (lambda image: image.with_name(f"{image.name}.json").write_text("{}"), "cannot be used"),
        (lambda image: record_says(image, image=None), "image.arch is None"),
        (lambda image: record_says(image, started=3), "started is 3"),
        (lambda image: record_says(image, artifacts=[{"type": "tar", "sha256": 3, "bytes": 1}]), "sha256 is 3"),
        (lambda image: image.write_bytes(b"an imagE"), "not the image that its record is of"),
        (lambda image: image.write_bytes(b"an image and more"), "not the image that its record is of"),
    ],
)
def test_an_image_and_its_record_belong_together(image, damage, message, capsys):
    damage(image)
    assert cli.main(["publish", str(image), "oci://127.0.0.1:1/a:t"]) == 2
    assert message in capsys.readouterr().err


def test_all_that_is_wrong_is_said_at_once(tmp_path, capsys):
    missing = str(tmp_path / "no.qcow2")
    assert cli.main(["publish", missing, "--property", "x", "--property", "=y", "dokcer:a:b", "docker:A"]) == 2
    err = capsys.readouterr().err
    assert err.count("error: ") == 5
    assert f"there is no such image ({missing})" in err
    assert "'x' is no property" in err
    assert "'=y' is no property" in err


WRONG_PLACES = {
    "": "it is empty",
    "ocii://h/x:1": "perhaps you meant oci://h/x:1",
    "OCI://h/x:1": "perhaps you meant oci://h/x:1",
    "foo://bucket/": "foo:// is no place for images",
    "oci://user:very-secret@h/x:1": "a password has no place in a URL",
    "s3://user:very-secret@bucket/": "a password has no place in a URL",
    "s3://user:very-secret@[bucket/": "it is no URL",
    "s3://": "it names no place",
    "file://images/": "images is another host",
}


def test_what_cannot_be_a_place_is_said_with_all_else(tmp_path, capsys):
    assert cli.main(["publish", str(tmp_path / "none"), *WRONG_PLACES]) == 2
    err = capsys.readouterr().err
    assert err.count("error: ") == len(WRONG_PLACES) + 1
    assert all(message in err for message in WRONG_PLACES.values())
    assert "very-secret" not in err


def test_what_goes_along_can_be_read(image, tmp_path, monkeypatch, capsys):
    sbom = image.with_name(f"{image.name}.spdx.json")
    sbom.touch()
    access = os.access
    # Root reads everything.
    monkeypatch.setattr(os, "access", lambda path, mode: path != sbom and access(path, mode))
    assert cli.main(["publish", str(image), f"{tmp_path}/here/"]) == 2
    assert f"{sbom} cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "here").exists()


def test_an_option_that_says_nothing_to_any_place(image, tmp_path, capsys):
    options = ["--keep-last", "1", "--tag", "a"]
    assert cli.main(["publish", str(image), "oci://127.0.0.1:1/a:t", *options]) == 2
    err = capsys.readouterr().err
    assert "it says nothing to oci://127.0.0.1:1/a:t (--keep-last)" in err
    assert "it says nothing to oci://127.0.0.1:1/a:t (--tag)" in err
    assert cli.main(["publish", str(image), f"{tmp_path}/here/", "--keep-last", "1"]) == 0
    assert cli.main(["publish", str(image), f"{tmp_path}/here/", "--as", "artifact"]) == 2


def test_the_environment_is_for_other_runs_too(image, tmp_path, monkeypatch):
    for name, value in {"AS": "artifact", "VISIBILITY": "public"}.items():
        monkeypatch.setenv(f"DISKIMAGE_CREATE_{name}", value)
        monkeypatch.setenv(f"DISKIMAGE_CREATE_PUBLISH_{name}", value)
    monkeypatch.setenv("OS_CLOUD", "site")
    assert cli.main(["publish", str(image), f"{tmp_path}/here/"]) == 0


def test_what_was_done_besides_is_said():
    receipt = Receipt("glance:a", Status.PRESENT, "an-id", message="a newer image, another-id, has the tag")
    assert report.as_text([receipt]).endswith("present  an-id (a newer image, another-id, has the tag)")


@pytest.mark.parametrize("url", ["file:///srv/a%20b", "file://localhost/srv/a%20b", "local:///srv/a%20b"])
def test_the_path_of_a_url(url):
    filesystems.refuse(url)
    assert filesystems.local_path(url) == Path("/srv/a b")
    assert filesystems.local_path("s3://srv/a") is None


@pytest.mark.parametrize("suffix", ["kernel", "initramfs"])
def test_what_has_no_root_file_system_is_no_container(tmp_path, suffix, capsys):
    image = record_beside(file_image(tmp_path / f"agent.{suffix}", b"x"), suffix)
    places = ["docker:a:b", "podman:a:b", "oci://127.0.0.1:1/a:t"]
    assert cli.main(["publish", "--as", "image", str(image), *places]) == 2
    err = capsys.readouterr().err
    assert all(f"({place})" in err for place in places)


def test_labels_say_where_an_image_comes_from(image):
    labels = source.read(image).labels
    record = source.read(image).record
    assert labels["org.opencontainers.image.title"] == "amphora"
    assert labels["org.opencontainers.image.version"] == "trixie-20260504T030201Z"
    assert labels["org.opencontainers.image.revision"] == record["fingerprint"]
    commit = "0123456789abcdef0123456789abcdef01234567"
    more = {
        "remote_inputs": {"git amphora-agent": commit, "apt trixie": "sha256:00"},
        "environment": {"DIB_REPOLOCATION_amphora_agent": "https://user:secret@git.example.com/octavia?x"},
    }
    labels = engines.labels({**record, **more}, "2026-05-04T03:02:01+00:00")
    assert labels["org.opencontainers.image.revision"] == commit
    assert labels["org.opencontainers.image.source"] == "https://git.example.com/octavia"
    assert engines.SHA256 not in labels


def test_an_image_from_the_store_is_as_old_as_its_content(image):
    fresh = source.read(image)
    record_beside(
        image, "qcow2", reused_from={"fingerprint": "x", "built": fresh.built}, started="2027-01-01T00:00:00+00:00"
    )
    assert source.read(image).labels == fresh.labels


def test_the_same_files_make_the_same_manifest(image):
    assert artifact(source.read(image)) == artifact(source.read(image))


@given(st.lists(st.tuples(ARCHES, st.text("0123456789abcdef", min_size=64, max_size=64)), min_size=1, max_size=8))
def test_an_index_has_the_last_of_each_architecture(entries):
    index: dict[str, object] = {"annotations": {"kept": "yes"}}
    for architecture, digest in entries:
        descriptor = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": f"sha256:{digest}",
            "size": 1,
            "platform": {"architecture": architecture, "os": "linux"},
        }
        index = json.loads(indexes.merged(index, descriptor))
    assert index["annotations"] == {"kept": "yes"}
    last = {architecture: f"sha256:{digest}" for architecture, digest in entries}
    found = {each["platform"]["architecture"]: each["digest"] for each in index["manifests"]}  # type: ignore[attr-defined]
    assert found == last
    assert all(indexes.of_architecture(index, architecture) == digest for architecture, digest in last.items())


@given(st.permutations(["amd64", "arm64", "ppc64le"]))
def test_the_order_of_publishing_does_not_matter(architectures):
    index: dict[str, object] = {}
    for architecture in architectures:
        descriptor = {"digest": f"sha256:{architecture}", "platform": {"architecture": architecture, "os": "linux"}}
        index = json.loads(indexes.merged(index, descriptor))
    assert [each["digest"][7:] for each in index["manifests"]] == ["amd64", "arm64", "ppc64le"]  # type: ignore[attr-defined]


class Place:
    """A destination of a test."""

    def __init__(self, name: str, does: Exception | None = None) -> None:
        self.name = name
        self.does = does

    def __str__(self) -> str:
        return self.name

    def require(self, source: object, options: object) -> None:
        if isinstance(self.does, InputError):
            raise self.does

    def publish(self, source: object, options: object) -> Receipt:
        if self.does:
            raise self.does
        return Receipt(self.name, Status.PUBLISHED, "somewhere", "sha256:00", 8)


def test_each_has_its_receipt_and_the_schema_describes_them(image):
    read = source.read(image)
    told: list[Receipt] = []
    places = [Place("a"), Place("b", RemoteError("it is down", "start it")), Place("c")]
    receipts = publish(read, places, Options(), told.append)
    assert [(str(each.status), each.message, each.hint) for each in receipts] == [
        ("published", "", None), ("failed", "it is down", "start it"), ("published", "", None)
    ]  # fmt: skip
    assert told == receipts
    schema = json.loads(files("diskimage_create").joinpath("schemas/publish.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(report.as_json(read, receipts)), schema)
    assert report.as_text(receipts).splitlines() == [
        "a  published  somewhere", "b  failed     it is down", "c  published  somewhere"
    ]  # fmt: skip


def test_nothing_is_published_where_one_does_not_fit(image):
    said = InputError([Problem("it does not fit", "b")])
    with pytest.raises(InputError):
        publish(source.read(image), [Place("a", RemoteError("must not be asked")), Place("b", said)], Options())


def test_an_interrupt_ends_it(image):
    with pytest.raises(Interrupted):
        publish(source.read(image), [Place("a", Interrupted("stop")), Place("b")], Options())
