"""The real amphora with its SBOMs: what dpkg and the agent's environment hold is what other programs read in them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from building import COMMAND, REPRODUCIBLE, Built, clean_environment, run_build
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

EXTENSIONS = ("qcow2", "tar")


def command(*arguments: str | Path) -> str:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def attested(bookworm: Built, builds: Path) -> dict[str, Path]:
    """Both images by extension, in a directory of their own: others look at what the build has left."""
    directory = builds / "attested"
    directory.mkdir()
    # Taken from the store: it is the same build
    again = run_build(
        directory, "-i", "debian", "-d", "bookworm", "-t", ",".join(EXTENSIONS), "--attest", env=REPRODUCIBLE
    )
    assert again.returncode == 0, again.stderr[-4000:]
    assert not again.record()["built"]
    return {extension: again.path(extension) for extension in EXTENSIONS}


def test_attesting_again_changes_nothing(attested: dict[str, Path]) -> None:
    before = {path.name: path.read_bytes() for path in attested["qcow2"].parent.glob("*.json")}
    command("attest", attested["qcow2"])
    assert {path.name: path.read_bytes() for path in attested["qcow2"].parent.glob("*.json")} == before


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_everything_beside_it_is_right(attested: dict[str, Path], extension: str) -> None:
    report = json.loads(command("verify", attested[extension], "--format", "json"))
    passed = {check["id"] for check in report["checks"] if check["status"] == "pass"}
    assert passed == {"record", "checksum", "sums", "spdx", "cyclonedx", "provenance"}
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=attested[extension].parent, check=True
    )


def test_the_sboms_name_what_the_record_names(bookworm: Built, attested: dict[str, Path]) -> None:
    document = json.loads(attested["qcow2"].with_name(f"{attested['qcow2'].name}.cdx.json").read_text())
    purls = [PackageURL.from_string(component["purl"]) for component in document["components"]]
    found = {(purl.name, purl.version, purl.qualifiers["arch"]) for purl in purls if purl.type == "deb"}
    packages = bookworm.record()["packages"]
    assert found == {(package["package"], package["version"], package["architecture"]) for package in packages}
    assert len([purl for purl in purls if purl.type == "deb"]) == len(packages)
    distributions = {purl.name for purl in purls if purl.type == "pypi"}
    assert {"octavia", "octavia-lib", "oslo.config", "flask", "gunicorn", "pyroute2"} <= distributions
    with_licence = [component for component in document["components"] if component.get("licenses")]
    assert len(with_licence) > len(purls) * 0.8


def test_other_programs_read_them(attested: dict[str, Path]) -> None:
    image = attested["qcow2"]
    parsed = parse_file(str(image.with_name(f"{image.name}.spdx.json")))
    assert [message.validation_message for message in validate_full_spdx_document(parsed)] == []
    text = image.with_name(f"{image.name}.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_every_type_holds_the_same(attested: dict[str, Path]) -> None:
    components = []
    for image in attested.values():
        document = json.loads(image.with_name(f"{image.name}.cdx.json").read_text())
        components.append(document["components"])
    assert components[0] == components[1]
