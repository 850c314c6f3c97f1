"""Checks run by root for a user who is not.

sudo python -m diskimage_create.validate.as_root    reads a request on standard input, prints a report
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from diskimage_create import as_root
from diskimage_create.model import Expectation, Finding, Report, Status
from diskimage_create.validate.expect import from_json, to_json


def validate_as_root(path: Path, expectation: Expectation | None, *, deep: bool, backend: str = "auto") -> Report:
    """Run :func:`diskimage_create.validate.validate` through sudo.

    :raises HostError: sudo refused
    """
    request = {
        "path": str(path.resolve()),
        "deep": deep,
        "backend": backend,
        "expectation": None if expectation is None else to_json(expectation),
        "secrets": {} if expectation is None else dict(expectation.secrets),
    }
    report = as_root.ask("diskimage_create.validate.as_root", request)
    findings = tuple(Finding(**{**finding, "status": Status(finding["status"])}) for finding in report["checks"])
    return Report(path, findings, report["seconds"])


def _serve(request: dict[str, Any]) -> dict[str, Any]:
    from diskimage_create.validate import validate

    expectation = None
    if request["expectation"] is not None:
        expectation = replace(from_json(request["expectation"]), secrets=request["secrets"])
    report = validate(Path(request["path"]), expectation, deep=request["deep"], backend=request["backend"])
    return report.as_json()


if __name__ == "__main__":
    as_root.answer(_serve)
