"""The part of pytest that runs the checks of elements: the fixture ``host``, and results as lines of JSON.

It is loaded by the pytest that :mod:`diskimage_create.validate.suites` starts, and by nothing else.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

#: What pytest says to who called it
_ADVICE = re.compile(r"\n\s*(\.\.\.Full output truncated.*|Use -v to get more diff)")
#: Characters of a message
_LONGEST = 600


class _Sandbox(BaseBackend):  # type: ignore[misc]
    """Runs commands in the image."""

    NAME = "image"

    def __init__(self, enter: list[str]) -> None:
        super().__init__("image")
        self._enter = shlex.join(enter)

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """Run a shell command; arguments are quoted."""
        line = self.get_command(command, *args)
        # Without arguments of its own, "%" stays what it is.
        return self.run_local(f"{self._enter} /bin/sh -c {shlex.quote(line)}")

    def get_encoding(self) -> str:
        """Said, as asking would take a Python in the image."""
        return "utf-8"


class _Recorder:
    """Writes a line for each test as soon as it has ended."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._results = (root / "results").open("a", encoding="utf-8")
        self._known: dict[str, dict[str, str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Give each test the id of its element and its name; with its file's, where two have one name."""
        names = Counter(self._owner(item.nodeid) + _name(item.nodeid) for item in items)
        for item in items:
            owner, name = self._owner(item.nodeid), _name(item.nodeid)
            file = f"{item.path.stem}." if names[owner + name] > 1 else ""
            documented = (getattr(getattr(item, "function", None), "__doc__", None) or "").strip().splitlines()
            self._known[item.nodeid] = {
                "id": f"{owner}/{file}{name}",
                "title": documented[0].rstrip(".") if documented else name.replace("_", " "),
                "severity": "warning" if item.get_closest_marker("warning") else "error",
            }

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be read is a check that fails."""
        if report.failed:
            owner, file = self._owner(report.nodeid), Path(report.nodeid).name
            known = {"id": f"{owner}/{file}", "title": f"{file} can be read", "severity": "error"}
            self._write(known, "fail", self._why(report), 0.0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """What a test says counts, and what went wrong before or after it."""
        known = self._known[report.nodeid]
        if report.failed:
            self._write(known, "fail", self._why(report), report.duration)
        elif report.skipped:
            reason = getattr(report, "wasxfail", None) or (
                report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            )
            self._write(known, "skip", reason.removeprefix("Skipped: "), report.duration)
        elif report.when == "call":
            self._write(known, "pass", known["title"], report.duration)

    def _owner(self, nodeid: str) -> str:
        return nodeid.partition("/")[0]

    def _why(self, report: pytest.TestReport | pytest.CollectReport) -> str:
        """The assertion that failed, and where in the element it is."""
        crash = getattr(report.longrepr, "reprcrash", None)
        message = crash.message if crash else _errors(report.longreprtext)
        entries = getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", ())
        places = [entry.reprfileloc for entry in entries if getattr(entry, "reprfileloc", None)]
        own = [place for place in places if not Path(place.path).is_absolute() and (self._root / place.path).is_file()]
        where = f"{own[-1].path}:{own[-1].lineno}: " if own else ""
        # Where a test says itself what is wrong, how the assertion was evaluated says nothing more.
        said = message.removeprefix("AssertionError: ").partition("\nassert ")[0]
        text = _ADVICE.sub("", said)
        return f"{where}{text}"[:_LONGEST]

    def _write(self, known: dict[str, str], status: str, message: str, seconds: float) -> None:
        line = {**known, "status": status, "message": message, "seconds": round(seconds, 3)}
        print(json.dumps(line), file=self._results, flush=True)


def _errors(text: str) -> str:
    """The lines of a traceback that say what went wrong: pytest marks them with an E."""
    marked = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    return "\n".join(marked or text.strip().splitlines()[-3:])


def _name(nodeid: str) -> str:
    return nodeid.partition("::")[2].replace("::", ".")


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Host:
    """The image, as pytest-testinfra shows a machine."""
    backend = _Sandbox(json.loads((request.config.rootpath / "sandbox.json").read_text(encoding="utf-8")))
    image = Host(backend)
    backend.set_host(image)
    return image


def pytest_configure(config: pytest.Config) -> None:
    """Listen to this run."""
    config.pluginmanager.register(_Recorder(config.rootpath))
