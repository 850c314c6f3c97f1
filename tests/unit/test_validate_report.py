"""Checks and their report."""

from __future__ import annotations

import inspect
import io
import json
import re
from pathlib import Path

import pytest

from diskimage_create.model import Expectation, Finding, Report, Status
from diskimage_create.validate import CHECKS
from diskimage_create.validate.formats.qcow2 import Header
from diskimage_create.validate.opening.kinds import image_kind
from diskimage_create.validate.opening.rawdisk import refuse_other_files
from diskimage_create.validate.registry import Check, listed, passed, run_check, verdict
from diskimage_create.validate.report import as_json, as_text, print_report
from diskimage_create.validate.view import Damaged, ImageView

REPORT = Report(
    Path("/images/x.qcow2"),
    (
        Finding("kernel", "There is a kernel", Status.PASS, "6.1.0", 0.01234),
        Finding("haproxy", "haproxy is there", Status.FAIL, "/usr/sbin/haproxy is missing [x]", 0.5),
        Finding("secrets", "No secrets", Status.SKIP, "only with --deep"),
    ),
    0.8123,
)


def test_json_is_the_contract() -> None:
    data = json.loads(as_json(REPORT))
    assert {key: data[key] for key in ("image", "ok", "seconds")} == {
        "image": "/images/x.qcow2", "ok": False, "seconds": 0.812,
    }  # fmt: skip
    assert data["checks"][0] == {
        "id": "kernel", "title": "There is a kernel", "status": "pass", "message": "6.1.0", "seconds": 0.012,
        "severity": "error",
    }  # fmt: skip


def test_text_has_one_line_for_each_check() -> None:
    lines = as_text(REPORT).splitlines()
    assert lines[1] == "FAIL  haproxy  /usr/sbin/haproxy is missing [x]"
    assert "rejected, 1 passed, 1 failed, 0 warnings, 1 skipped" in lines[-1]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    plain, terminal = io.StringIO(), Terminal()
    print_report(REPORT, plain)
    print_report(REPORT, terminal)
    assert "\x1b[" not in plain.getvalue()
    assert "\x1b[" in terminal.getvalue()
    assert "[x]" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    silent = Terminal()
    print_report(REPORT, silent)
    assert "\x1b[" not in silent.getvalue()


def test_every_check_has_its_own_id_a_title_and_a_reason() -> None:
    ids = [check.id for check in CHECKS]
    assert len(ids) == len(set(ids))
    for check in CHECKS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", check.id)
        assert len(check.title) > 10
        assert len(inspect.getdoc(check.run) or "") > 40


def view(tmp_path: Path) -> ImageView:
    return ImageView(path=tmp_path / "x.tar", kind="tar", workspace=tmp_path)


def run(check: Check, tmp_path: Path, *, deep: bool = False) -> Finding:
    return run_check(check, view(tmp_path), Expectation(elements=frozenset({"vm"})), deep=deep)[0]


def test_a_check_of_an_element_needs_that_element(tmp_path: Path) -> None:
    def always(view: ImageView, expectation: Expectation) -> object:
        return passed("fine")

    assert run(Check("a", "t", always, frozenset({"vm", "other"}), False), tmp_path).status is Status.PASS  # type: ignore[arg-type]
    assert run(Check("a", "t", always, frozenset({"other"}), False), tmp_path).status is Status.SKIP  # type: ignore[arg-type]
    assert run(Check("a", "t", always, frozenset(), True), tmp_path).status is Status.SKIP  # type: ignore[arg-type]
    assert run(Check("a", "t", always, frozenset(), True), tmp_path, deep=True).status is Status.PASS  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "status"),
    [(OSError(5, "Input/output error", "/x"), Status.FAIL), (PermissionError(13, "denied", "/x"), Status.SKIP)],
)
def test_errors_of_a_check_become_findings(tmp_path: Path, error: OSError, status: Status) -> None:
    def breaks(view: ImageView, expectation: Expectation) -> object:
        raise error

    assert run(Check("a", "t", breaks, frozenset(), False), tmp_path).status is status  # type: ignore[arg-type]


def test_messages_cannot_play_tricks_on_a_terminal(tmp_path: Path) -> None:
    def quotes(view: ImageView, expectation: Expectation) -> object:
        return verdict(["/etc/\x1b[2J\n\udcff"], "")

    finding = run(Check("a", "t", quotes, frozenset(), False), tmp_path)  # type: ignore[arg-type]
    assert finding.message == r"/etc/\x1b[2J \udcff"


def test_what_the_image_lacks_is_skipped(tmp_path: Path) -> None:
    check = next(check for check in CHECKS if check.id == "virtual-size")
    finding = run(check, tmp_path)
    assert (finding.status, finding.message) == (Status.SKIP, "a tar image has no disk")


def test_verdict_and_lists() -> None:
    assert verdict([], "good") == passed("good")
    assert verdict(["a", "b"], "good").message == "a; b"
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"


@pytest.mark.parametrize("field", ["backing_file", "external_data"])
def test_qcow2_that_needs_other_files_is_refused(field: str) -> None:
    values = {"backing_file": False, "external_data": False, field: True}
    with pytest.raises(Damaged) as refused:
        refuse_other_files(Header(3, 0, 16, 0, 0, extended_l2=False, **values))
    assert refused.value.check == "image-intact"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"QFI\xfb" + bytes(600), "qcow2"),
        (bytes(257) + b"ustar" + bytes(600), "tar"),
        (b"hsqs" + bytes(600), "squashfs"),
        (bytes(2048) + b"conectix" + bytes(504), "vhd"),
        (bytes(510) + b"\x55\xaa" + bytes(512), "raw"),
        (bytes(1080) + b"\x53\xef" + bytes(4096), "raw"),
    ],
)
def test_kind_by_content(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "misnamed"
    path.write_bytes(content)
    assert image_kind(path) == kind
