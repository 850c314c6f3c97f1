"""Comparing records, packages, services and command lines; how a difference is shown, and bad input."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import schema_errors
from diskimage_create import cli, diff
from diskimage_create.diff import report
from diskimage_create.diff.ignore import NOTHING, IgnoreList, Pattern
from diskimage_create.diff.model import Aspect, Change, Difference, Kind, compare_values, from_json
from diskimage_create.diff.packages import compare_packages, is_older
from diskimage_create.diff.system import kernel_command_lines
from diskimage_create.errors import InputError
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.units import unit_states

RECORD: dict[str, Any] = {
    "schema": 1,
    "artifacts": [{"type": "qcow2", "path": "a.qcow2", "sha256": "0" * 64, "bytes": 10}],
    "inputs": {"option:release": "bookworm", "tool:bootstrap": "mmdebstrap", "element:vm": "sha256:1", "apt:x": "1"},
    "environment": {"DIB_RELEASE": "bookworm"},
    "resolved_elements": [{"name": "vm", "path": "/x/vm", "digest": "sha256:1"}],
    "tools": {"diskimage-builder": "3.43.0"},
    "packages": [
        {"package": "haproxy", "version": "2.6.12-1", "architecture": "amd64"},
        {"package": "gone", "version": "1", "architecture": "all"},
    ],
}


def write(path: Path, record: object) -> Path:
    path.write_text(json.dumps(record))
    return path


def test_records_are_compared_in_all_that_a_build_is_made_of(tmp_path: Path) -> None:
    other = copy.deepcopy(RECORD)
    other["artifacts"][0]["bytes"] = 12
    other["inputs"] |= {"option:release": "trixie", "tool:bootstrap": "debootstrap", "element:vm": "2", "apt:x": "2"}
    other["environment"]["DIB_NEW"] = "1"
    other["resolved_elements"][0] |= {"digest": "sha256:2", "path": "/elsewhere/vm"}
    other["packages"] = [
        {"package": "haproxy", "version": "2.8.0-1", "architecture": "amd64"},
        {"package": "new", "version": "1", "architecture": "all"},
    ]
    found = diff.compare(write(tmp_path / "a.json", RECORD), write(tmp_path / "b.json", other))
    assert not found.empty
    assert schema_errors(found.as_json(), "diff") == []
    assert found.groups == {
        "packages": (
            Change("gone:all", Kind.REMOVED, "1", None),
            Change("haproxy:amd64", Kind.UPGRADED, "2.6.12-1", "2.8.0-1"),
            Change("new:all", Kind.ADDED, None, "1"),
        ),
        "elements": (Change("vm", Kind.CHANGED, "sha256:1", "sha256:2"),),
        "options": (Change("release", Kind.CHANGED, "bookworm", "trixie"),),
        "environment": (Change("DIB_NEW", Kind.ADDED, None, "1"),),
        "inputs": (Change("apt:x", Kind.CHANGED, "1", "2"),),
        "tools": (Change("bootstrap", Kind.CHANGED, "mmdebstrap", "debootstrap"),),
        "sizes": (Change("qcow2", Kind.CHANGED, "10 bytes", "12 bytes"),),
    }


def test_a_record_equals_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", RECORD)
    found = diff.compare(path, path)
    assert found.empty
    assert schema_errors(found.as_json(), "diff") == []
    assert set(found.groups) == {"packages", "elements", "options", "environment", "inputs", "tools", "sizes"}


VALUES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("xyz"))


@given(VALUES, VALUES)
def test_tables_are_compared_by_name(a: dict[str, str], b: dict[str, str]) -> None:
    changes = compare_values(a, b)
    rebuilt = {name: value for name, value in a.items() if name not in {change.name for change in changes}}
    rebuilt |= {change.name: change.new for change in changes if change.new is not None}
    assert rebuilt == b
    assert all(a.get(change.name) == change.old != change.new for change in changes)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0~rc1-1", "1.0-1"),
        ("1.9-1", "1.10-1"),
        ("1.0-1", "1.0-1+b1"),
        ("1.0-1", "1.0+dfsg-1"),
        ("2.0-1", "1:1.0-1"),
        ("5.14.0-427.el9_4", "5.14.0-503.el9_5"),
        ("1.0-1.el9_4", "1.0-1.el9_10"),
        ("1.0~rc1-1.el9_4", "1.0-1.el9_4"),
        ("1.0-1.el9_4", "1.0^20240101-1.el9_4"),
        ("1.0^20240101-1.el9_4", "1.0.1-1.el9_4"),
        ("2.0-1.el9_4", "1:1.0-1.el9_4"),
        ("1.0a-1.el9_4", "1.0.1-1.el9_4"),
    ],
)
def test_the_order_of_versions(older: str, newer: str) -> None:
    assert is_older(older, newer)
    assert not is_older(newer, older)
    name = {"package": "x", "architecture": "y"}
    (change,) = compare_packages([{**name, "version": newer}], [{**name, "version": older}])
    assert change == Change("x:y", Kind.DOWNGRADED, newer, older)


def test_a_package_in_several_versions_is_not_upgraded() -> None:
    kernels = [{"package": "kernel", "version": version, "architecture": "x86_64"} for version in ("1-1", "2-1", "3-1")]
    assert compare_packages(kernels[:2], kernels[1:]) == (
        Change("kernel:x86_64", Kind.REMOVED, "1-1", None),
        Change("kernel:x86_64", Kind.ADDED, None, "3-1"),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    top = tmp_path / "root"
    for unit in ("ssh.service", "idle.service", "getty@.service", "off.service"):
        put(top, f"usr/lib/systemd/system/{unit}", "[Service]\n")
    for unit in ("ssh.service", "getty@tty1.service", "lost.service", "off.service"):
        link(top, f"etc/systemd/system/multi-user.target.wants/{unit}", "/lib/systemd/system/x")
    link(top, "etc/systemd/system/off.service", "/dev/null")
    put(top, "usr/lib/systemd/system/README", "no unit")
    return top


def put(top: Path, name: str, content: str) -> None:
    (top / name).parent.mkdir(parents=True, exist_ok=True)
    (top / name).write_text(content)


def link(top: Path, name: str, target: str) -> None:
    (top / name).parent.mkdir(parents=True, exist_ok=True)
    (top / name).symlink_to(target)


def test_the_states_of_units(root: Path) -> None:
    assert unit_states(ImageRoot(root)) == {
        "getty@.service": "disabled",
        "getty@tty1.service": "enabled",
        "idle.service": "disabled",
        "lost.service": "not-found",
        "off.service": "masked",
        "ssh.service": "enabled",
    }


GRUB = """menuentry 'Debian' {
    linux /boot/vmlinuz-1 root=UUID=1234 ro
}
menuentry 'Debian, recovery' {
    linux /boot/vmlinuz-1 root=UUID=1234 ro single
}
"""


def test_the_command_line_is_what_the_boot_loader_hands_over(root: Path) -> None:
    assert kernel_command_lines(ImageRoot(root), NOTHING) == {}
    put(root, "etc/default/grub", 'GRUB_TIMEOUT=1\n# GRUB_CMDLINE_LINUX=x\nGRUB_CMDLINE_LINUX="a=1"\n')
    put(root, "etc/default/grub.d/50.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="a=2"\n')
    assert kernel_command_lines(ImageRoot(root), NOTHING) == {
        "GRUB_CMDLINE_LINUX": '"a=2"',
        "GRUB_CMDLINE_LINUX_DEFAULT": '"quiet"',
    }
    put(root, "boot/grub/grub.cfg", GRUB)
    assert kernel_command_lines(ImageRoot(root), NOTHING) == {
        "/boot/vmlinuz-1": "root=UUID=1234 ro",
        "/boot/vmlinuz-1 (2)": "root=UUID=1234 ro single",
    }
    ignore = IgnoreList((Pattern("random", path="/boot/grub/*", text="(?<=UUID=)[0-9]+"),))
    assert kernel_command_lines(ImageRoot(root), ignore)["/boot/vmlinuz-1"] == "root=UUID=* ro"


def test_the_boot_loader_specification_s_entries_count(root: Path) -> None:
    put(root, "boot/grub2/grub.cfg", "blscfg\n")
    put(root, "boot/loader/entries/x.conf", "title X\nlinux /vmlinuz-2\noptions root=LABEL=x ro\n")
    assert kernel_command_lines(ImageRoot(root), NOTHING) == {"/vmlinuz-2": "root=LABEL=x ro"}


DIFFERENCE = Difference(
    "a.qcow2",
    "b.qcow2",
    {
        "files": (
            Change("/etc/new", Kind.ADDED, None, "file"),
            Change(
                "/etc/x\n\x1b[31m\udcff",
                Kind.CHANGED,
                aspects=(Aspect("mode", "0644", "0755"), Aspect("xattr user.x", None, "0x31")),
            ),
            Change("/etc/y", Kind.CHANGED, aspects=(Aspect("content", "4 bytes", "4 bytes"),)),
        ),
        "packages": (Change("haproxy:amd64", Kind.UPGRADED, "1", "2"),),
        "kernel_command_line": (),
    },
    ("boot loader: a tar image has no disk",),
)


def test_the_text_has_one_line_for_each_difference() -> None:
    assert report.as_text(DIFFERENCE) == (
        "files: 1 added, 2 changed\n"
        "  added    /etc/new: file\n"
        "  changed  /etc/x\\n\\x1b[31m\\udcff: mode 0644 -> 0755; xattr user.x none -> 0x31\n"
        "  changed  /etc/y: content (4 bytes)\n"
        "packages: 1 upgraded\n"
        "  upgraded  haproxy:amd64: 1 -> 2\n"
        "kernel command line: equal\n"
        "note: boot loader: a tar image has no disk\n"
        "\n"
        "a.qcow2, b.qcow2: 4 differences"
    )


def test_the_json_is_what_its_schema_says_and_loses_nothing() -> None:
    data = json.loads(report.as_json(DIFFERENCE))
    assert schema_errors(data, "diff") == []
    assert from_json(data) == DIFFERENCE
    assert schema_errors({**data, "equal": True}, "diff")
    assert schema_errors({**data, "groups": {"hair": []}}, "diff")
    assert schema_errors({**data, "groups": {}}, "diff")


def test_a_difference_without_any_is_empty() -> None:
    assert Difference("a", "b", {"files": (), "packages": ()}).empty
    assert not DIFFERENCE.empty


NO_RECORDS = [
    "{",
    "{}",
    '{"schema": 2}',
    json.dumps({**RECORD, "packages": [{"package": "x"}]}),
    json.dumps({**RECORD, "packages": None}),
    json.dumps({**RECORD, "resolved_elements": ["vm"]}),
    json.dumps({**RECORD, "inputs": []}),
    "{" + '"a":[' * 100_000,
    '{"schema": "\ud800"}'.encode("utf-8", "surrogatepass").decode("latin-1"),
]


@pytest.mark.parametrize("text", NO_RECORDS, ids=range(len(NO_RECORDS)))
def test_what_is_no_record_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text(text)
    good = write(tmp_path / "good.json", RECORD)
    assert cli.main(["diff", str(good), str(tmp_path / "bad.json")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: this is no record of a build: ")
    assert "bad.json" in err


def test_all_that_is_wrong_with_either_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("no image\n" * 1000)
    assert cli.main(["diff", str(tmp_path / "none"), str(tmp_path / "text")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("error: ") == 2
    assert f"there is no such image or record ({tmp_path}/none)" in err
    assert f"{tmp_path}/text" in err


@pytest.mark.parametrize("path", [".", "/dev/null"])
def test_only_regular_files_are_opened(path: str) -> None:
    with pytest.raises(InputError) as caught:
        diff.compare(Path(path), Path(path))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("arguments", [[], ["--format", "json"]])
def test_the_exit_status_tells_whether_there_are_differences(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write(tmp_path / "a.json", RECORD)
    b = write(tmp_path / "b.json", {**RECORD, "tools": {}})
    assert cli.main(["diff", str(a), str(a), *arguments]) == 0
    assert cli.main(["diff", str(a), str(b), *arguments]) == 1
    out, err = capsys.readouterr()
    assert "diskimage-builder" in out
    assert err == ""
