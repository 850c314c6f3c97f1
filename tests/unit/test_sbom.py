"""SBOMs: what is in an image is in them, and other programs can read them."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL
from sample_contents import SITE, contents_of, debian_tree, write
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from diskimage_create.provenance import Contents
from diskimage_create.provenance.cyclonedx import cyclonedx
from diskimage_create.provenance.debian import debian_packages, source_of
from diskimage_create.provenance.document import Subject, as_text, finished, name_and_address
from diskimage_create.provenance.licences import Licences
from diskimage_create.provenance.model import Component, from_json
from diskimage_create.provenance.rpm import rpm_packages
from diskimage_create.provenance.spdx import spdx
from diskimage_create.validate.root import ImageRoot

SUBJECT = Subject("x.qcow2", "0" * 64, datetime(2026, 11, 21, 16, 14, tzinfo=UTC))
CYCLONEDX = JsonStrictValidator(SchemaVersion.V1_6)


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    return contents_of(debian_tree(tmp_path))


def spdx_problems(document: dict[str, Any]) -> list[str]:
    parsed = JsonLikeDictParser().parse(document)
    return [message.validation_message for message in validate_full_spdx_document(parsed)]


def cyclonedx_problems(document: dict[str, Any]) -> object:
    return CYCLONEDX.validate_str(as_text(document))


def test_packages_and_distributions_are_found(contents: Contents) -> None:
    found = {component.name: component for component in contents.components}
    assert set(found) == {"libstdc++6", "haproxy", "nameless-maintainer", "Oslo.Config", "six"}
    assert found["libstdc++6"] == Component(
        "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19%2Bb1?arch=amd64&distro=debian-13&upstream=gcc-14%4014.2.0-19",
        "libstdc++6",
        "14.2.0-19+b1",
        "amd64",
        supplier="Debian GCC Maintainers <debian-gcc@lists.debian.org>",
        source="gcc-14 14.2.0-19",
        homepage="http://gcc.gnu.org/",
    )
    assert found["haproxy"].licence == (
        "GPL-2.0-or-later AND LGPL-2.1-only AND LicenseRef-debian-as-is AND (MIT OR BSD-3-Clause)"
    )
    assert (found["six"].version, found["six"].licence) == ("1.17.0", "MIT")
    assert found["six"].supplier == "Benjamin Peterson <benjamin@python.org>"
    assert (found["Oslo.Config"].purl, found["Oslo.Config"].licence) == ("pkg:pypi/oslo.config@10.7.0", "Apache-2.0")
    assert dict(contents.licences) == {"LicenseRef-debian-as-is": "as-is"}


def test_both_forms_are_valid_and_name_every_component(contents: Contents) -> None:
    one, other = spdx(SUBJECT, contents), cyclonedx(SUBJECT, contents)
    assert spdx_problems(one) == []
    assert cyclonedx_problems(other) is None
    purls = [component.purl for component in contents.components]
    assert [package["externalRefs"][0]["referenceLocator"] for package in one["packages"][1:]] == purls
    assert [component["purl"] for component in other["components"]] == purls


def test_the_same_image_has_the_same_documents(tmp_path: Path, contents: Contents) -> None:
    again = contents_of(debian_tree(tmp_path / "again"))
    for form in (spdx, cyclonedx):
        assert as_text(form(SUBJECT, contents)) == as_text(form(SUBJECT, again))
    other = Subject("x.qcow2", "1" * 64, SUBJECT.created)
    assert spdx(SUBJECT, contents)["documentNamespace"] != spdx(other, contents)["documentNamespace"]
    assert cyclonedx(SUBJECT, contents)["serialNumber"] != cyclonedx(other, contents)["serialNumber"]


def test_contents_survive_the_way_to_another_process(contents: Contents) -> None:
    assert from_json(json.loads(json.dumps(contents.as_json()))) == contents


TEXT = st.text(max_size=40)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.builds(
            Component,
            purl=st.builds(
                lambda name, version: PackageURL("deb", "debian", name, version).to_string(),
                st.from_regex(r"[a-z0-9][a-z0-9+.-]+", fullmatch=True),
                st.from_regex(r"([0-9]:)?[0-9][0-9a-z.+~-]*", fullmatch=True),
            ),
            name=st.text(min_size=1, max_size=20),
            version=TEXT,
            supplier=TEXT,
            source=TEXT,
            licence=st.sampled_from(["", "MIT", "GPL-2.0-only OR MIT"]),
            homepage=st.one_of(TEXT, st.just("https://example.org/x y"), st.just("http://[")),
        ),
        max_size=3,
        unique_by=lambda component: component.purl,
    )
)
def test_whatever_an_image_says_the_documents_stay_valid(components: list[Component]) -> None:
    contents = Contents({"ID": "debian"}, tuple(components))
    assert spdx_problems(spdx(SUBJECT, contents)) == []
    assert cyclonedx_problems(cyclonedx(SUBJECT, contents)) is None


@given(
    name=st.from_regex(r"[a-z0-9][a-z0-9+.-]{1,20}", fullmatch=True),
    version=st.from_regex(r"([0-9]{1,2}:)?[0-9][0-9A-Za-z.+~-]{0,20}", fullmatch=True),
    architecture=st.sampled_from(["amd64", "all", "arm64"]),
)
def test_a_package_url_means_the_package(
    tmp_path_factory: pytest.TempPathFactory, name: str, version: str, architecture: str
) -> None:
    status = f"Package: {name}\nStatus: install ok installed\nArchitecture: {architecture}\nVersion: {version}\n"
    root = ImageRoot(tmp_path_factory.getbasetemp())
    (package,) = debian_packages(root, status, {"ID": "debian", "VERSION_ID": "13"}, Licences("debian"))
    purl = PackageURL.from_string(package.purl)
    assert (purl.type, purl.namespace, purl.name, purl.version) == ("deb", "debian", name, version)
    assert purl.qualifiers == {"arch": architecture, "distro": "debian-13"}
    assert " " not in package.purl
    assert unquote(package.purl).startswith(f"pkg:deb/debian/{name}@{version}?")


FIELD = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=50, deadline=None)
@given(status=st.dictionaries(st.sampled_from(["Package", "Version", "Source", "Maintainer", "Homepage"]), FIELD),
       metadata=st.dictionaries(st.sampled_from(["Name", "Version", "License", "Author", "Author-email"]), FIELD),
       system=FIELD)  # fmt: skip
def test_whatever_the_files_of_an_image_hold(
    tmp_path_factory: pytest.TempPathFactory, status: dict[str, str], metadata: dict[str, str], system: str
) -> None:
    tree = tmp_path_factory.mktemp("tree")
    write(tree, "etc/os-release", f"ID={system}\nVERSION_ID={system}\n")
    fields = {"Status": "install ok installed"} | status
    write(tree, "var/lib/dpkg/status", "".join(f"{name}: {value}\n" for name, value in fields.items()))
    write(tree, f"{SITE}/x.dist-info/METADATA", "".join(f"{name}: {value}\n" for name, value in metadata.items()))
    contents = contents_of(tree)
    assert spdx_problems(spdx(SUBJECT, contents)) == []
    assert cyclonedx_problems(cyclonedx(SUBJECT, contents)) is None


def test_the_source_of_a_package() -> None:
    assert source_of({"Package": "a", "Version": "1"}) == ("a", "1")
    assert source_of({"Package": "a", "Version": "1", "Source": "b"}) == ("b", "1")
    assert source_of({"Package": "a", "Version": "1+b1", "Source": "b (1)"}) == ("b", "1")


def rpm_header(tags: dict[int, str | int]) -> bytes:
    index, data = b"", b""
    for tag, value in tags.items():
        index += struct.pack(">IIiI", tag, 6 if isinstance(value, str) else 4, len(data), 1)
        data += value.encode() + b"\0" if isinstance(value, str) else struct.pack(">I", value)
    return struct.pack(">II", len(tags), len(data)) + index + data


def test_packages_of_the_redhat_family() -> None:
    bash = {1000: "bash", 1001: "5.2", 1002: "1.el10", 1003: 2, 1011: "Rocky", 1014: "GPL-3.0-or-later", 1022: "x86_64"}
    headers = [rpm_header(bash | {1044: "bash-5.2-1.el10.src.rpm"}), rpm_header({1000: "gpg-pubkey", 1001: "1"})]
    (package,) = rpm_packages(headers, {"ID": "rocky", "VERSION_ID": "10.1"}, Licences("rpm"))
    assert PackageURL.from_string(package.purl) == PackageURL(
        *("rpm", "rocky", "bash", "5.2-1.el10"),
        {"arch": "x86_64", "distro": "rocky-10.1", "epoch": "2", "upstream": "bash-5.2-1.el10.src.rpm"},
    )
    assert (package.version, package.licence, package.supplier) == ("2:5.2-1.el10", "GPL-3.0-or-later", "Rocky")


def test_when_an_image_was_finished() -> None:
    record: dict[str, Any] = {"started": "2026-11-21T16:11:43+01:00", "seconds": 17}
    assert finished(record) == datetime(2026, 11, 21, 15, 12, tzinfo=UTC)
    assert finished(record | {"reused_from": {"built": "2026-01-02T00:00:00+00:00"}}) == datetime(
        2026, 1, 2, tzinfo=UTC
    )
    assert finished(record | {"environment": {"SOURCE_DATE_EPOCH": "86400"}}) == datetime(1970, 1, 2, tzinfo=UTC)


def test_suppliers() -> None:
    assert name_and_address("A  Team <a@b.c>, Another <d@e.f>") == ("A Team", "a@b.c")
    assert name_and_address("<a@b.c>") == ("a@b.c", "a@b.c")
    assert name_and_address("root") == ("root", "")


@pytest.mark.subprocess("dpkg-query counts the packages of this host")
def test_the_packages_of_a_real_system_are_those_that_dpkg_knows(tmp_path: Path) -> None:
    status = Path("/var/lib/dpkg/status")
    if not status.is_file() or not shutil.which("dpkg-query"):
        pytest.skip("this host has no dpkg")
    write(tmp_path, "etc/os-release", Path("/etc/os-release").read_text())
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    # Some of them: validators compare each with each
    paragraphs = status.read_text().split("\n\n")[:250]
    (tmp_path / "var/lib/dpkg/status").write_text("\n\n".join(paragraphs) + "\n")
    for name in re.findall(r"^Package: (.*)$", "\n".join(paragraphs), re.MULTILINE):
        if (copyright := Path(f"/usr/share/doc/{name}/copyright")).is_file():
            write(tmp_path, str(copyright)[1:], copyright.read_text(errors="replace"))
    query = [
        "dpkg-query",
        f"--admindir={tmp_path}/var/lib/dpkg",
        "-W",
        "-f",
        "${db:Status-Status} ${Package} ${Version}\n",
    ]
    lines = subprocess.run(query, check=True, capture_output=True, text=True).stdout.splitlines()
    contents = contents_of(tmp_path)
    known = sorted(line.removeprefix("installed ") for line in lines if line.startswith("installed "))
    assert sorted(f"{component.name} {component.version}" for component in contents.components) == known
    assert spdx_problems(spdx(SUBJECT, contents)) == []
    assert cyclonedx_problems(cyclonedx(SUBJECT, contents)) is None
    with_file = [
        component for component in contents.components if (tmp_path / f"usr/share/doc/{component.name}").is_dir()
    ]
    assert sum(bool(component.licence) for component in with_file) >= len(with_file) / 2
