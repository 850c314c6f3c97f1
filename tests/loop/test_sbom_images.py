"""SBOM, attestation and verification of real images of every type, by the commands."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contract import schema_errors
from diskimage_create import cli, process, provenance
from diskimage_create.diff import Kind, compare
from publishing import file_image

pytestmark = pytest.mark.loop

ImageMaker = Callable[..., Path]
PACKAGES = ("haproxy", "keepalived", "cloud-init", "gcc-12-base")


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    status = cli.main([str(argument) for argument in arguments])
    return status, capsys.readouterr().out


@pytest.fixture
def rich_tree(tree: Path) -> Path:
    """With a distribution in the agent's virtual environment, which has more than a name."""
    metadata = tree / "opt/amphora-agent-venv/lib/python3.11/site-packages/octavia-19.0.0.dist-info/METADATA"
    metadata.write_text("Metadata-Version: 2.4\nName: octavia\nVersion: 19.0.0\nLicense-Expression: Apache-2.0\n")
    return tree


def recorded(image: Path) -> Path:
    """With what a record has to say for provenance."""
    artifact = {"type": "raw", "path": image.name, "sha256": hashlib.sha256(image.read_bytes()).hexdigest()}
    record = {
        "schema": 1, "started": "2026-11-21T16:11:43+00:00", "seconds": 1, "fingerprint": "x", "inputs": {},
        "image": {"arch": "amd64"}, "remote_inputs": {}, "environment": {}, "command": [], "resumed_from": None,
        "tools": {"diskimage-create": "0.1.0"}, "artifacts": [artifact | {"bytes": image.stat().st_size}],
    }  # fmt: skip
    image.with_name(f"{image.name}.json").write_text(json.dumps(record))
    return image


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vhd", "tar", "tgz", "squashfs"])
def test_every_type_has_the_same_contents(rich_tree: Path, make_image: ImageMaker, kind: str) -> None:
    found = provenance.read_contents(make_image(kind))
    assert [component.name for component in found.components] == [*sorted(PACKAGES), "octavia"]
    assert found.components[-1].purl == "pkg:pypi/octavia@19.0.0"
    assert found.system["PRETTY_NAME"] == "Debian 12"


def test_the_commands(
    rich_tree: Path, make_image: ImageMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = recorded(make_image("qcow2"))
    assert run(capsys, "attest", image)[0] == 0
    status, output = run(capsys, "verify", image, "--format", "json")
    assert status == 0
    assert schema_errors(json.loads(output), "validation") == []
    for form, extension in (("spdx", "spdx.json"), ("cyclonedx", "cdx.json")):
        beside = image.with_name(f"{image.name}.{extension}")
        assert run(capsys, "sbom", image, "--type", form) == (0, beside.read_text())
        assert run(capsys, "sbom", image, "--type", form, "-o", tmp_path / form) == (0, "")
        assert (tmp_path / form).read_text() == beside.read_text()
    with image.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    assert run(capsys, "verify", image)[0] == 5
    assert run(capsys, "attest", image)[0] == 2


def test_a_user_who_is_not_root_gets_the_same(
    rich_tree: Path, make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("sudo"):
        pytest.skip("sudo is not installed")
    image = make_image("tar")
    as_root = provenance.read_contents(image)
    monkeypatch.setattr(process, "is_root", lambda: False)
    assert provenance.read_contents(image) == as_root


def test_an_image_without_packages(tree: Path, make_image: ImageMaker, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "var/lib/dpkg/status").unlink()
    assert run(capsys, "sbom", make_image("tar"))[0] == 2


def test_diff_names_what_an_upgrade_fixes(tree: Path, make_image: ImageMaker, tmp_path: Path) -> None:
    old = make_image("tar").rename(tmp_path / "old.tar")
    status = tree / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace("Version: 1\n", "Version: 2\n", 1))
    changelog = tree / "usr/share/doc/haproxy/changelog.Debian.gz"
    changelog.parent.mkdir(parents=True)
    changelog.write_bytes(gzip.compress(b"haproxy (2) stable; urgency=high\n\n  * CVE-2026-1234\n"))
    found = compare(old, make_image("tar"))
    assert {(change.name, change.kind, change.cves) for change in found.groups["packages"]} == {
        ("haproxy:", Kind.UPGRADED, ("CVE-2026-1234",))
    }
    assert schema_errors(found.as_json(), "diff") == []


@pytest.mark.parametrize("command", ["attest", "sbom"])
def test_an_image_of_no_known_form(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The record may be of it, but nobody can look into it."""
    image = file_image(tmp_path / "x.qcow2", b"no image")
    before = sorted(tmp_path.iterdir())
    assert cli.main([command, str(image)]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith("error: the file is no disk image")
    assert sorted(tmp_path.iterdir()) == before
