"""A plain image, which has nothing of an amphora, and trusts a certificate authority of the user's."""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from building import COMMAND, Built, clean_environment, leftovers, run_build

from contract import schema_errors
from diskimage_create.validate.image import open_image
from diskimage_create.validate.root import ImageRoot

WATCH = """\
#!/bin/bash
set -eu
set -o pipefail
echo "This machine is watched." > /etc/motd
"""
PROMISE = """\
def test_message(host):
    assert host.file("/etc/motd").contains("watched")


def test_programs_of_the_image(host):
    assert host.package("openssh-server").is_installed
    assert host.service("ssh").is_enabled
    assert host.user("root").shell == "/bin/bash"
    assert host.check_output("sshd -V 2>&1 || true").startswith("OpenSSH")
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two CA certificates in one file."""
    directory = tmp_path_factory.mktemp("authority")
    texts = []
    for name in ("one", "two"):
        file = directory / f"{name}.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN=Test CA {name}"]
        subprocess.run([*command, "-keyout", directory / "key", "-out", file], check=True, capture_output=True)
        texts.append(file.read_text())
    both = directory / "both.pem"
    both.write_text("".join(texts))
    return both


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An element that writes a message, and the checks that it brings."""
    element = tmp_path_factory.mktemp("elements") / "watched"
    for name, text in (("install.d/50-watched", WATCH), ("checks/test_watched.py", PROMISE), ("README.rst", "Motd.\n")):
        (element / name).parent.mkdir(parents=True, exist_ok=True)
        (element / name).write_text(text)
    (element / "install.d/50-watched").chmod(0o755)
    return element


@pytest.fixture(scope="module")
def build_base(builds: Path, authority: Path, watched: Path) -> Callable[[], Built]:
    """Builds the image, or takes it from the store of the run."""
    directory = builds / "base"
    directory.mkdir()
    arguments = ("--profile", "base", "-i", "debian", "-d", "bookworm", "--ca-certificate", str(authority))
    environment = {"ELEMENTS_PATH": str(watched.parent)}
    return lambda: run_build(directory, *arguments, "--element", "watched", env=environment)


@pytest.fixture(scope="module")
def base(build_base: Callable[[], Built]) -> Built:
    built = build_base()
    assert built.returncode == 0, built.stderr[-4000:]
    return built


@pytest.fixture
def root(base: Built, tmp_path: Path) -> Iterator[ImageRoot]:
    with open_image(base.directory / "base.qcow2", workspace=tmp_path) as view:
        yield view.root


def test_it_is_found_good(base: Built) -> None:
    record = json.loads((base.directory / "base.qcow2.json").read_text())
    assert schema_errors(record, "record") == []
    assert (record["image"]["profile"], record["image"]["size_gib"]) == ("base", 3)
    statuses = {check["id"]: check["status"] for check in record["validation"]["checks"]}
    assert not {"fail", "warn"} & set(statuses.values())
    for check in ("boot-loader", "fstab", "sshd", "packages", "host-certificates", "custom-ca", "secrets"):
        assert statuses[check] == "pass", check
    for check in ("haproxy", "keepalived", "agent-files", "ramdisk"):
        assert statuses[check] == "skip", check


def test_it_has_cloud_init_and_nothing_of_an_amphora(base: Built) -> None:
    record = json.loads((base.directory / "base.qcow2.json").read_text())
    installed = {package["package"] for package in record["packages"]}
    assert {"cloud-init", "openssh-server"} <= installed
    assert not {"haproxy", "keepalived", "rsyslog", "nftables"} & installed


def test_it_trusts_the_certificates_for_good(root: ImageRoot, authority: Path) -> None:
    """Written down from what Debian's ca-certificates does: a bundle, and a link for each certificate."""
    blocks = [f"{text}-----END CERTIFICATE-----" for text in authority.read_text().split("-----END CERTIFICATE-----")]
    wanted = [block.strip() for block in blocks[:2]]
    bundle = root.read_text("/etc/ssl/certs/ca-certificates.crt") or ""
    assert [block in bundle for block in wanted] == [True, True]
    assert bundle.count("BEGIN CERTIFICATE") > 100  # the distribution's are still trusted
    local = root.glob("/usr/local/share/ca-certificates/*")
    assert len(local) == 2
    linked = {root.read_text(name) for name in root.glob("/etc/ssl/certs/both-*.pem")}
    assert linked == {f"{block}\n" for block in wanted}


def test_openssl_in_the_image_accepts_what_they_have_signed(root: ImageRoot, authority: Path) -> None:
    """The image's own bundle, with a self-signed certificate that is its own issuer."""
    bundle = root.resolve("/etc/ssl/certs/ca-certificates.crt")
    command = ["openssl", "verify", "-CAfile", bundle, authority]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == f"{authority}: OK", done.stderr


def test_the_record_names_them_and_validate_finds_the_image_good_later(base: Built, authority: Path) -> None:
    blocks = [f"{text}-----END CERTIFICATE-----\n" for text in authority.read_text().split("-----END CERTIFICATE-----")]
    digests = [hashlib.sha256(ssl.PEM_cert_to_DER_cert(block.strip())).hexdigest() for block in blocks[:2]]
    record = json.loads((base.directory / "base.qcow2.json").read_text())
    assert record["expectation"]["ca_certificates"] == digests
    command = [*COMMAND, "validate", str(base.directory / "base.qcow2"), "--format", "json"]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert leftovers() == set()


def checks_of(record: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["status"] for check in record["validation"]["checks"]}


@pytest.fixture
def sandbox() -> None:
    """Skip where programs of an image cannot be run: a build does not run the checks that elements bring, then."""
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "true"]
    if not shutil.which("bwrap") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("bwrap (package bubblewrap) is not installed, or cannot make namespaces here")


@pytest.mark.usefixtures("sandbox")
def test_the_checks_that_an_element_brings_are_run(base: Built) -> None:
    record = json.loads((base.directory / "base.qcow2.json").read_text())
    checks = checks_of(record)
    assert {id for id in checks if "/" in id} == {"watched/test_message", "watched/test_programs_of_the_image"}
    assert {checks[id] for id in ("element-checks", *(id for id in checks if "/" in id))} == {"pass"}
    assert record["element_checks"]


@pytest.mark.usefixtures("sandbox")
def test_validate_runs_them_when_it_is_told_to(base: Built, watched: Path) -> None:
    image = str(base.directory / "base.qcow2")
    command = [*COMMAND, "validate", image, "--only", "watched/*", "--format", "json"]
    environment = clean_environment({"ELEMENTS_PATH": str(watched.parent)})
    statuses = {}
    for option in ("--element-checks", f"--checks={watched}"):
        done = subprocess.run([*command, option], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        statuses[option] = {check["id"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    assert statuses["--element-checks"] == statuses[f"--checks={watched}"]
    assert set(statuses["--element-checks"].values()) == {"pass"}
    untold = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (untold.returncode, untold.stdout) == (2, "")
    assert leftovers() == set()


@pytest.mark.usefixtures("sandbox")
def test_changed_checks_are_run_against_the_stored_image(
    base: Built, build_base: Callable[[], Built], watched: Path
) -> None:
    image, record = (base.directory / f"base.{name}" for name in ("qcow2", "qcow2.json"))
    made, recorded = image.read_bytes(), record.read_text()
    tests = watched / "checks/test_watched.py"
    try:
        tests.write_text(PROMISE.replace('"watched"', '"not watched"'))
        again = build_base()
        assert again.returncode == 5, again.stderr[-4000:]
        assert "watched/test_message: watched/checks/test_watched.py:2: " in again.stderr
        assert (image.read_bytes(), record.read_text()) == (made, recorded)
        tests.write_text(PROMISE.replace("def test_message", "def test_warning"))
        again = build_base()
        assert again.returncode == 0, again.stderr[-4000:]
    finally:
        tests.write_text(PROMISE)
    data = json.loads(record.read_text())
    assert schema_errors(data, "record") == []
    assert (data["built"], image.read_bytes() == made) == (False, True)
    assert {id for id in checks_of(data) if "/" in id} == {"watched/test_warning", "watched/test_programs_of_the_image"}
    assert data["element_checks"] != json.loads(recorded)["element_checks"]
    assert leftovers() == set()
