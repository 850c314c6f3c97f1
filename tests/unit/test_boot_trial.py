"""A boot test while it runs, and its report. The machine is one whose files the test writes."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest

from contract import schema_errors
from diskimage_create.boot import checks
from diskimage_create.boot.console import Console
from diskimage_create.boot.guest import GuestReport, parse
from diskimage_create.boot.qemu import Machine
from diskimage_create.boot.report import BootReport, as_json, print_text
from diskimage_create.boot.trial import Failed, Trial
from diskimage_create.errors import HostError, Interrupted
from diskimage_create.model import Finding, Status
from diskimage_create.validate.registry import warned

GOOD = "state running\nmulti-user 51073395\nend\n"
BAD = (
    "state degraded\nmulti-user 51073395\nfailed a.service\nlog a.service no such file\n"
    "kernel-error oops\nkernel-warning hm\nend\n"
)


class Bench:
    """A machine's files, and what its process ended with."""

    def __init__(self, directory: Path) -> None:
        self.console = directory / "console"
        self.report = directory / "report"
        self.output = directory / "output"
        self.console.touch()
        self.output.touch()
        self.status: int | None = None
        self.said: list[str] = []

    def trial(self, seconds: float = 60) -> Trial:
        started = time.monotonic()
        machine = Machine(Console(self.console, started), self.report, started, self.output, lambda: self.status)
        return Trial(machine, started + seconds, self.said.append)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def found(trial: Trial) -> dict[str, tuple[Status, str]]:
    return {finding.id: (finding.status, finding.message) for finding in trial.findings}


def fail(text: str) -> str:
    raise Failed(text)


def lacking() -> str:
    raise HostError("no such tool")


def test_what_checks_find(bench: Bench) -> None:
    trial = bench.trial()
    trial.check("a", "A", lambda: "fine")
    trial.check("b", "B", lambda: warned("hm"))
    trial.check("c", "C", lambda: fail("bro\x1bken"))
    trial.check("d", "D", lacking)
    trial.check("x", "X", lambda: str({}["key"]))
    trial.check("e", "E", lambda: fail("dead"), vital=True)
    trial.check("f", "F", lambda: "never asked")
    assert found(trial) == {
        "a": (Status.PASS, "fine"),
        "b": (Status.WARN, "hm"),
        "c": (Status.FAIL, "bro\\x1bken"),
        "d": (Status.SKIP, "no such tool"),
        "x": (Status.FAIL, "cannot be examined: KeyError: 'key'"),
        "e": (Status.FAIL, "dead"),
        "f": (Status.SKIP, "not tried: e failed"),
    }


def test_who_wants_it_to_end_is_heard(bench: Bench) -> None:
    def interrupted() -> str:
        raise Interrupted("SIGINT")

    with pytest.raises(Interrupted):
        bench.trial().check("a", "A", interrupted)


def test_waiting_ends_with_the_answer_the_limit_or_the_machine(bench: Bench) -> None:
    trial = bench.trial()
    answers = iter([None, None, "yes"])
    assert trial.wait("an answer", lambda: next(answers)) == "yes"
    with pytest.raises(Failed, match="an answer: nothing within 0 s"):
        trial.wait("an answer", lambda: None, limit=0)
    bench.output.write_text("warning\nCould not set up host forwarding rule\n")
    bench.status = 1
    with pytest.raises(Failed, match="QEMU exited with status 1; warning; Could not set up"):
        trial.wait("an answer", lambda: None)
    assert trial.wait("one that came before the end", lambda: "yes") == "yes"


def test_what_the_console_shows_is_said_once(bench: Bench) -> None:
    trial = bench.trial()
    bench.console.write_text("boot-test login: ")
    trial.machine.console.look()
    for _ in range(2):
        trial.wait("nothing", lambda: True)
    assert bench.said == ["[    0 s] login prompt"]


def test_a_good_machine(bench: Bench) -> None:
    bench.report.write_text(GOOD)
    bench.console.write_text("boot-test login: ")
    trial = bench.trial()
    trial.machine.console.look()
    assert checks.run(trial) == parse(GOOD)
    assert {id: status for id, (status, _) in found(trial).items()} == dict.fromkeys(
        ["boot", "login-prompt", "units", "kernel-messages"], Status.PASS
    )


def test_a_machine_with_a_failed_unit(bench: Bench) -> None:
    bench.report.write_text(BAD)
    bench.console.write_text("boot-test login: ")
    trial = bench.trial()
    trial.machine.console.look()
    checks.run(trial)
    assert found(trial)["units"] == (Status.FAIL, "a.service: no such file")
    assert found(trial)["kernel-messages"] == (Status.WARN, "1 errors, 1 warnings: oops / hm")


def test_a_machine_that_panicked(bench: Bench) -> None:
    bench.console.write_text("[ 1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n")
    trial = bench.trial()
    trial.machine.console.look()
    assert checks.run(trial) is None
    assert found(trial)["boot"] == (
        Status.FAIL,
        "the kernel panicked: Kernel panic - not syncing: VFS: Unable to mount root fs",
    )
    assert found(trial)["units"][0] is Status.SKIP


def report(*findings: Finding, guest: GuestReport | None = None) -> BootReport:
    return BootReport(
        Path("/images/x.qcow2"), findings, 61.23, "amd64", "tcg", "bios",
        (("kernel started", 4.57), ("login prompt", 52.0)), guest, Path("/images/x.console.log"), ("a", "login: "),
    )  # fmt: skip


OK = Finding("boot", "It boots", Status.PASS, "fine")
BROKEN = Finding("units", "No unit failed", Status.FAIL, "a.service: no such file")


@pytest.mark.parametrize("made", [report(OK), report(OK, BROKEN, guest=parse(BAD)), report(OK, guest=parse(GOOD))])
def test_json_is_the_contract(made: BootReport) -> None:
    assert schema_errors(json.loads(as_json(made)), "boot") == []


def test_the_schema_refuses_a_report_that_contradicts_itself() -> None:
    document = json.loads(as_json(report(OK, BROKEN))) | {"ok": True}
    assert schema_errors(document, "boot")


def test_a_failure_shows_the_console() -> None:
    stream = io.StringIO()
    print_text(report(OK, BROKEN), stream)
    text = stream.getvalue()
    assert "   4.6 s  kernel started\n" in text
    assert "FAIL  units  a.service: no such file\n" in text
    assert text.endswith("the last lines of the serial console:\n  a\n  login: \n"
                         "the serial console is recorded in /images/x.console.log\n")  # fmt: skip
    why = report(OK, BROKEN).why()
    assert "failed 1 of 2 checks\n  units: a.service: no such file\n" in why
    assert "  login: " in why


def test_a_success_does_not() -> None:
    stream = io.StringIO()
    print_text(report(OK), stream)
    assert "last lines" not in stream.getvalue()


def test_a_machine_is_stopped_at_the_deadline_and_when_it_floods(bench: Bench) -> None:
    machine = bench.trial().machine
    assert machine.to_be_stopped(time.monotonic() + 60) is None
    assert "at the deadline" in (machine.to_be_stopped(time.monotonic() - 60) or "")
    with bench.report.open("wb") as file:
        file.truncate(2**30)  # a hole: it takes no room
    assert "report said more than" in (machine.to_be_stopped(time.monotonic() + 60) or "")
    assert machine.guest_report() is None
    machine.stopped, bench.status = "the machine was stopped", -9
    assert machine.over() == "the machine was stopped"


def test_a_machine_that_cannot_be_started_is_not_the_images_fault(bench: Bench) -> None:
    machine = bench.trial().machine
    bench.output.write_text("qemu: cannot set up guest memory\n")
    assert machine.not_started() is None
    bench.status = 1
    assert machine.not_started() == "qemu: cannot set up guest memory"
    bench.console.write_text("SeaBIOS\n")
    assert machine.not_started() is None


def test_what_a_guest_says_is_quoted_in_part(bench: Bench) -> None:
    trial = bench.trial()
    trial.check("a", "A", lambda: fail("x" * 10**6))
    assert len(trial.findings[0].message) < 3000


def test_after_the_deadline_nothing_is_waited_for(bench: Bench) -> None:
    trial = bench.trial(seconds=-10)
    trial.machine.stopped, bench.status = "the machine was stopped", -9
    with pytest.raises(Failed, match="an answer: nothing within 0 s, the deadline had passed"):
        trial.wait("an answer", lambda: None)
