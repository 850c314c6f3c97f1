"""What is shown of a build, from lines that diskimage-builder printed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from diskimage_create import progress
from diskimage_create.model import PhaseTiming
from diskimage_create.progress import Lines, Tracker, load_history, save_history

# As diskimage-builder 3.43 prints them, shell traces included
LOG = """\
Building elements: base vm debian-minimal
2026-11-20 20:19:46.201 | dib-run-parts Sourcing environment file /tmp/dib_build.x/root.d/../environment.d/10-a.bash
2026-11-20 20:19:46.301 | ++ export DIB_RELEASE=trixie
2026-11-20 20:19:46.318 | dib-run-parts Running /tmp/dib_build.x/hooks/root.d/08-debootstrap
I: Retrieving InRelease
2026-11-20 20:19:48.000 | dib-run-parts 08-debootstrap completed
2026-11-20 20:19:48.100 | dib-run-parts Running /tmp/in_target.d/pre-install.d/03-package-lists
2026-11-20 20:19:48.200 | dib-run-parts 03-package-lists completed
2026-11-20 20:19:49.100 | dib-run-parts Running /tmp/in_target.d/install.d/75-amphora-agent
+ set -eu

error: no solution found
"""


class Seen:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.times: list[tuple[float, float]] = []

    def step(self, name: str, done: float, expected: float) -> None:
        self.steps.append(name)
        self.times.append((done, expected))

    def tick(self, done: float, expected: float) -> None:
        self.times.append((done, expected))


def follow(text: str, tracker: Tracker) -> None:
    for line in text.splitlines():
        tracker.line(line)


def test_steps_are_the_scripts_of_diskimage_builder() -> None:
    seen = Seen()
    tracker = Tracker(seen)
    follow(LOG, tracker)
    assert seen.steps == ["root 08-debootstrap", "pre-install 03-package-lists", "install 75-amphora-agent"]
    assert [(timing.phase, timing.script) for timing in tracker.timings] == [
        ("root", "08-debootstrap"),
        ("pre-install", "03-package-lists"),
    ]
    assert tracker.running == "install.d/75-amphora-agent"


def test_the_lines_that_matter_are_those_of_the_step_that_runs() -> None:
    tracker = Tracker(Seen())
    follow(LOG, tracker)
    assert tracker.last_lines() == ["error: no solution found"]
    follow("\n".join(f"line {number}" for number in range(1000)), tracker)
    assert tracker.last_lines(2) == ["line 998", "line 999"]


def test_a_script_that_prints_like_another_ended_does_not_end_this_one() -> None:
    tracker = Tracker(Seen())
    tracker.line("dib-run-parts Running /x/install.d/10-a")
    tracker.line("dib-run-parts 99-z completed")
    assert tracker.running == "install.d/10-a"
    assert tracker.timings == []


def test_a_step_of_our_own_is_timed() -> None:
    tracker = Tracker(Seen())
    with tracker.step("convert", "qcow2"):
        assert tracker.running == "convert.d/qcow2"
    assert tracker.running is None
    assert (tracker.timings[0].phase, tracker.timings[0].script) == ("convert", "qcow2")
    assert tracker.timings[0].seconds >= 0


@pytest.mark.parametrize("history", [None, {"root.d/08-debootstrap": 20.0, "install.d/75-amphora-agent": 30.0}])
def test_the_expected_time_is_a_number_that_makes_sense(history: dict[str, float] | None) -> None:
    seen = Seen()
    follow(LOG, Tracker(seen, history))
    assert all(done >= 0 and expected >= 0 for done, expected in seen.times)
    if history:
        assert seen.times[0][1] == pytest.approx(50)
        # The first script took no time at all here: what is left is what the other took last time.
        assert seen.times[-1][1] == pytest.approx(30, abs=2)
    else:
        assert seen.times[0][1] > seen.times[-1][1] > 0


def test_history_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "timings/debian.json"
    save_history(path, [PhaseTiming("root", "08-debootstrap", 23.456), PhaseTiming("convert", "", 1)])
    assert load_history(path) == {"root.d/08-debootstrap": 23.46, "convert.d/": 1.0}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "[]", "null", '{"a": "x"}', '{"a": null}', "\udcff"])
def test_a_broken_history_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "timings.json"
    path.write_text(content, errors="surrogateescape")
    assert load_history(path) == {}
    assert load_history(tmp_path / "nowhere.json") == {}


def test_a_line_a_step_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress.display() as display:
        assert isinstance(display, Lines)
        follow(LOG, Tracker(display))
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
    lines = err.splitlines()
    assert [line.partition("] ")[2] for line in lines][-1] == "install 75-amphora-agent"
    assert len(lines) == 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.display() as display:
        assert isinstance(display, progress.Bar)
        follow(LOG, Tracker(display))
    assert "install 75-amphora-agent" in terminal.getvalue()


def test_times_that_cannot_be_kept_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no directory")
    save_history(tmp_path / "cache/timings/x.json", [])
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
