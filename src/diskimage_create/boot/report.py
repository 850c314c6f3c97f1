"""What a boot test found, as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from diskimage_create.boot.guest import GuestReport, UnitTime
from diskimage_create.model import Report
from diskimage_create.validate.report import print_report

SCHEMA = 1


@dataclass(frozen=True)
class BootReport(Report):
    """The result of booting one image."""

    arch: str
    accelerator: str
    firmware: str
    """``bios``, ``uefi``, or what else the machine has"""
    timeline: tuple[tuple[str, float], ...]
    """Event and seconds since the machine was started, in order"""
    guest: GuestReport | None
    """None where the guest said nothing of itself"""
    console: Path | None
    """Where the record of the serial console was kept"""
    tail: tuple[str, ...]
    """Its last lines"""

    def why(self) -> str:
        """What failed, and the last lines of the console."""
        shown = ["the last lines of the serial console:", *(f"  {line}" for line in self.tail)] if self.tail else []
        kept = [f"the serial console is recorded in {self.console}"] if self.console else []
        return "\n".join([super().why(), *shown, *kept])

    def as_json(self) -> dict[str, Any]:
        """The report as ``boot --format json`` prints it."""
        said = self.guest
        return {
            "schema": SCHEMA,
            **super().as_json(),
            "machine": {"arch": self.arch, "accelerator": self.accelerator, "firmware": self.firmware},
            "timeline": [{"event": event, "seconds": round(seconds, 1)} for event, seconds in self.timeline],
            "state": said.state if said else None,
            "multi_user_seconds": said and said.multi_user_seconds and round(said.multi_user_seconds, 1),
            "failed_units": [{"unit": each.unit, "log": list(each.log)} for each in said.failed] if said else None,
            "kernel_errors": list(said.kernel_errors) if said else None,
            "kernel_warnings": list(said.kernel_warnings) if said else None,
            "stages": [{"stage": name, "begun": round(begun, 3)} for name, begun in said.stages] if said else None,
            "units": [_unit(each) for each in said.units] if said else None,
            "console": str(self.console) if self.console else None,
        }


def _unit(time: UnitTime) -> dict[str, Any]:
    return {"unit": time.unit, "begun": round(time.begun, 3), "seconds": round(time.seconds, 3)}


def as_json(report: BootReport) -> str:
    """The report as a document."""
    return json.dumps(report.as_json(), indent=2)


def print_text(report: BootReport, stream: TextIO) -> None:
    """The timeline, the checks, and of a failure the last lines of the console."""
    for event, seconds in report.timeline:
        print(f"{seconds:6.1f} s  {event}", file=stream)
    print(file=stream)
    print_report(report, stream)
    if not report.ok and report.tail:
        print("\nthe last lines of the serial console:", file=stream)
        for line in report.tail:
            print(f"  {line}", file=stream)
    if report.console:
        print(f"the serial console is recorded in {report.console}", file=stream)
