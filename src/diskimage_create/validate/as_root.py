"""Checks run by root for a user who is not: shadow files and private directories of an image are root's to read.

sudo python -m diskimage_create.validate.as_root    reads a request on standard input, prints a report
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from diskimage_create import process
from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.model import Expectation, Finding, Report, Status
from diskimage_create.validate.expect import from_json, to_json


def validate_as_root(path: Path, expectation: Expectation | None, *, deep: bool) -> Report:
    """Run :func:`diskimage_create.validate.validate` through sudo.

    Secrets travel through the pipe: arguments are everybody's to read.

    :raises HostError: sudo refused
    """
    request = {
        "path": str(path.resolve()),
        "deep": deep,
        "expectation": None if expectation is None else to_json(expectation),
        "secrets": {} if expectation is None else dict(expectation.secrets),
    }
    command = process.privileged([sys.executable, "-m", "diskimage_create.validate.as_root"])
    try:
        answer = json.loads(process.run(command, input=json.dumps(request)).stdout)
    except CommandFailed as error:
        message = f"the image cannot be checked as root: {error.output.strip()[-500:]}"
        raise HostError(message, hint="run as root, or allow sudo without a password") from None
    findings = tuple(Finding(**{**finding, "status": Status(finding["status"])}) for finding in answer["checks"])
    return Report(path, findings, answer["seconds"])


def main() -> None:
    """Answer one request."""
    from diskimage_create.validate import validate

    request = json.load(sys.stdin)
    expectation = None
    if request["expectation"] is not None:
        expectation = replace(from_json(request["expectation"]), secrets=request["secrets"])
    report = validate(Path(request["path"]), expectation, deep=request["deep"])
    json.dump(report.as_json(), sys.stdout)


if __name__ == "__main__":
    main()
