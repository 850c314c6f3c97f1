"""A plain image, which has nothing of an amphora, and trusts a certificate authority of the user's."""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from building import COMMAND, Built, clean_environment, leftovers, run_build

from contract import schema_errors
from diskimage_create.validate.image import open_image
from diskimage_create.validate.root import ImageRoot


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def base(builds: Path, authority: Path) -> Built:
    directory = builds / "base"
    directory.mkdir()
    arguments = ("--profile", "base", "-i", "debian", "-d", "bookworm", "--ca-certificate", str(authority))
    built = run_build(directory, *arguments)
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
