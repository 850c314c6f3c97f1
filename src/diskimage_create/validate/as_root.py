"""Checks run by root for a user who is not.

sudo python -m diskimage_create.validate.as_root    reads a request on standard input, prints a report
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diskimage_create import as_root
from diskimage_create.model import Expectation, Finding, Report, Severity, Status, Suite
from diskimage_create.validate.expect import from_json, to_json
from diskimage_create.validate.selection import EVERYTHING, Selection


def validate_as_root(
    path: Path,
    expectation: Expectation | None,
    *,
    deep: bool,
    backend: str = "auto",
    selection: Selection = EVERYTHING,
    said: Mapping[str, Any] = MappingProxyType({}),
    suites: Sequence[Suite] = (),
) -> Report:
    """Run :func:`diskimage_create.validate.validate` through sudo.

    :raises HostError: sudo refused
    """
    request = {
        "path": str(path.resolve()),
        "deep": deep,
        "backend": backend,
        "expectation": None if expectation is None else to_json(expectation),
        "secrets": {} if expectation is None else dict(expectation.secrets),
        "selection": asdict(selection),
        "said": dict(said),
        "suites": [
            {**asdict(suite), "path": str(suite.path)}
            for suite in (*(expectation.suites if expectation else ()), *suites)
        ],
    }
    report = as_root.ask("diskimage_create.validate.as_root", request)
    findings = tuple(
        Finding(**{**each, "status": Status(each["status"]), "severity": Severity(each["severity"])})
        for each in report["checks"]
    )
    return Report(path, findings, report["seconds"])


def _serve(request: dict[str, Any]) -> dict[str, Any]:
    from diskimage_create.validate import validate

    expectation = None
    if request["expectation"] is not None:
        expectation = replace(from_json(request["expectation"]), secrets=request["secrets"])
    report = validate(
        Path(request["path"]),
        expectation,
        deep=request["deep"],
        backend=request["backend"],
        selection=Selection(**{name: tuple(patterns) for name, patterns in request["selection"].items()}),
        said=request["said"],
        suites=[Suite(**{**suite, "path": Path(suite["path"])}) for suite in request["suites"]],
    )
    return report.as_json()


if __name__ == "__main__":
    as_root.answer(_serve)
