"""Certificates are told apart by what they are, not by the file they lie in."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest

from diskimage_create.certificates import fingerprints, fingerprints_in, marks

DER = b"\x30\x82\x01\x00" + bytes(range(256))
OTHER = b"\x30\x82\x01\x00" + bytes(reversed(range(256)))


def pem(der: bytes, label: str = "CERTIFICATE", eol: str = "\n") -> bytes:
    text = base64.b64encode(der).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return eol.join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def sha(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize(
    "content",
    [
        DER,
        pem(DER),
        pem(DER, eol="\r\n"),
        pem(DER, "TRUSTED CERTIFICATE"),
        b"Subject: some text before it\n" + pem(DER) + b"and after",
    ],
    ids=["DER", "PEM", "PEM from Windows", "trusted", "with text"],
)
def test_one_certificate_in_every_form(content: bytes) -> None:
    assert fingerprints_in(content) == [sha(DER)]


def test_a_bundle_has_many() -> None:
    assert fingerprints_in(pem(DER) + pem(OTHER)) == [sha(DER), sha(OTHER)]


@pytest.mark.parametrize(
    "content", [b"", b"README", pem(DER, "PRIVATE KEY"), b"-----BEGIN CERTIFICATE-----\n=x=\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_has_no_fingerprint(content: bytes) -> None:
    assert fingerprints_in(content) == []


def test_the_same_in_two_files_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_bytes(pem(DER))
    (tmp_path / "b.der").write_bytes(DER)
    (tmp_path / "README").write_text("text")
    files = [*sorted(tmp_path.iterdir()), tmp_path / "gone.crt", tmp_path]
    assert fingerprints(files) == (sha(DER),)


def test_a_mark_is_in_one_certificate_alone(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(pem(DER) + pem(OTHER))
    (tmp_path / "noise").write_text("nothing")
    found = marks([tmp_path / "ca.crt", tmp_path / "noise", tmp_path / "gone"])
    assert len(found) == 2
    assert all(name.startswith("certificate ca.crt") for name in found)
    first, second = found.values()
    assert first.encode() in pem(DER)
    assert first.encode() not in pem(OTHER)
    assert second.encode() in pem(OTHER)
    assert min(len(first), len(second)) >= 32


@pytest.mark.subprocess("openssl makes a real certificate, and says its fingerprint")
def test_openssl_says_the_same(tmp_path: Path) -> None:
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    subprocess.run(
        [*made, "-keyout", tmp_path / "key.pem", "-out", tmp_path / "ca.crt"], check=True, capture_output=True
    )
    told = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "ca.crt", "-noout", "-fingerprint", "-sha256"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    expected = told.strip().rpartition("=")[2].replace(":", "").lower()
    assert fingerprints([tmp_path / "ca.crt", tmp_path / "key.pem"]) == (expected,)
