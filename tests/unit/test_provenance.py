"""What is written beside an image, and that a change of any of it is seen."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from sample_contents import RECORD, contents_of, debian_tree, image_with_record

from contract import schema_errors
from diskimage_create import cli, provenance
from diskimage_create.errors import InputError
from diskimage_create.model import Status
from diskimage_create.provenance import Contents, checking, sums
from diskimage_create.provenance.signing import Ed25519Signer
from diskimage_create.provenance.statement import statement
from diskimage_create.provenance.verify import verify

KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32) for byte in (1, 2))
SIGNER = Ed25519Signer(KEY)
UNSIGNED = {"SHA256SUMS", "x.qcow2.cdx.json", "x.qcow2.provenance.json", "x.qcow2.sha256", "x.qcow2.spdx.json"}
SIGNED = UNSIGNED | {"x.qcow2.intoto.jsonl", "x.qcow2.provenance.json.sig", "x.qcow2.sha256.sig"}


def public(directory: Path, key: Ed25519PrivateKey = KEY) -> checking.Checker:
    path = directory / "key.pub"
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return checking.load(str(path))


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    return contents_of(debian_tree(tmp_path_factory.mktemp("tree")))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    directory = tmp_path / "images"
    directory.mkdir()
    return image_with_record(directory)


def attest(image: Path, contents: Contents | None, signer: Ed25519Signer | None = SIGNER) -> set[str]:
    return {path.name for path in provenance.write_all(image, provenance.read_record(image), contents, signer)}


def outcome(image: Path, key: checking.Checker | None = None) -> dict[str, Status]:
    return {finding.id: finding.status for finding in verify(image, key).findings}


def failures(image: Path, key: checking.Checker | None = None) -> set[str]:
    return {finding.id for finding in verify(image, key).failed}


def test_all_is_written_and_all_is_right(tmp_path: Path, image: Path, contents: Contents) -> None:
    assert attest(image, contents) == SIGNED
    assert set(outcome(image, public(tmp_path)).values()) == {Status.PASS}
    assert sorted(path.name for path in image.parent.iterdir()) == sorted(SIGNED | {"x.qcow2", "x.qcow2.json"})


def test_without_a_key_nothing_is_signed(image: Path, contents: Contents) -> None:
    assert attest(image, contents, None) == UNSIGNED
    found = outcome(image)
    assert {name for name, status in found.items() if status is Status.SKIP} == {
        *("signature-checksum", "signature-provenance", "envelope")
    }
    assert failures(image) == set()


def test_written_twice_it_is_the_same(image: Path, contents: Contents) -> None:
    attest(image, contents)
    before = {path.name: path.read_bytes() for path in image.parent.iterdir()}
    attest(image, contents)
    assert {path.name: path.read_bytes() for path in image.parent.iterdir()} == before


@pytest.mark.subprocess("sha256sum checks the sums")
def test_sha256sum_finds_nothing_wrong(image: Path, contents: Contents) -> None:
    attest(image, contents)
    for sums_file in ("SHA256SUMS", "x.qcow2.sha256"):
        subprocess.run(["sha256sum", "--check", "--strict", sums_file], cwd=image.parent, check=True)


def edited(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def forged_sums(image: Path) -> None:
    """Whoever can write to the directory can make all sums fit."""
    found = sums.read(image.parent)
    made = {name: hashlib.sha256((image.parent / name).read_bytes()).hexdigest() for name in found}
    (image.parent / "SHA256SUMS").write_text(sums.as_text(made))


def named(image: Path, extension: str) -> Path:
    return image.with_name(image.name + extension)


def other_subject(statement: dict[str, Any]) -> None:
    statement["subject"][0]["digest"]["sha256"] = "0" * 64


OF_THE_IMAGE = {"record", "checksum", "sums", "spdx", "cyclonedx", "provenance"}
OF_THE_CHECKSUM = {"checksum", "sums", "signature-checksum"}
DAMAGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "image changed": (lambda image: image.write_bytes(b"another!"), OF_THE_IMAGE),
    "image grown": (lambda image: image.write_bytes(b"an image, and more"), OF_THE_IMAGE),
    "record changed": (
        lambda image: edited(named(image, ".json"), lambda r: r.update(notes=["x"])), {"sums", "provenance"}
    ),
    "record damaged": (lambda image: named(image, ".json").write_text("{"), {"record", "sums", "provenance"}),
    "record is no object": (lambda image: named(image, ".json").write_text("[]"), {"record", "sums", "provenance"}),
    "checksum of another": (lambda image: named(image, ".sha256").write_text("0" * 64), OF_THE_CHECKSUM),
    "checksum empty": (lambda image: named(image, ".sha256").write_text(""), OF_THE_CHECKSUM),
    "package added to the SBOM": (
        lambda image: edited(named(image, ".spdx.json"), lambda d: d["packages"].append(d["packages"][1])),
        {"sums", "provenance"},
    ),
    "SBOM of another image": (
        lambda image: edited(named(image, ".cdx.json"), lambda d: d["metadata"]["component"].update(hashes=[])),
        {"sums", "cyclonedx", "provenance"},
    ),
    "SBOM removed": (lambda image: named(image, ".spdx.json").unlink(), {"sums"}),
    "provenance of another image": (
        lambda image: edited(named(image, ".provenance.json"), other_subject),
        {"sums", "provenance", "signature-provenance", "envelope"},
    ),
    "provenance of another kind": (
        lambda image: edited(named(image, ".provenance.json"), lambda d: d.update(predicateType="x")),
        {"sums", "provenance", "signature-provenance", "envelope"},
    ),
    "provenance spelled otherwise": (
        lambda image: edited(named(image, ".provenance.json"), lambda d: None),
        {"sums", "signature-provenance", "envelope"},
    ),
    "signature removed": (lambda image: named(image, ".sha256.sig").unlink(), {"sums", "signature-checksum"}),
    "signature damaged": (
        lambda image: named(image, ".provenance.json.sig").write_bytes(bytes(64)), {"sums", "signature-provenance"}
    ),
    "envelope damaged": (lambda image: named(image, ".intoto.jsonl").write_text("{}\n"), {"sums", "envelope"}),
    "envelope's signature damaged": (
        lambda image: edited(named(image, ".intoto.jsonl"), lambda d: d["signatures"][0].update(sig="AAAA")),
        {"sums", "envelope"},
    ),
    "envelope of something else": (
        lambda image: edited(named(image, ".intoto.jsonl"), lambda d: d.update(payloadType="text/plain")),
        {"sums", "envelope"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_change_is_seen(tmp_path: Path, image: Path, contents: Contents, damage: str) -> None:
    attest(image, contents)
    change, expected = DAMAGES[damage]
    change(image)
    assert failures(image, public(tmp_path)) == expected


def test_a_signature_is_what_a_forger_cannot_make(tmp_path: Path, image: Path, contents: Contents) -> None:
    """All other files can be made to fit a changed image; without a key that is all right, with one it is not."""
    attest(image, contents)
    image_with_record(image.parent, content=b"with a back door")
    attest(image, contents, Ed25519Signer(OTHER_KEY))
    assert failures(image) == set()
    assert failures(image, public(tmp_path)) == {"signature-checksum", "signature-provenance"}


def test_unsigned_is_wrong_where_a_key_is_asked_for(tmp_path: Path, image: Path, contents: Contents) -> None:
    attest(image, contents, None)
    assert failures(image, public(tmp_path)) == {"signature-checksum", "signature-provenance"}


def test_an_old_envelope_with_forged_sums_is_seen(tmp_path: Path, image: Path, contents: Contents) -> None:
    attest(image, contents)
    edited(named(image, ".provenance.json"), lambda d: d["predicate"]["buildDefinition"].update(buildType="x"))
    forged_sums(image)
    assert failures(image) == {"envelope"}
    assert failures(image, public(tmp_path)) == {"envelope", "signature-provenance"}


def test_what_is_of_an_earlier_image_goes(image: Path, contents: Contents) -> None:
    attest(image, contents)
    image_with_record(image.parent, content=b"another build")
    assert attest(image, None, None) == UNSIGNED - {"x.qcow2.cdx.json", "x.qcow2.spdx.json"}
    left = {path.name for path in image.parent.iterdir()}
    assert left == {"SHA256SUMS", "x.qcow2", "x.qcow2.json", "x.qcow2.provenance.json", "x.qcow2.sha256"}
    assert set(sums.read(image.parent)) == left - {"SHA256SUMS"}
    assert failures(image) == set()


def test_a_log_may_be_that_of_another_build_by_now(image: Path, contents: Contents) -> None:
    log = image.with_name("x.log")
    log.write_text("of this build")
    provenance.write_all(image, provenance.read_record(image), contents, None, log)
    byproducts = json.loads(named(image, ".provenance.json").read_text())["predicate"]["runDetails"]["byproducts"]
    assert {each["name"] for each in byproducts} == {"x.log", "x.qcow2.json", "x.qcow2.spdx.json", "x.qcow2.cdx.json"}
    log.write_text("of another one")
    assert failures(image) == set()


def test_two_keys_can_sign(tmp_path: Path, image: Path, contents: Contents) -> None:
    class Elsewhere(Ed25519Signer):
        """Like a key of another kind: its signatures have other names."""

    attest(image, contents)
    other = Elsewhere(OTHER_KEY, extension=".minisig")
    provenance.write_all(image, provenance.read_record(image), contents, other)
    found = outcome(image, public(tmp_path))
    assert found.pop("envelope") is Status.SKIP
    assert set(found.values()) == {Status.PASS}


@pytest.mark.parametrize("moment", range(12))
def test_interrupted_at_any_moment_the_next_time_is_right(
    tmp_path: Path, image: Path, contents: Contents, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another image of that name: files of both are there meanwhile, and found to be so."""
    attest(image, contents)
    image_with_record(image.parent, content=b"another build")
    renamed = []

    def rename(source: Path, target: Path) -> None:
        if len(renamed) == moment:
            raise KeyboardInterrupt
        renamed.append(target)
        original(source, target)

    original = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", rename)
        with suppress(KeyboardInterrupt):
            attest(image, contents)
    assert len(renamed) == len(SIGNED) or failures(image, public(tmp_path)) != set()
    attest(image, contents)
    assert set(outcome(image, public(tmp_path)).values()) == {Status.PASS}
    assert {path.name for path in image.parent.iterdir()} == SIGNED | {"x.qcow2", "x.qcow2.json"}


def test_sums_of_other_images_stay(image: Path, contents: Contents) -> None:
    other = image_with_record(image.parent, "y.qcow2", b"another image")
    latin = f"{'2' * 64}  caf\xe9\n".encode("latin-1")
    before = f"# of somebody\n{'0' * 64} *unrelated file\n{'1' * 64}  x.qcow2\nSHA256 (z) = {'3' * 64}\n".encode()
    (image.parent / "SHA256SUMS").write_bytes(before + latin)
    attest(image, contents, None)
    attest(other, contents, None)
    found = sums.read(image.parent)
    assert found["unrelated file"] == "0" * 64
    written = (image.parent / "SHA256SUMS").read_bytes()
    assert written.startswith(f"# of somebody\nSHA256 (z) = {'3' * 64}\n".encode())
    assert latin in written
    assert found["x.qcow2"] == hashlib.sha256(b"an image").hexdigest()
    assert found["y.qcow2"] == hashlib.sha256(b"another image").hexdigest()
    assert failures(image) == failures(other) == set()


def test_images_that_are_finished_at_once_share_the_sums(image: Path, contents: Contents) -> None:
    images = [image_with_record(image.parent, f"{number}.qcow2", bytes([number])) for number in range(8)]
    running = [threading.Thread(target=attest, args=(each, contents, None)) for each in images]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert {each.name for each in images} <= set(sums.read(image.parent))
    assert all(failures(each) == set() for each in images)


@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda name: "\0" not in name), st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
    )
)
def test_sums_are_read_as_they_were_written(found: dict[str, str]) -> None:
    assert sums.parse(sums.as_text(found)) == found


def test_the_statement_is_one_to_other_readers() -> None:
    made = statement("x.qcow2", "0" * 64, RECORD, [])
    message = ParseDict(made, StatementMessage())
    Statement.copy_from_pb(message).validate()
    predicate = ParseDict(made["predicate"], provenance_pb2.Provenance())  # type: ignore[attr-defined]
    found = {each.name: dict(each.digest) for each in predicate.build_definition.resolved_dependencies}
    assert found == {
        "apt trixie": {"sha256": "4" * 64},
        "element:vm": {"sha256": "2" * 64},
        "source repository octavia": {"gitCommit": "5" * 40},
        "tool:diskimage-builder": {"sha256": "3" * 64},
    }
    assert made["predicate"]["buildDefinition"]["internalParameters"]["inputs"] == {
        "a hook": "unknown",
        "tool:uv": "0.13.8",
    }
    assert made["predicate"]["buildDefinition"]["externalParameters"] == {
        "options": {"release": "trixie"},
        "environment": {"DIB_RELEASE": "trixie", "DIB_TOKEN": "***"},
    }
    assert predicate.run_details.metadata.started_on.ToJsonString() == "2026-11-21T16:11:43Z"
    assert predicate.run_details.metadata.finished_on.ToJsonString() == "2026-11-21T16:14:13Z"


def test_a_stored_image_was_finished_when_it_was_stored() -> None:
    record = RECORD | {"reused_from": {"fingerprint": "x", "built": "2026-11-20T10:00:00+02:00"}}
    metadata = statement("x", "0" * 64, record, [])["predicate"]["runDetails"]["metadata"]
    assert metadata["finishedOn"] == "2026-11-20T08:00:00Z"
    assert "startedOn" not in metadata


def test_a_record_of_something_else_is_refused(image: Path) -> None:
    image.write_bytes(b"something else")
    with pytest.raises(InputError, match="not the image that its record is of"):
        provenance.read_record(image)
    named(image, ".json").write_text("[1")
    with pytest.raises(InputError, match="cannot be used"):
        provenance.read_record(image)
    named(image, ".json").unlink()
    with pytest.raises(InputError, match="there is no record"):
        provenance.read_record(image)


def test_a_record_that_says_too_little_is_refused(image: Path, contents: Contents) -> None:
    record = provenance.read_record(image)
    del record["inputs"]
    with pytest.raises(InputError, match="says too little"):
        provenance.write_all(image, record, contents, None)
    assert sorted(path.name for path in image.parent.iterdir()) == ["x.qcow2", "x.qcow2.json", "x.qcow2.sha256"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_command(tmp_path: Path, image: Path, contents: Contents, capsys: pytest.CaptureFixture[str]) -> None:
    attest(image, contents)
    public(tmp_path)
    status, output, _ = run(capsys, "verify", image, "--key", tmp_path / "key.pub", "--format", "json")
    assert status == 0
    assert schema_errors(json.loads(output), "validation") == []
    image.write_bytes(b"changed")
    status, output, _ = run(capsys, "verify", image)
    assert status == 5
    assert "FAIL  record" in output


def test_nothing_to_check_against(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.qcow2").write_bytes(b"x")
    assert run(capsys, "verify", tmp_path / "x.qcow2")[0] == 2
    assert run(capsys, "verify", tmp_path / "none.qcow2")[0] == 2
    status, _, error = run(capsys, "verify", tmp_path / "x.qcow2", "--key", tmp_path / "no.pub")
    assert (status, "no.pub" in error) == (2, True)


def test_an_empty_key_is_no_missing_one(tmp_path: Path, image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["verify", image, "--key", ""], ["attest", image, "--sign", ""]):
        status, output, error = run(capsys, *command)
        assert (status, output) == (2, "")
        assert "no key is named" in error


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_what_cannot_be_understood_is_named(
    text: str, image: Path, contents: Contents, capsys: pytest.CaptureFixture[str]
) -> None:
    attest(image, contents)
    for name in (".json", ".spdx.json", ".cdx.json", ".provenance.json"):
        path = named(image, name)
        before = path.read_bytes()
        path.write_text(text)
        status, output, _ = run(capsys, "verify", image)
        assert status == 5
        assert f"{path.name} cannot be understood: " in output
        path.write_bytes(before)


@pytest.mark.parametrize("command", ["attest", "sbom"])
def test_what_is_no_image(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run(capsys, command, tmp_path / "none.qcow2")[0] == 2
    assert list(tmp_path.iterdir()) == []
