"""``--ca-certificate``: what is taken, what is refused, and what it changes."""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from samples import HOST, plan, read, request

from diskimage_create import build as builds
from diskimage_create import certificates, cli, inputs, pipeline
from diskimage_create import plan as plans
from diskimage_create.certificates import authorities
from diskimage_create.errors import InputError
from diskimage_create.model import Expectation, Status
from diskimage_create.prepare import prepare
from diskimage_create.validate import from_json, to_json
from diskimage_create.validate.checks.leftovers import custom_ca, host_certificates
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.view import ImageView
from diskimage_create.workspace import Workspace

pytestmark = pytest.mark.subprocess("openssl makes the certificates")
Made = Callable[..., Path]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*os.environ]:
        if name.startswith(("DIB_", "DISKIMAGE_CREATE_", "ELEMENTS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Makes a certificate, once for each set of arguments: a CA's unless said otherwise."""
    directory = tmp_path_factory.mktemp("ca")

    def make(name: str, *more: str, ca: bool = True) -> Path:
        path = directory / f"{name}.pem"
        if not path.exists():
            constraint = f"basicConstraints=critical,CA:{'TRUE' if ca else 'FALSE'}"
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            command += ["-keyout", str(directory / f"{name}.key"), "-out", str(path), "-subj", f"/CN={name}"]
            command += ["-config", os.devnull, "-addext", constraint, *more]
            subprocess.run(command, check=True, capture_output=True)
        return path

    return make


def sha256(path: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(path.read_text())).hexdigest()


def refused(*files: Path | str) -> list[str]:
    with pytest.raises(InputError) as caught:
        read({"ca_certificate": tuple(map(str, files))})
    assert {problem.where for problem in caught.value.problems} == {"--ca-certificate"}
    assert all(problem.hint for problem in caught.value.problems)
    return [problem.message for problem in caught.value.problems]


def test_without_it_nothing_changes() -> None:
    spec = read()
    assert (spec.ca_certificates, spec.notes) == ((), ())
    assert "custom-ca" not in spec.elements


def test_a_certificate_brings_the_element_and_a_note(made: Made) -> None:
    made_plan = plan({"ca_certificate": (str(made("one")),)})
    (authority,) = made_plan.spec.ca_certificates
    assert authority.sha256 == sha256(made("one"))
    assert authority.name == f"one-{authority.sha256[:8]}"
    assert "custom-ca" in {element.name for element in made_plan.resolved}
    assert "the image trusts 1 more CA certificates, for good" in made_plan.notes
    assert read({"ca_certificate": (str(made("one")),), "element": ("custom-ca",)}).elements.count("custom-ca") == 1


def test_a_file_may_hold_several_and_a_certificate_counts_once(made: Made, tmp_path: Path) -> None:
    both = tmp_path / "both of them.crt"
    text = f"# Subject: one\n{made('one').read_text()}\ntext\n{made('two').read_text()}"
    both.write_bytes(text.replace("\n", "\r\n").encode())
    spec = read({"ca_certificate": (str(both), str(made("two")))})
    assert [each.sha256 for each in spec.ca_certificates] == [sha256(made("one")), sha256(made("two"))]
    assert [each.name[:13] for each in spec.ca_certificates] == ["both_of_them-"] * 2
    for each, path in zip(spec.ca_certificates, (made("one"), made("two")), strict=True):
        assert each.pem.split() == path.read_text().split()


def test_an_option_wins_over_the_variable(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, three = (made(name) for name in ("one", "two", "three"))

    def planned(*arguments: str) -> str:
        assert cli.main(["plan", "--format", "json", *arguments]) == 0
        return capsys.readouterr().out

    assert "option:ca_certificate" not in planned().replace("option:ca_certificates", "")
    monkeypatch.setenv("DISKIMAGE_CREATE_CA_CERTIFICATE", f"{one}:{two}")
    by_variable, by_option = planned(), planned("--ca-certificate", str(three))
    assert [sha256(path) in by_variable for path in (one, two, three)] == [True, True, False]
    assert [sha256(path) in by_option for path in (one, two, three)] == [False, False, True]
    assert '"option:ca_certificate": "environment"' in by_variable
    assert '"option:ca_certificate": "flag"' in by_option


def test_what_is_no_ca_certificate_is_refused_all_of_it_at_once(made: Made, tmp_path: Path) -> None:
    one = made("one").read_text()
    der = tmp_path / "der.crt"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(one))
    with_key = tmp_path / "key.pem"
    with_key.write_text(one + made("one").with_suffix(".key").read_text())
    damaged = tmp_path / "damaged.pem"
    lines = one.splitlines()
    damaged.write_text("\n".join([*lines[:2], lines[2][::-1], *lines[3:]]))
    cut = tmp_path / "cut.pem"
    cut.write_text(one + "\n".join(lines[:-1]))
    request_file = tmp_path / "csr.pem"
    request_file.write_text(one.replace("CERTIFICATE", "CERTIFICATE REQUEST"))
    empty = tmp_path / "empty.pem"
    empty.touch()
    large = tmp_path / "large.pem"
    large.write_text(one * 4000)
    found = refused(tmp_path / "gone.pem", tmp_path, der, with_key, damaged, cut, request_file, empty, large)
    expected = [
        "No such file", "no file", "no certificate", "private key", "damaged", "something else", "no certificate",
        "no certificate", "too large",
    ]  # fmt: skip
    assert [want in message for want, message in zip(expected, found, strict=True)] == [True] * 9, found


def test_a_private_key_is_not_shown(made: Made, tmp_path: Path) -> None:
    key = made("one").with_suffix(".key")
    (message,) = refused(key)
    assert key.read_text().splitlines()[1] not in message


def test_doubtful_ones_are_taken_with_a_note(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    server = made("server", ca=False)
    found, notes = authorities([made("one"), server], "--ca-certificate")
    assert len(found) == 2
    assert notes == [f"{server} is not a CA's: what it has signed will not be trusted"]
    in_30_years = time.time() + 10**9
    monkeypatch.setattr(certificates, "time", SimpleNamespace(time=lambda: in_30_years))
    found, notes = authorities([made("one")], "--ca-certificate")
    assert len(found) == 1
    assert notes[0].startswith(f"{made('one')} has expired (")


def test_another_certificate_is_another_image_of_the_same_stages(made: Made) -> None:
    plans_ = [plan({"ca_certificate": (str(made(name)),)}) for name in ("one", "two")]
    changed = inputs.changes(*(each.inputs for each in plans_))
    assert [(change.step, change.name) for change in changed] == [("image", "option:ca_certificates")]
    assert plans_[0].fingerprint != plans_[1].fingerprint


def test_a_file_of_another_name_or_place_with_the_same_content(made: Made, tmp_path: Path) -> None:
    elsewhere = tmp_path / "one.pem"
    elsewhere.write_bytes(made("one").read_bytes())
    first, second = (plan({"ca_certificate": (str(path),)}) for path in (made("one"), elsewhere))
    assert first.fingerprint == second.fingerprint


def test_the_build_finds_each_in_a_file_of_its_own(made: Made, tmp_path: Path) -> None:
    made_plan = plan({"ca_certificate": (str(made("one")), str(made("two")))})
    environment = builds._environment(made_plan, Workspace(tmp_path))
    files = sorted(Path(environment["DISKIMAGE_CREATE_CA_CERTIFICATES"]).iterdir())
    assert [path.suffix for path in files] == [".crt", ".crt"]
    assert {sha256(path) for path in files} == {sha256(made("one")), sha256(made("two"))}
    assert "DISKIMAGE_CREATE_CA_CERTIFICATES" not in builds._environment(plan(), Workspace(tmp_path))


def test_what_the_host_lends_is_told_from_what_the_user_asked_for(made: Made) -> None:
    host = replace(HOST, ca_certificates=(made("one"), made("two")), ca_bundle=made("one"))
    made_plan = prepare(request({"ca_certificate": (str(made("one")), str(made("three")))}, host=host))
    expected = pipeline._expectation(made_plan, host)
    assert expected.ca_certificates == (sha256(made("one")), sha256(made("three")))
    assert expected.lent_certificates == (sha256(made("two")),)
    assert [name for name in expected.secrets if "certificate" in name] == ["certificate two.pem 1"]
    assert from_json(to_json(expected)).ca_certificates == expected.ca_certificates


@pytest.fixture
def image(tmp_path: Path) -> ImageView:
    root = tmp_path / "root"
    for directory in ("usr/local/share/ca-certificates", "etc/ssl/certs"):
        (root / directory).mkdir(parents=True)
    return ImageView(tmp_path / "image", "tar", tmp_path, _root=ImageRoot(root))


def test_both_checks_of_an_image(image: ImageView, made: Made) -> None:
    local = image.root.path / "usr/local/share/ca-certificates/one.crt"
    bundle = image.root.path / "etc/ssl/certs/ca-certificates.crt"
    wanted = Expectation(ca_certificates=(sha256(made("one")),), lent_certificates=(sha256(made("two")),))
    bundle.write_text(made("three").read_text())
    assert custom_ca(image, wanted).message == (
        "1 of 1 are not in the bundle; 1 of 1 are not in the directory of local certificates"
    )
    local.write_text(made("one").read_text())
    assert custom_ca(image, wanted).message == "1 of 1 are not in the bundle"
    bundle.write_text(made("three").read_text() + made("one").read_text())
    assert custom_ca(image, wanted).status is Status.PASS
    assert host_certificates(image, wanted).status is Status.PASS
    # Nobody asked for it: somebody should look.
    assert host_certificates(image, Expectation()).status is Status.WARN
    assert custom_ca(image, Expectation()).status is Status.SKIP
    bundle.write_text(made("one").read_text() + made("two").read_text())
    assert host_certificates(image, wanted).status is Status.FAIL


def test_what_validation_expects(made: Made) -> None:
    expected = plans.expectation(plan({"ca_certificate": (str(made("one")),)}))
    assert "custom-ca" in expected.elements
    assert expected.ca_certificates == (sha256(made("one")),)
