"""The page of a report, as a browser shows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from building import COMMAND, REPRODUCIBLE, Built, clean_environment, run_build

from contract import schema_errors
from diskimage_create.model import Content, Finding, Heavy, Node, PhaseTiming, Report, SizedPackage, Status
from diskimage_create.reports import Subject
from diskimage_create.reports.history import History
from diskimage_create.reports.page import as_html

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
HOSTILE = '<script>document.title = "owned"</script><img src="http://192.0.2.1/x" onerror="document.title = 1">'


@dataclass
class Opened:
    """A page in a browser, and what it did besides being looked at."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Of the browser's console"""
    asked: list[str] = field(default_factory=list)
    """Everything that it wanted to load"""
    refused: list[str] = field(default_factory=list)
    """Of that, what its policy did not let it"""


Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'test')")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    # Its sandbox does without root only.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()


@pytest.fixture
def opened(browser: Browser) -> Open:
    """A function that opens a page."""

    @contextmanager
    def open_page(path: Path, **how: Any) -> Iterator[Opened]:
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **how})
        page = context.new_page()
        seen = Opened(page)
        page.on("console", lambda message: seen.complaints.append(message.text))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (seen.complaints.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda request: seen.asked.append(request.url))
        page.on("requestfailed", lambda request: seen.refused.append(f"{request.url}: {request.failure}"))
        try:
            page.goto(path.as_uri())
            yield seen
        finally:
            context.close()

    return open_page


def a_boot(name: str = "x.service") -> dict[str, Any]:
    """A report of a boot, as ``boot --format json`` prints it."""
    units = [{"unit": f"{number}-{name}", "begun": number / 2, "seconds": number % 7} for number in range(30)]
    checks = [Finding("boot", "The system comes up", Status.PASS, name, 20.0).as_json()]
    return {
        "schema": 1, "image": "x.qcow2", "ok": True, "seconds": 60.0, "checks": checks,
        "machine": {"arch": "amd64", "accelerator": "tcg", "firmware": "bios"},
        "timeline": [{"event": name, "seconds": 4.0}, {"event": "login prompt", "seconds": 30.0}],
        "state": "degraded", "multi_user_seconds": 25.5, "failed_units": [{"unit": name, "log": [name]}],
        "kernel_errors": [name], "kernel_warnings": [], "console": None,
        "stages": [{"stage": "initrd", "begun": 2.0}, {"stage": "system", "begun": 9.0}], "units": units,
    }  # fmt: skip


def a_subject(name: str = "usr") -> Subject:
    """An image with something of everything, all of it called like this."""
    image = Path("x.qcow2")
    findings = tuple(Finding("kernel", name, status, f"{name} {status} " * 9, 0.1) for status in Status)
    tree = [Node("/", -1, 10_000, 60, "directory")]
    for number, size in enumerate((5000, 2500, 1500, 700, 300)):
        tree.append(Node(f"{name}{number}", 0, size, 10, "directory"))
        tree.append(Node("inside", len(tree) - 1, size - 100, 9, "directory"))
        tree.append(Node(f"{name}.bin", len(tree) - 1, size - 100, 9, "file"))
        tree.append(Node("", len(tree) - 3, 100, 1, "rest"))
    packages = tuple(SizedPackage(f"{name}-{number}", f"1.{number}", "all", number * 1000) for number in range(50))
    held = Content("qcow2", 10**6, 10**9, name, packages, tuple(tree), (Heavy(f"/{name}/" * 20, 4900),))
    timings = (PhaseTiming("install", name, 8.0), PhaseTiming("finalise", name, 1.0), PhaseTiming("total", "", 10.0))
    made = History(profile=name, sha256="0" * 64, started="2026-01-01T00:00:00+00:00", timings=timings)
    report = Report(image, findings, 1.0).as_json()
    return Subject(image, report, a_boot(name), held, made)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A page of an image that was made up."""
    path = tmp_path / "made.html"
    path.write_text(as_html([a_subject()]), encoding="utf-8")
    return path


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A page of an image that wants to be more than looked at."""
    path = tmp_path / "hostile.html"
    path.write_text(as_html([replace(a_subject(HOSTILE), failure=HOSTILE), a_subject(HOSTILE)]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def amphora_page(bookworm: Built) -> Path:
    """The page that validating a real amphora leaves."""
    path = bookworm.directory.parent / "report.html"
    command = [*COMMAND, "validate", str(bookworm.path()), "--report", str(path)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


RECTANGLES = """[...document.querySelectorAll('.treemap svg > g')].map((group) => {
  const box = group.querySelector('rect').getBoundingClientRect();
  return { name: group.dataset.name, bytes: Number(group.dataset.bytes), area: box.width * box.height };
})"""
#: Elements with text of their own whose contrast with what is behind them is too low (WCAG 2.2, 1.4.3)
LOW_CONTRAST = (HERE / "contrast.js").read_text(encoding="utf-8")


def areas(page: Page) -> list[dict[str, Any]]:
    """The largest rectangles of the map, as they are drawn."""
    found: list[dict[str, Any]] = page.evaluate(RECTANGLES)
    return found


def check_areas(page: Page) -> None:
    """Each rectangle is as large as what it stands for, but for the rounding of pixels."""
    drawn = areas(page)
    whole, total = sum(each["area"] for each in drawn), sum(each["bytes"] for each in drawn)
    frame = page.locator(".treemap svg").bounding_box()
    assert frame is not None
    assert whole == pytest.approx(frame["width"] * frame["height"], rel=0.01)
    for each in drawn:
        assert each["area"] / whole == pytest.approx(each["bytes"] / total, rel=0.02, abs=0.001), each["name"]


def test_a_real_amphora(amphora_page: Path, bookworm: Built, opened: Open) -> None:
    with opened(amphora_page) as seen:
        page = seen.page
        assert page.locator(".outcome .verdict").inner_text() == "good"
        assert page.locator("h1").inner_text() == bookworm.path().name
        assert page.get_by_text(bookworm.record()["artifacts"][0]["sha256"]).is_visible()
        assert page.locator(".packages tbody tr").count() == len(bookworm.record()["packages"])
        assert page.locator("article").get_by_text("The build took").is_visible()
        check_areas(page)
        assert {"usr", "opt", "boot", "var"} <= {each["name"] for each in areas(page)}
        assert (seen.complaints, seen.asked) == ([], [amphora_page.as_uri()])


def test_a_click_goes_into_a_directory_and_back(amphora_page: Path, opened: Open) -> None:
    with opened(amphora_page) as seen:
        page, held = seen.page, {each["name"]: each["bytes"] for each in areas(seen.page)}
        page.locator('.treemap [data-name="usr"]').click(position={"x": 40, "y": 8})
        check_areas(page)
        inside = areas(page)
        assert "lib" in {each["name"] for each in inside}
        assert sum(each["bytes"] for each in inside) == held["usr"]
        page.locator(".place button").first.click()
        assert {each["name"]: each["bytes"] for each in areas(page)} == held


def test_the_map_by_keyboard(made: Path, opened: Open) -> None:
    with opened(made) as seen:
        page = seen.page
        top = [each["name"] for each in areas(page)]
        page.locator(".place button").first.focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert {each["name"] for each in areas(page)} == {"inside", "the rest"}
        assert page.locator(".place [aria-current]").inner_text() == top[0]
        page.keyboard.press("Escape")
        assert [each["name"] for each in areas(page)] == top


def test_packages_are_filtered_and_sorted(made: Path, opened: Open) -> None:
    with opened(made) as seen:
        page, rows = seen.page, seen.page.locator(".packages tbody tr:visible")
        page.get_by_label("Filter").fill("USR-4")
        assert rows.count() == 11
        assert page.locator(".found").inner_text() == "11 of 50"
        heading = page.locator(".packages th").filter(has_text="Installed")
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        assert [row.split()[0] for row in rows.all_inner_texts()][:3] == ["usr-49", "usr-48", "usr-47"]
        page.locator(".packages th").filter(has_text="Version").get_by_role("button").click()
        assert [row.split()[1] for row in rows.all_inner_texts()][:3] == ["1.4", "1.40", "1.41"]
        page.get_by_label("Filter").fill("")
        assert rows.count() == 50


def test_a_check_explains_itself(made: Path, opened: Open) -> None:
    with opened(made) as seen:
        check = seen.page.locator(".fail .check")
        assert not check.locator(".why").is_visible()
        check.locator("summary").click()
        assert len(check.locator(".why").inner_text()) > 60


@pytest.mark.parametrize("name", ["made", "hostile", "amphora_page"])
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_sticks_out(name: str, width: int, opened: Open, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(name)
    with opened(path, viewport={"width": width, "height": 800}) as seen:
        seen.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width
        outside = """[...document.querySelectorAll('body *')].filter((each) =>
          !each.closest('.to-main, .scroll, pre') && each.getBoundingClientRect().right > innerWidth + 1).length"""
        assert seen.page.evaluate(outside) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(scheme: str, made: Path, opened: Open) -> None:
    with opened(made, color_scheme=scheme) as seen:
        seen.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        looked_at, low = seen.page.evaluate(LOW_CONTRAST)
        assert looked_at > 300
        assert low == []


def test_dark_is_dark(made: Path, opened: Open) -> None:
    with opened(made, color_scheme="dark") as seen:
        ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(json.loads(ground.replace("rgb(", "[").replace(")", "]"))) < 60


def test_a_hostile_image_is_only_shown(hostile: Path, opened: Open) -> None:
    with opened(hostile) as seen:
        page = seen.page
        page.locator(".treemap [role=button]").first.click(position={"x": 5, "y": 5})
        page.get_by_label("Filter").first.fill("script")
        assert page.locator("article").first.get_by_text(HOSTILE).first.is_visible()
        assert page.title() == "x.qcow2, x.qcow2: report"
        assert (seen.complaints, seen.asked) == ([], [hostile.as_uri()])


def test_the_page_forbids_what_it_does_not_need(made: Path, opened: Open) -> None:
    """What got into a page in spite of all would not run, and load nothing."""
    injected = made.read_text().replace("</main>", f"{HOSTILE}</main>")
    made.write_text(injected)
    with opened(made) as seen:
        assert seen.page.title() == "x.qcow2: report"
        assert seen.refused == ["http://192.0.2.1/x: csp"]
        assert any("Content Security Policy" in complaint for complaint in seen.complaints)


def test_without_javascript_the_tables_are_there(made: Path, opened: Open) -> None:
    with opened(made, java_script_enabled=False) as seen:
        page = seen.page
        assert page.locator(".packages tbody tr").count() == 50
        assert page.get_by_text("The map of the disk needs JavaScript").is_visible()
        assert not page.get_by_label("Filter").is_visible()
        assert page.locator("th", has_text="/usr0/inside").is_visible()
        assert page.locator(".fail .message").is_visible()
        assert seen.complaints == []


def test_bars_are_as_long_as_their_times(made: Path, opened: Open) -> None:
    with opened(made) as seen:
        bars = seen.page.evaluate("""[...document.querySelectorAll('[id$=-boot] ~ table .bar')].map((bar) => {
          const [track, fill] = [...bar.querySelectorAll('rect')].map((each) => each.getBoundingClientRect());
          return [(fill.left - track.left) / track.width, fill.width / track.width];
        })""")
        assert bars == [pytest.approx([0, 4 / 30], abs=0.01), pytest.approx([4 / 30, 26 / 30], abs=0.01)]


def test_landmarks_and_names(made: Path, opened: Open) -> None:
    with opened(made) as seen:
        page = seen.page
        for role in ("main", "navigation", "contentinfo"):
            assert page.get_by_role(role).count() == 1
        regions = [each.get_attribute("aria-labelledby") for each in page.locator("section").all()]
        assert regions == [f"image1-{part}" for part in ("checks", "boot", "space", "packages", "build")]
        levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((each) => Number(each.tagName[1]))")
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        unnamed = (
            "document.querySelectorAll('th:not([scope]), table:not(:has(caption)):not([aria-label] table)').length"
        )
        assert page.evaluate(unnamed) == 0


def test_all_of_it_is_printed(made: Path, opened: Open) -> None:
    with opened(made) as seen:
        page = seen.page
        page.locator(".group.pass > summary").click()
        assert page.pdf()[:5] == b"%PDF-"
        assert page.locator("details.group:not([open]), details.part:not([open])").count() == 0


def test_a_build_reports_all_its_images(bookworm: Built, opened: Open) -> None:
    """Both types of the stored build, one of which is looked into for the map."""
    directory = bookworm.directory.parent / "reported"
    directory.mkdir()
    files = [word for ending in ("html", "json", "xml") for word in ("--report", f"report.{ending}")]
    built = run_build(directory, "-i", "debian", "-d", "bookworm", "-t", "qcow2,tar", *files, env=REPRODUCIBLE)
    assert built.returncode == 0, built.stderr[-4000:]
    document = json.loads((directory / "report.json").read_text())
    assert (schema_errors(document, "report"), document["ok"]) == ([], True)
    assert [each["validation"] for each in document["images"]] == [
        built.record(extension)["validation"] for extension in ("qcow2", "tar")
    ]
    assert "<failure" not in (directory / "report.xml").read_text()
    with opened(directory / "report.html") as seen:
        names = [row.split()[0] for row in seen.page.locator("main > .scroll tbody tr").all_inner_texts()]
        assert names == ["amphora-x64-haproxy.qcow2", "amphora-x64-haproxy.tar"]
        assert seen.page.locator(".treemap").count() == 1
        check_areas(seen.page)
        assert seen.page.get_by_text("The build took").count() == 2
        assert seen.complaints == []


def test_an_image_that_was_not_built_is_reported(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    options = ["-i", "debian", "--offline", "--cache-dir", str(tmp_path / "empty"), "-o", str(tmp_path / "x")]
    command = [*COMMAND, *options, "--report", str(report)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    error = ET.fromstring(report.read_text()).find(".//error")
    assert error is not None
    assert str(error.get("message")) in done.stderr


@pytest.mark.parametrize("command", ["validate", "boot"])
def test_a_report_never_replaces_the_image(command: str, tmp_path: Path) -> None:
    image = tmp_path / "x.html"
    image.write_bytes(b"an image")
    done = subprocess.run(
        [*COMMAND, command, str(image), "--report", str(image), "--report", str(tmp_path / "x.pdf")],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "is not overwritten" in done.stderr
    assert "the kind of a report is its ending" in done.stderr
    assert image.read_bytes() == b"an image"
