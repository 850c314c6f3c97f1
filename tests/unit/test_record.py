"""The record beside an image: its shape, its files, and that it tells no secrets."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from samples import plan

from contract import schema_errors
from diskimage_create import inputs, record
from diskimage_create import plan as plans
from diskimage_create.digests import sha256
from diskimage_create.errors import InputError
from diskimage_create.model import Artifact, Finding, PhaseTiming, Report, Status
from diskimage_create.validate import from_json, to_json
from diskimage_create.validate.record import read_record, recorded_artifact, recorded_digest

TOOLS = {"diskimage-create": "0.1.0", "diskimage-builder": "3.43.0"}
TIMINGS = [
    PhaseTiming("root", "08-debootstrap", 23.6834),
    PhaseTiming("convert", "", 1),
    PhaseTiming("total", "", 91.94),
]
REMOTE = {"root": {"apt trixie": "sha256:" + 64 * "0"}}
PACKAGES = [{"package": "haproxy", "version": "3.0.1-1", "architecture": "amd64"}]


@pytest.fixture
def artifacts(tmp_path: Path) -> list[Artifact]:
    made = []
    for image_type in ("qcow2", "tar"):
        path = tmp_path / f"amphora.{image_type}"
        path.write_text(image_type)
        made.append(Artifact(image_type, path, sha256(path), path.stat().st_size))
    return made


def made_from(artifacts: list[Artifact], *, ok: bool = True, **options: Any) -> dict[str, Any]:
    built = plan({"os": "debian", "output": str(artifacts[0].path), "type": "qcow2,tar", **options})
    status = Status.PASS if ok else Status.FAIL
    report = Report(Path("/work/.amphora.1.partial"), (Finding("kernel", "A kernel", status, "6.12", 0.01),), 0.8)
    return record.make(
        built,
        artifacts,
        report,
        remote=REMOTE,
        resumed_from=None,
        packages=PACKAGES,
        timings=TIMINGS,
        expectation=to_json(plans.expectation(built)),
        element_checks="sha256:" + 64 * "1",
        tools=TOOLS,
        started=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    )


def test_the_shape_is_that_of_the_shipped_schema(artifacts: list[Artifact]) -> None:
    data = json.loads(json.dumps(made_from(artifacts)))
    assert schema_errors(data, "record") == []
    assert schema_errors({**data, "validation": None}, "record") == []
    assert data["image"]["types"] == ["qcow2"]
    assert data["image"]["output"] == str(artifacts[0].path)
    assert [made["path"] for made in data["artifacts"]] == ["amphora.qcow2", "amphora.tar"]
    assert data["artifacts"][0]["sha256"] == hashlib.sha256(b"qcow2").hexdigest()
    assert (data["started"], data["seconds"]) == ("2026-01-02T03:04:05+00:00", 91.9)
    assert data["validation"]["image"] == "amphora.qcow2"
    assert data["remote_inputs"] == REMOTE["root"]
    local = plan({"os": "debian", "output": str(artifacts[0].path), "type": "qcow2,tar"})
    assert data["inputs"] == plans.as_json(local)["inputs"]
    assert data["fingerprint"] == inputs.fingerprint(inputs.merged(local.inputs, REMOTE))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2),
        ("artifacts", []),
        ("artifacts", [{"type": "qcow2", "path": "/abs/x", "sha256": "0" * 64, "bytes": 1}]),
        ("fingerprint", "unknown"),
        ("packages", [{"package": "x"}]),
        ("validation", {"image": "x", "ok": True}),
        ("tools", {}),
        ("started", "yesterday"),
    ],
)
def test_the_schema_refuses_what_is_no_record(artifacts: list[Artifact], key: str, value: object) -> None:
    assert schema_errors({**made_from(artifacts), key: value}, "record")


def test_a_report_is_what_its_schema_says(artifacts: list[Artifact]) -> None:
    for ok in (True, False):
        data = made_from(artifacts, ok=ok)["validation"]
        assert schema_errors(data, "validation") == []
        assert schema_errors({**data, "ok": not ok}, "validation")


def test_secrets_are_not_in_a_record(artifacts: list[Artifact]) -> None:
    text = json.dumps(made_from(artifacts, root_password="canary", env=("DIB_X_TOKEN=canary", "X=http://u:canary@h/")))
    assert "canary" not in text
    assert '"root_password": true' in text


def test_files_beside_the_image(artifacts: list[Artifact]) -> None:
    image = artifacts[0]
    for path, text in record.texts_beside(image, made_from(artifacts)):
        path.write_text(text)
    assert sorted(path.name for path in image.path.parent.iterdir()) == [
        *("amphora.qcow2", "amphora.qcow2.json", "amphora.qcow2.sha256", "amphora.tar")
    ]
    assert (image.path.parent / "amphora.qcow2.sha256").read_text() == f"{image.sha256}  amphora.qcow2\n"
    # What validation reads again is what was written.
    assert read_record(image.path) == json.loads(record.path_for(image.path).read_text())
    assert (recorded_artifact(image.path) or {})["bytes"] == 5
    assert recorded_digest(image.path) == image.sha256


def test_what_was_expected_can_be_read_again(artifacts: list[Artifact]) -> None:
    data = made_from(artifacts)["expectation"]
    assert to_json(from_json(json.loads(json.dumps(data)))) == data


def test_an_image_that_went_to_a_daemon_is_no_file(tmp_path: Path) -> None:
    gone = Artifact("docker", tmp_path / "amphora.docker", "0" * 64, 5)
    assert [path.name for path, _ in record.texts_beside(gone, {"schema": 1})] == ["amphora.docker.json"]


def test_a_record_nested_without_end_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="the record cannot be read"):
        read_record(tmp_path / "x")


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"x" * (3 << 20))
    assert sha256(path) == hashlib.sha256(b"x" * (3 << 20)).hexdigest()


def test_a_reused_image_says_so(artifacts: list[Artifact], tmp_path: Path) -> None:
    stored = made_from(artifacts)
    record.write(tmp_path / "stored.json", stored)
    now = [replace(made, path=tmp_path / f"other.{made.type}") for made in artifacts]
    built, started = datetime(2026, 1, 2, 3, 6, tzinfo=UTC), datetime(2026, 2, 3, 4, 5, tzinfo=UTC)
    data = record.reused(record.read(tmp_path / "stored.json"), now, built, started, 0.123)
    assert schema_errors(data, "record") == []
    assert data["built"] is False
    assert data["reused_from"] == {"fingerprint": stored["fingerprint"], "built": "2026-01-02T03:06:00+00:00"}
    assert (data["started"], data["seconds"]) == ("2026-02-03T04:05:00+00:00", 0.1)
    assert data["image"]["output"] == f"{tmp_path}/other.qcow2"
    assert [made["path"] for made in data["artifacts"]] == ["other.qcow2", "other.tar"]
    assert data["validation"]["image"] == "other.qcow2"
    # All else is as true of it as it was then.
    said_anew = {"built", "reused_from", "started", "seconds", "image", "artifacts", "validation"}
    assert {name: data[name] for name in data.keys() - said_anew} == {
        name: stored[name] for name in stored.keys() - said_anew
    }
    assert record.artifact_of(data, now[0].path) == now[0]


def test_one_that_was_not_checked_is_not_said_to_be(artifacts: list[Artifact]) -> None:
    stored = {**made_from(artifacts), "validation": None}
    data = record.reused(stored, artifacts, datetime.now(UTC), datetime.now(UTC), 0)
    assert data["validation"] is None
    assert schema_errors(data, "record") == []


def test_other_checks_of_elements_stand_in_for_the_older_ones(artifacts: list[Artifact]) -> None:
    stored = made_from(artifacts)
    old = {"title": "t", "status": "pass", "message": "", "seconds": 0, "severity": "error"}
    stored["validation"]["checks"] += [{**old, "id": "element-checks"}, {**old, "id": "motd/test_gone"}]
    new = [Finding("element-checks", "t", Status.PASS, "1"), Finding("motd/test_new", "t", Status.WARN, "look")]
    data = record.checked(stored, new, "sha256:" + 64 * "2")
    assert [(each["id"], each["message"]) for each in data["validation"]["checks"]] == [
        ("kernel", "6.12"), ("element-checks", "1"), ("motd/test_new", "look"),
    ]  # fmt: skip
    assert schema_errors(json.loads(json.dumps(data)), "record") == []
    assert data["element_checks"] == "sha256:" + 64 * "2"
    assert {name for name in data if data[name] != stored[name]} == {"validation", "element_checks"}


def test_reused_and_built_exclude_each_other(artifacts: list[Artifact]) -> None:
    built = made_from(artifacts)
    reused = record.reused(built, artifacts, datetime.now(UTC), datetime.now(UTC), 0)
    assert schema_errors({**reused, "built": True}, "record")
    assert schema_errors({**built, "built": False}, "record")
