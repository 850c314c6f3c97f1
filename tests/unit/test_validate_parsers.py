"""What validation reads: tables, databases and configuration files."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create.certificates import fingerprints_in
from diskimage_create.model import Expectation
from diskimage_create.validate.checks.agent import record_entries
from diskimage_create.validate.checks.leftovers import is_build_tool, nameservers, sets_proxy
from diskimage_create.validate.checks.system import _is_release
from diskimage_create.validate.expect import from_json, from_manifests, to_json
from diskimage_create.validate.formats import qcow2
from diskimage_create.validate.formats.disk import BIOS_BOOT, EFI_SYSTEM, parse_sfdisk, parse_superblock
from diskimage_create.validate.formats.executables import parse_elf_machine
from diskimage_create.validate.system.grub import parse_bls_entry, parse_grub_config
from diskimage_create.validate.system.inventory import parse_rpm_header
from diskimage_create.validate.system.os_release import parse_os_release
from diskimage_create.validate.system.packages import _read_rpm, parse_dpkg_status
from diskimage_create.validate.system.users import can_log_in, parse_shadow


def test_dpkg_status() -> None:
    packages = parse_dpkg_status(
        "Package: a\nStatus: install ok installed\nProvides: mail-agent (= 1), b-virtual\n"
        "Description: x\n Package: no\n\n"
        "Package: b\nStatus: deinstall ok config-files\n\n"
        "Package: c\nStatus: install ok half-configured\n\n"
        "Package: d\nStatus: install ok triggers-pending\n"
    )
    assert packages.installed == {"a"}
    assert packages.missing(["a", "b", "b-virtual", "mail-agent"]) == ["b"]
    assert packages.unfinished == ("c is half-configured", "d is triggers-pending")


@given(st.text())
def test_any_text_is_some_dpkg_status(text: str) -> None:
    parse_dpkg_status(text)


def test_rpm_database(tmp_path: Path) -> None:
    database, workspace = tmp_path / "rpmdb.sqlite", tmp_path / "work"
    workspace.mkdir()
    with closing(sqlite3.connect(database)) as connection:
        for table in ("Name", "Providename"):
            connection.execute(f"CREATE TABLE {table} (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        connection.executemany("INSERT INTO Name VALUES (?, 1, 0)", [("haproxy",), ("gpg-pubkey",)])
        connection.execute("INSERT INTO Providename VALUES ('/usr/bin/sh', 2, 0)")
        connection.commit()
    packages = _read_rpm(database, workspace)
    assert list(workspace.iterdir()) == []
    assert packages.installed == {"haproxy"}
    assert packages.provided == {"/usr/bin/sh"}


def test_os_release() -> None:
    fields = parse_os_release('NAME="CentOS Stream"\nVERSION_ID="10"\nID=\'centos\'\n# x\n')
    assert fields == {"NAME": "CentOS Stream", "VERSION_ID": "10", "ID": "centos"}


@pytest.mark.parametrize(
    ("fields", "release", "same"),
    [
        ({"VERSION_CODENAME": "bookworm", "VERSION_ID": "12"}, "bookworm", True),
        ({"VERSION_CODENAME": "bookworm", "VERSION_ID": "12"}, "trixie", False),
        ({"VERSION_ID": "10"}, "10-stream", True),
        ({"VERSION_ID": "10.1"}, "10", True),
        ({"VERSION_ID": "9"}, "10-stream", False),
        ({"VERSION_ID": "13"}, "stable", True),
    ],
)
def test_release(fields: dict[str, str], release: str, same: bool) -> None:
    assert _is_release(fields, release) is same


def test_elf_machine() -> None:
    little = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, 183)
    big = b"\x7fELF\x02\x02\x01" + bytes(9) + struct.pack(">HH", 3, 21)
    assert parse_elf_machine(little) == (183, 64)
    assert parse_elf_machine(big) == (21, 64)
    assert parse_elf_machine(b"#!/bin/sh") is None


def test_sfdisk_of_both_tables() -> None:
    dos = {
        "label": "dos",
        "id": "0x1234abcd",
        "sectorsize": 512,
        "partitions": [{"start": 2048, "size": 8, "type": "83", "bootable": True}],
    }
    label, identifier, [part] = parse_sfdisk(json.dumps({"partitiontable": dos}))
    assert identifier == "0x1234abcd"
    assert (label, part.start, part.end, part.bootable) == ("dos", 2**20, 2**20 + 4096, True)
    gpt = {
        "label": "gpt",
        "sectorsize": 4096,
        "partitions": [
            {"start": 256, "size": 1, "type": t, "uuid": "U", "name": "ESP"} for t in (EFI_SYSTEM, BIOS_BOOT.lower())
        ],
    }
    label, identifier, parts = parse_sfdisk(json.dumps({"partitiontable": gpt}))
    assert (label, identifier) == ("gpt", "")
    assert (parts[0].uuid, parts[0].name) == ("U", "ESP")
    assert [part.type for part in parts] == [EFI_SYSTEM, BIOS_BOOT]
    assert parts[0].start == 2**20


def rpm_header(*tags: tuple[int, int, bytes]) -> bytes:
    index, data = b"", b""
    for tag, kind, value in tags:
        index += struct.pack(">IIiI", tag, kind, len(data), 1)
        data += value
    return struct.pack(">II", len(tags), len(data)) + index + data


def test_an_rpm_header() -> None:
    header = rpm_header((1000, 6, b"bash\0"), (1001, 6, b"5.1\0"), (1003, 4, struct.pack(">I", 2)), (1004, 9, b"x\0"))
    assert parse_rpm_header(header) == {1000: "bash", 1001: "5.1", 1003: "2"}
    for end in range(len(header) - 2):
        with pytest.raises((ValueError, struct.error)):
            parse_rpm_header(header[:end])


def test_superblocks() -> None:
    ext = bytearray(4096)
    ext[1080:1082] = b"\x53\xef"
    struct.pack_into("<H", ext, 1024 + 58, 1)
    struct.pack_into("<II", ext, 1024 + 92, 0x4, 0x40)
    ext[1024 + 120 : 1024 + 125] = b"label"
    found = parse_superblock(bytes(ext))
    assert found is not None
    assert (found.type, found.label, found.clean) == ("ext4", "label", True)
    struct.pack_into("<I", ext, 1024 + 96, 0x44)  # needs recovery
    assert parse_superblock(bytes(ext)).clean is False  # type: ignore[union-attr]
    xfs = b"XFSB" + bytes(104) + b"root\0" + bytes(4000)
    assert parse_superblock(xfs).label == "root"  # type: ignore[union-attr]
    assert parse_superblock(bytes(4096)) is None


@given(st.binary(max_size=4096))
def test_any_bytes_are_some_superblock_or_none(content: bytes) -> None:
    parse_superblock(content)


def qcow2_file(path: Path, *, features: int = 0, backing: int = 0) -> Path:
    """A qcow2 file with one ordinary and one compressed cluster, the latter at the end."""
    cluster = 65536
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, backing, 0, 16, 2**20, 0, 1, cluster, 0, 0, 0, 0)
    compressed = (1 << 62) | (4 * cluster + 100) | (2 << 54)
    with path.open("wb") as file:
        file.write(header + struct.pack(">QQQII", features, 0, 0, 4, 104))
        file.seek(cluster)
        file.write(struct.pack(">Q", (1 << 63) | 2 * cluster))
        file.seek(2 * cluster)
        file.write(struct.pack(">QQ", (1 << 63) | 3 * cluster, compressed))
        file.truncate(4 * cluster + 3 * 512)
    return path


@given(cut=st.integers(0, 4 * 65536))
def test_any_missing_byte_of_a_qcow2_is_seen(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = qcow2_file(tmp_path_factory.mktemp("q") / "image")
    header = qcow2.parse_header(path.read_bytes()[:512])
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - cut)
    assert (qcow2.missing_bytes(path, header) > 0) is (cut > 0)


@pytest.mark.parametrize(
    ("entries", "outcome"),
    [
        # Any number of entries for one table: it is read once.
        ([0x20000] * 2**20, 0),
        # Tables that would overlap, and one that no seek reaches
        ([0x20000, 0x20200], "damaged"),
        ([0x00FFFFFFFFFF0000], 2**55),
    ],
)
def test_absurd_qcow2_tables_take_no_time(tmp_path: Path, entries: list[int], outcome: int | str) -> None:
    path = tmp_path / "absurd"
    header = qcow2.Header(3, 2**40, 16, 0x30000, len(entries), False, False, False)
    path.write_bytes(b"".join([bytes(0x30000), *(entry.to_bytes(8, "big") for entry in entries)]))
    if isinstance(outcome, str):
        with pytest.raises(ValueError, match=outcome):
            qcow2.missing_bytes(path, header)
    else:
        assert qcow2.missing_bytes(path, header) >= outcome


def test_qcow2_header(tmp_path: Path) -> None:
    whole = qcow2_file(tmp_path / "a").read_bytes()[:512]
    assert qcow2.parse_header(whole).virtual_size == 2**20
    assert not qcow2.parse_header(whole).backing_file
    other = qcow2.parse_header(qcow2_file(tmp_path / "b", features=4, backing=600).read_bytes()[:512])
    assert other.backing_file
    assert other.external_data


@given(st.binary(max_size=600))
def test_any_bytes_are_some_qcow2_header_or_an_error(content: bytes) -> None:
    try:
        qcow2.parse_header(b"QFI\xfb" + content)
    except ValueError:
        pass


def test_grub_configuration() -> None:
    text = (
        "linux /not/in/an/entry\n"
        "menuentry 'A' --id x {\n\tlinux\t/boot/vmlinuz-1 root=LABEL=r ro\n\tinitrd /boot/i-1\n}\n"
        "submenu 'B' {\n\tmenuentry 'C' {\n\t\tlinux16 /boot/vmlinuz-2 ro\n\t}\n}\nmenuentry 'UEFI' {\n\tfwsetup\n}\n"
    )
    first, second = parse_grub_config(text)
    assert (first.kernel, first.initrds, first.root) == ("/boot/vmlinuz-1", ("/boot/i-1",), "LABEL=r")
    assert (second.kernel, second.initrds, second.root) == ("/boot/vmlinuz-2", (), None)


def test_boot_loader_specification() -> None:
    text = "title X\nlinux /vmlinuz-1\ninitrd /initramfs-1.img $tuned_initrd\noptions $kernelopts quiet\n"
    entry = parse_bls_entry(text, "root=LABEL=r ro")
    assert (entry.kernel, entry.initrds, entry.root) == ("/vmlinuz-1", ("/initramfs-1.img",), "LABEL=r")


def test_shadow() -> None:
    assert parse_shadow("root:*:1:::\n\nnobody\nme::1\n") == {"root": "*", "me": ""}
    assert [can_log_in(field) for field in ("*", "!", "!!", "!$6$x", "", "$6$x", "x")] == [False] * 4 + [True] * 3


def test_record_leaves_out_byte_code() -> None:
    text = 'a.py,sha256=x,10\n"b,c.txt",sha256=y,3\n__pycache__/a.cpython-311.pyc,,\nx/RECORD,,\n'
    assert list(record_entries(text)) == [("a.py", 10), ("b,c.txt", 3), ("x/RECORD", None)]


def test_certificates_in_any_form() -> None:
    der = b"0\x82\x01\x00content"
    body = base64.encodebytes(der).decode()
    begin, end = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
    texts = f"x\n{begin}{body}{end}{begin}A{end}"
    digest = hashlib.sha256(der).hexdigest()
    assert set(fingerprints_in(texts.encode())) == {digest}
    assert set(fingerprints_in(der)) == {digest}
    assert fingerprints_in(b"text") == []


@pytest.mark.parametrize(
    "line",
    [
        'Acquire::http::Proxy "http://p.example:3128";',
        'Acquire { http { Proxy "http://p:1/"; } }',
        "http_proxy=http://p:3128",
        "export HTTPS_PROXY='p.example:3128'",
        "proxy = http://p:1",
        "proxy=http://p:1",
        'DefaultEnvironment="http_proxy=http://p:1"',
        "# comment\nhttps_proxy = on.example.com",
    ],
)
def test_proxies(line: str) -> None:
    assert sets_proxy(line)


@pytest.mark.parametrize(
    "line",
    [
        '# Acquire::http::Proxy "http://p:1";',
        '// Acquire::http::Proxy "http://p:1";',
        'Acquire::http::Proxy "DIRECT";',
        "http_proxy=",
        'http_proxy=""',
        "proxy=_none_",
        "no_proxy=",
        "unset http_proxy https_proxy",
        "PATH=/usr/bin",
    ],
)
def test_no_proxies(line: str) -> None:
    assert not sets_proxy(line)


@pytest.mark.parametrize("name", ["gcc", "gcc-12", "libc6-dev", "python3-devel", "git", "make", "g++-12", "dpkg-dev"])
def test_build_tools(name: str) -> None:
    assert is_build_tool(name)


@pytest.mark.parametrize("name", ["gcc-12-base", "libgcc-s1", "udev", "git-man", "python3", "makedev"])
def test_no_build_tools(name: str) -> None:
    assert not is_build_tool(name)


def test_nameservers() -> None:
    assert nameservers("# nameserver 1.1.1.1\nsearch x\nnameserver 10.0.0.1\n nameserver ::1\n") == {"10.0.0.1", "::1"}


def test_expectation_of_the_manifests() -> None:
    found = from_manifests(
        "-a amd64 -o out -t qcow2 --image-size 5 -x base vm ubuntu-minimal amphora-agent root-passwd",
        {
            "DIB_RELEASE": "noble",
            "DIB_CLOUD_INIT_DATASOURCES": "ConfigDrive, OpenStack",
            "DIB_OCTAVIA_AMP_USE_SSH": "True",
        },
    )
    assert found == Expectation(
        arch="amd64",
        distribution="ubuntu",
        family="debian",
        release="noble",
        size_gib=5,
        elements=frozenset({"base", "vm", "ubuntu-minimal", "amphora-agent", "root-passwd"}),
        datasources=("ConfigDrive", "OpenStack"),
        sshd=True,
        root_password=True,
    )


@pytest.mark.parametrize(
    ("elements", "environment", "user"),
    [
        ("stackuser local-config", {}, "stack"),
        ("stackuser local-config", {"DIB_LOCAL_CONFIG_USERNAME": "me"}, "me"),
        ("local-config", {}, None),
        ("stackuser", {"DIB_LOCAL_CONFIG_USERNAME": "me"}, None),
    ],
)
def test_the_manifests_tell_whom_keys_are_for(elements: str, environment: dict[str, str], user: str | None) -> None:
    """As disk-image-create leaves them, which notes the environment before elements set their defaults."""
    found = from_manifests(f"-u debian-minimal base vm bootstrap {elements} -a amd64 -o bootstrap", environment)
    assert (found.key_user, found.sshd) == (user, True)


WORDS = st.text(max_size=8)
OPTIONAL = st.one_of(st.none(), WORDS)


@given(
    st.builds(
        Expectation,
        arch=OPTIONAL,
        distribution=OPTIONAL,
        family=OPTIONAL,
        release=OPTIONAL,
        size_gib=st.one_of(st.none(), st.integers(1, 99)),
        elements=st.frozensets(WORDS),
        packages=st.lists(WORDS).map(tuple),
        datasources=st.one_of(st.none(), st.lists(WORDS).map(tuple)),
        sshd=st.one_of(st.none(), st.booleans()),
        root_password=st.booleans(),
        key_user=OPTIONAL,
        password_users=st.lists(WORDS).map(tuple),
        lent_certificates=st.lists(WORDS).map(tuple),
    )
)
def test_expectation_survives_the_record(expectation: Expectation) -> None:
    assert from_json(json.loads(json.dumps(to_json(expectation)))) == expectation


@pytest.mark.parametrize(
    "wrong", [{"size_gib": "x"}, {"sshd": "yes"}, {"arch": ["amd64"]}, {"elements": "vm"}, {"packages": [1]}]
)
def test_an_expectation_of_other_types_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=next(iter(wrong))):
        from_json({**to_json(Expectation()), **wrong})


def test_secrets_never_reach_the_record() -> None:
    assert "hush" not in json.dumps(to_json(Expectation(secrets={"a": "hush"})))
