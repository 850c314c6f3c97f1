"""Checks run by root for a user who is not.

sudo python -m diskimage_create.validate.as_root    reads a request on standard input, prints a report
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from diskimage_create import as_root
from diskimage_create.model import Expectation, Finding, Report, Severity, Status
from diskimage_create.validate import content, expect, how
from diskimage_create.validate.how import How


def validate_as_root(path: Path, expectation: Expectation | None, way: How) -> Report:
    """Run :func:`diskimage_create.validate.validate` through sudo.

    :raises HostError: sudo refused
    """
    if expectation:  # its tests are not in its JSON
        way = replace(way, suites=(*expectation.suites, *way.suites))
    request = {
        "path": str(path.resolve()),
        "how": how.to_json(way),
        "expectation": None if expectation is None else expect.to_json(expectation),
        "secrets": {} if expectation is None else dict(expectation.secrets),
    }
    report = as_root.ask("diskimage_create.validate.as_root", request)
    findings = tuple(
        Finding(**{**each, "status": Status(each["status"]), "severity": Severity(each["severity"])})
        for each in report["checks"]
    )
    held = report["content"]
    return Report(path, findings, report["seconds"], content=held and content.from_json(held))


def _serve(request: dict[str, Any]) -> dict[str, Any]:
    from diskimage_create.validate import validate

    expectation = None
    if request["expectation"] is not None:
        expectation = replace(expect.from_json(request["expectation"]), secrets=request["secrets"])
    report = validate(Path(request["path"]), expectation, how.from_json(request["how"]))
    return {**report.as_json(), "content": report.content and content.to_json(report.content)}


if __name__ == "__main__":
    as_root.answer(_serve)
