"""Reports: their kinds, where they may be written, and what hostile images do to them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import schema_errors
from diskimage_create import reports
from diskimage_create.boot.guest import Failed, GuestReport, UnitTime
from diskimage_create.boot.report import BootReport
from diskimage_create.errors import BuildError, InputError
from diskimage_create.model import Content, Finding, Heavy, Node, PhaseTiming, Report, SizedPackage, Status
from diskimage_create.reports import Subject, junit, page, plain
from diskimage_create.reports import of_boot as of_boot_report
from diskimage_create.reports.explanations import explanation, group_of, of_boot
from diskimage_create.reports.history import history
from diskimage_create.reports.page.sizes import share, size
from diskimage_create.validate import CHECKS

ROOT = Path(__file__).parents[2]
#: What an image could try to get into a page
HOSTILE = '<script>alert("1")</script></script><img src=x onerror=alert(1)>&amp;\'"\x00\x1b[2J\udcff\u2028]]>{{ 7*7 }}'

FINDINGS = (
    Finding("kernel", "There is a kernel", Status.PASS, "6.1.0", 0.01234),
    Finding("haproxy", "haproxy is there", Status.FAIL, "/usr/sbin/haproxy is missing", 0.5),
    Finding("free-space", "Enough is free", Status.WARN, "14%", 0.1),
    Finding("secrets", "No secrets", Status.SKIP, "only with --deep"),
)


def boot_report(image: Path, text: str = "x.service") -> BootReport:
    said = GuestReport("running", 12.5, (Failed(text, (text,)),), (text,), (text,), (UnitTime(text, 1.0, 2.0),))
    checks = (Finding("boot", "The system comes up", Status.PASS, text, 1.0),)
    return BootReport(image, checks, 20.0, "amd64", "tcg", "bios", (("kernel started", 2.5),), said, None, ())


def content(name: str = "usr") -> Content:
    return Content(
        kind="qcow2",
        file_bytes=100,
        disk_bytes=None,
        system=name,
        packages=(SizedPackage(name, name, name, 2048), SizedPackage("b", "1", "all", None)),
        tree=(Node("/", -1, 100, 3, "directory"), Node(name, 0, 99, 2, "directory"), Node("", 0, 1, 1, "rest")),
        largest=(Heavy(f"/{name}", 99),),
    )


def subject(image: Path = Path("/images/x.qcow2")) -> Subject:
    return Subject(
        image,
        validation=Report(image, FINDINGS, 0.8).as_json(),
        boot=boot_report(image).as_json(),
        content=content(),
        history=history(
            {"started": "2026-01-02T03:04:05+00:00", "timings": [{"phase": "total", "script": "", "seconds": 9}]}
        ),
    )


def hostile() -> Subject:
    image = Path("/images") / HOSTILE.replace("/", "_").replace("\0", "")
    findings = tuple(replace(finding, id=f"x/{HOSTILE}", title=HOSTILE, message=HOSTILE) for finding in FINDINGS)
    return Subject(
        image,
        validation=Report(image, findings, 0.8).as_json(),
        boot=boot_report(image, HOSTILE).as_json(),
        content=content(HOSTILE),
        history=history({"fingerprint": HOSTILE, "image": {"profile": HOSTILE}}),
        failure=HOSTILE,
    )


class Seen(HTMLParser):
    """What a browser would make of a page: its elements, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


# Where reports are written


@pytest.mark.parametrize(
    ("ending", "begins"), [("html", "<!DOCTYPE html>"), ("xml", "<?xml"), ("json", "{"), ("txt", "/images/x.qcow2: ")]
)
def test_the_kind_of_a_report_is_its_ending(tmp_path: Path, ending: str, begins: str) -> None:
    with reports.collected([tmp_path / f"r.{ending}"], []) as subjects:
        subjects.append(subject())
    assert (tmp_path / f"r.{ending}").read_text().startswith(begins)


def test_all_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    image, other = tmp_path / "x.xml", tmp_path / "same.txt"
    image.write_bytes(b"an image, of an odd name")
    other.hardlink_to(image)
    wanted = [tmp_path / "r.pdf", image, other, tmp_path / "none/r.txt", tmp_path / "a.html", tmp_path / "a.html"]
    with pytest.raises(InputError) as refused, reports.collected(wanted, reports.kept_beside(image)):
        pytest.fail("nothing begins")
    said = [str(problem) for problem in refused.value.problems]
    assert [re.sub(r"\S*/", "", line.partition(" (")[0]) for line in said] == [
        "the kind of a report is its ending",
        "x.xml is not overwritten",
        "x.xml is not overwritten",
        "r.txt cannot be written: No such file or directory",
        "a.html was named twice",
    ]
    assert image.read_bytes() == b"an image, of an odd name"


def test_a_link_to_the_record_is_the_record(tmp_path: Path) -> None:
    image, link = tmp_path / "x.qcow2", tmp_path / "r.json"
    (tmp_path / "x.qcow2.json").write_text("{}")
    link.symlink_to(tmp_path / "x.qcow2.json")
    with pytest.raises(InputError, match="not overwritten"), reports.collected([link], reports.kept_beside(image)):
        pytest.fail("nothing begins")


def test_a_report_is_written_of_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"

    def fails() -> None:
        with reports.collected([path], []) as subjects:
            subjects.append(Subject(Path("x.qcow2"), failure="no\nspace"))
            raise BuildError("no space")

    with pytest.raises(BuildError):
        fails()
    assert path.read_text().startswith(
        "x.qcow2: not built, 0 passed, 0 failed, 0 warnings, 0 skipped, 0.0 s\n\nno\nspace"
    )


def test_nothing_is_written_of_nothing(tmp_path: Path) -> None:
    with reports.collected([tmp_path / "r.html"], []):
        pass
    assert list(tmp_path.iterdir()) == []


# JSON and text


def test_json_is_the_contract() -> None:
    document = json.loads(plain.as_json([subject(), Subject(Path("y.raw"), failure="it was not built")]))
    assert schema_errors(document, "report") == []
    assert (document["ok"], [each["ok"] for each in document["images"]]) == (False, [False, False])
    assert document["images"][0]["timings"] == [{"phase": "total", "script": "", "seconds": 9.0}]


def test_text_can_play_no_tricks_on_a_terminal() -> None:
    text = plain.as_text([hostile()])
    assert all(char.isprintable() or char == "\n" for char in text)


# JUnit XML


def cases(text: str) -> dict[str, ET.Element]:
    return {str(case.get("name")).partition(":")[0]: case for case in ET.fromstring(text).iter("testcase")}


def junit_errors(text: str) -> list[str]:
    """What is wrong with a document by the rules that its readers share."""
    top = ET.fromstring(text.encode())
    wrong = [] if top.tag == "testsuites" else ["the top is no testsuites"]
    required = {
        "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
        "testcase": {"name", "classname"},
    }
    allowed = {
        "testsuites": {"testsuite"},
        "testsuite": {"properties", "testcase"},
        "properties": {"property"},
        "testcase": {"skipped", "failure", "error", "system-out"},
    }
    for element in top.iter():
        wrong += [f"{element.tag} lacks {name}" for name in required.get(element.tag, set()) - set(element.keys())]
        wrong += [f"{child.tag} in {element.tag}" for child in element if child.tag not in allowed.get(element.tag, ())]
    for suite in (top, *top.iter("testsuite")):
        results = [result.tag for case in suite.iter("testcase") for result in case]
        counted = {"failures": results.count("failure"), "skipped": results.count("skipped")}
        counted |= {"errors": results.count("error"), "tests": len(list(suite.iter("testcase")))}
        wrong += [
            f"{name} of {suite.get('name')}" for name, number in counted.items() if suite.get(name) != str(number)
        ]
    for case in top.iter("testcase"):
        wrong += [f"{case.get('name')} has several results"] if len(case) > 1 else []
    return wrong


def test_junit_says_what_was_found() -> None:
    text = junit.as_xml([subject()])
    assert junit_errors(text) == []
    found = {name: [child.tag for child in case] for name, case in cases(text).items()}
    assert found == {
        "kernel": ["system-out"],
        "haproxy": ["failure"],
        "free-space": ["system-out"],
        "secrets": ["skipped"],
        "boot": ["system-out"],
    }
    assert cases(text)["haproxy"][0].get("message") == "/usr/sbin/haproxy is missing"
    assert cases(text)["free-space"][0].text == "warning: 14%"
    assert cases(text)["haproxy"].get("time") == "0.500"
    suite = next(suite for suite in ET.fromstring(text).iter("testsuite"))
    assert suite.get("timestamp") == "2026-01-02T03:04:05"


def test_a_suite_is_a_group_of_checks() -> None:
    suites = {str(suite.get("name")): suite for suite in ET.fromstring(junit.as_xml([subject()])).iter("testsuite")}
    groups = sorted({group_of(finding.id) for finding in FINDINGS})
    assert list(suites) == [*(f"validate x.qcow2: {group}" for group in groups), "boot x.qcow2: machine"]
    for name, suite in suites.items():
        ids = {str(case.get("name")).partition(":")[0] for case in suite.iter("testcase")}
        assert {group_of(id) for id in ids} == {name.rpartition(" ")[2]}


def test_an_image_that_was_not_built_is_an_error() -> None:
    text = junit.as_xml([Subject(Path("x.qcow2"), failure="debootstrap failed\nmore of it")])
    assert junit_errors(text) == []
    assert ET.fromstring(text).find(".//error").get("message") == "debootstrap failed"  # type: ignore[union-attr]


ANY_TEXT = st.text(st.characters(), max_size=60)  # lone surrogates too: names may be any bytes


@given(ANY_TEXT, ANY_TEXT)
def test_junit_is_well_formed_whatever_an_image_is_called(name: str, message: str) -> None:
    image = Path("/images") / (name.replace("/", "_").replace("\0", "_") or "x")
    findings = tuple(replace(finding, title=name, message=message) for finding in FINDINGS)
    text = junit.as_xml([Subject(image, Report(image, findings, 0.1).as_json(), failure=message)])
    assert junit_errors(text) == []
    again = ET.fromstring(text.encode())
    failure = next(again.iter("failure"))
    # Line ends are one character to a reader of XML (section 2.11).
    assert (failure.text or "") == junit.legal(message).replace("\r\n", "\n").replace("\r", "\n")


# The page


def test_nothing_of_an_image_becomes_markup() -> None:
    good, bad = Seen(page.as_html([subject()])), Seen(page.as_html([hostile()]))
    allowed = {"html", "head", "meta", "title", "link", "style", "body", "main", "script", "svg", "rect"}
    assert {tag for tag, _ in bad.tags} - {tag for tag, _ in good.tags} <= {"pre"}
    assert allowed <= {tag for tag, _ in bad.tags}
    scripts = [attributes for tag, attributes in bad.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "image1-map"}, {}]
    handlers = [name for _, attributes in bad.tags for name in attributes if name.startswith("on") or name == "style"]
    assert handlers == []
    assert '<script>alert("1")</script>' in bad.text
    assert "{{ 7*7 }}" in bad.text


@given(ANY_TEXT)
def test_a_page_has_the_same_elements_whatever_an_image_is_called(text: str) -> None:
    def elements(text: str) -> list[str]:
        held = replace(content(text or "x"), system="x")
        return [tag for tag, _ in Seen(page.as_html([replace(subject(), content=held)])).tags]

    assert elements(text) == elements("x")
    page.as_html([replace(subject(), content=content(text or "x"))]).encode()


@given(st.recursive(ANY_TEXT | st.integers(), lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_data_in_a_page_is_what_it_was_and_ends_nothing(data: Any) -> None:
    text = page.embedded(data)
    assert json.loads(text) == data
    assert not set("<>&") & set(text)
    assert text.isascii()


def test_the_page_loads_nothing() -> None:
    seen = Seen(page.as_html([subject()]))
    leads = {
        name: value for _, attributes in seen.tags for name, value in attributes.items() if name in ("src", "href")
    }
    assert all(str(value).startswith(("#", "data:")) for value in leads.values())
    policy = next(
        attributes["content"]
        for tag, attributes in seen.tags
        if attributes.get("http-equiv", "").startswith("Content")  # type: ignore[union-attr]
    )
    assert str(policy).startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in str(policy)


def test_every_link_in_the_page_leads_somewhere() -> None:
    seen = Seen(page.as_html([subject(), replace(subject(), image=Path("y.raw"))]))
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    leads = {str(attributes["href"])[1:] for tag, attributes in seen.tags if tag == "a"}
    named = {
        word
        for _, attributes in seen.tags
        for name in ("aria-labelledby", "for")
        if name in attributes
        for word in str(attributes[name]).split()
    }
    assert (leads | named) - set(ids) == set()


def test_checks_explain_themselves_in_the_page() -> None:
    text = Seen(page.as_html([subject()])).text
    for id in ("haproxy", "boot"):
        assert explanation(id).split("\n\n")[0] in text


def test_every_check_is_explained() -> None:
    assert [check.id for check in CHECKS if len(explanation(check.id)) < 40] == []
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/boot.md").read_text(), re.MULTILINE))
    assert documented - {"image-intact"} == set(of_boot())


@pytest.mark.parametrize(
    "without",
    [{"validation": None}, {"boot": None}, {"content": None}, {"validation": None, "boot": None, "content": None}],
)
def test_what_is_not_known_is_left_out(without: dict[str, None]) -> None:
    parts = {"validation": "-offline1", "boot": "-boot1", "content": "-packages"}
    text = page.as_html([replace(subject(), **without)])  # type: ignore[arg-type]
    assert {name for name, mark in parts.items() if mark not in text} == set(without)


def test_an_image_whose_tree_cannot_be_read() -> None:
    text = Seen(page.as_html([replace(subject(), content=replace(content(), tree=(), largest=(), packages=()))])).text
    assert "The files of this image could not be looked at." in text
    assert "This image has no packages that can be read here." in text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (200 * 1024, "200 KiB"), (3 * 2**40, "3.0 TiB"), (None, "")],
)
def test_sizes(number: int | None, text: str) -> None:
    assert size(number) == text


def test_a_part_of_nothing() -> None:
    assert (share(0, 0), share(1, 4), share(5, 4)) == ("0%", "25.00%", "100.00%")


def test_a_boot_that_failed_shows_the_console() -> None:
    failed = (Finding("boot", "The system comes up", Status.FAIL, "the kernel panicked", 1.0),)
    tail = ("<0>Kernel panic", "---[ end")
    report = replace(boot_report(Path("x.qcow2")), findings=failed, tail=tail)
    assert "  <0>Kernel panic\n  ---[ end\n" in plain.as_text([of_boot_report(report)])
    assert "<0>Kernel panic\n---[ end" in Seen(page.as_html([of_boot_report(report)])).text
    good = replace(boot_report(Path("x.qcow2")), tail=tail)
    assert "Kernel panic" not in page.as_html([of_boot_report(good)])


# The record


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)
KEYS = ("image", "artifacts", "tools", "timings", "started", "fingerprint")


@given(st.dictionaries(st.sampled_from(KEYS), JSON_VALUES) | JSON_VALUES)
def test_any_record_may_lie_beside_an_image(record: Any) -> None:
    made = replace(subject(), history=history(record))
    page.as_html([made]).encode()
    assert junit_errors(junit.as_xml([made])) == []


def test_a_record_is_read() -> None:
    timings = [{"phase": "install", "script": "10-x", "seconds": 2}, {"phase": "total", "script": "", "seconds": 3.5}]
    record = {
        "image": {"profile": "amphora", "arch": "amd64", "os": "debian-minimal", "release": "trixie"},
        "artifacts": [{"sha256": "ab"}],
        "tools": {"diskimage-builder": "3", "diskimage-create": "1", "other": "2"},
        "timings": timings,
    }
    made = history(record)
    assert (made.profile, made.arch, made.release, made.sha256) == ("amphora", "amd64", "trixie", "ab")
    assert made.tools == "diskimage-create 1, diskimage-builder 3"
    assert made.timings == (PhaseTiming("install", "10-x", 2.0), PhaseTiming("total", "", 3.5))


@pytest.mark.parametrize("seconds", ["1", None, True, -1, float("nan"), float("inf"), 1e300])
def test_a_time_that_is_none(seconds: object) -> None:
    assert history({"timings": [{"phase": "total", "script": "", "seconds": seconds}]}).timings == ()
