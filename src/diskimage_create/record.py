"""The record beside a finished image: what it is, what it was made of, and how it was found to be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from diskimage_create import plan as plans
from diskimage_create.model import RECORD_SCHEMA, Artifact, BuildPlan, PhaseTiming, Report


def path_for(image: Path) -> Path:
    """Where the record of an image is."""
    return image.with_name(f"{image.name}.json")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make(
    plan: BuildPlan,
    artifacts: Sequence[Artifact],
    report: Report | None,
    *,
    packages: Iterable[Mapping[str, str]],
    timings: Iterable[PhaseTiming],
    expectation: Mapping[str, Any],
    tools: Mapping[str, str],
    started: datetime,
) -> dict[str, Any]:
    """The record of one image, as it is written beside it. Secrets are not in it.

    :param artifacts: all that the build made, the image itself first
    :param report: how the image itself was found to be; None where nobody looked
    :param timings: the last one is that of the whole build
    """
    planned = plans.as_json(plan)
    steps = list(timings)
    image = artifacts[0]
    return {
        "schema": RECORD_SCHEMA,
        "image": {**planned["image"], "types": [image.type], "output": str(image.path)},
        "artifacts": [
            {"type": made.type, "path": made.path.name, "sha256": made.sha256, "bytes": made.bytes}
            for made in artifacts
        ],
        "built": True,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(steps[-1].seconds, 1),
        "fingerprint": plan.fingerprint,
        "inputs": dict(plan.inputs),
        "elements": list(plan.elements),
        "resolved_elements": planned["resolved_elements"],
        "environment": planned["environment"],
        "command": list(plan.command),
        "notes": list(plan.notes),
        "tools": dict(tools),
        "packages": list(packages),
        "timings": [
            {"phase": timing.phase, "script": timing.script, "seconds": round(timing.seconds, 3)} for timing in steps
        ],
        "validation": report.as_json() | {"image": image.path.name} if report else None,
        "expectation": dict(expectation),
    }


def texts_beside(artifact: Artifact, record: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """What lies beside the artifact X: ``X.json``, and ``X.sha256`` of one that is a file (and not in a daemon)."""
    texts = [(path_for(artifact.path), json.dumps(record, indent=1, sort_keys=False) + "\n")]
    if artifact.type != "docker":
        digest = f"{artifact.sha256}  {artifact.path.name}\n"
        texts.append((artifact.path.with_name(f"{artifact.path.name}.sha256"), digest))
    return texts
