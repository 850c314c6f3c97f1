"""The record beside a finished image: what it is, what it was made of, and how it was found to be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from diskimage_create import digests
from diskimage_create import plan as plans
from diskimage_create.errors import InputError, Problem
from diskimage_create.inputs import fingerprint, merged
from diskimage_create.model import RECORD_SCHEMA, STEPS, Artifact, BuildPlan, Finding, Inputs, PhaseTiming, Report


def path_for(image: Path) -> Path:
    """Where the record of an image is."""
    return image.with_name(f"{image.name}.json")


def make(
    plan: BuildPlan,
    artifacts: Sequence[Artifact],
    report: Report | None,
    *,
    proof: Report | None = None,
    remote: Inputs,
    resumed_from: str | None,
    packages: Iterable[Mapping[str, str]],
    timings: Iterable[PhaseTiming],
    expectation: Mapping[str, Any],
    element_checks: str | None,
    tools: Mapping[str, str],
    started: datetime,
) -> dict[str, Any]:
    """The record of one image, as it is written beside it. Secrets are not in it.

    :param artifacts: all that the build made, the image itself first
    :param report: how the image itself was found to be; None where nobody looked
    :param proof: how its boot test ended; None where there was none
    :param remote: the inputs that the plan could not know
    :param resumed_from: the stage that the build started with; None where it made everything
    :param element_checks: digest of the checks of elements that were run in the image; None where there are none
    :param timings: the last one is that of the whole build
    """
    planned = plans.as_json(plan)
    steps = list(timings)
    image = artifacts[0]
    return {
        "schema": RECORD_SCHEMA,
        "image": {**planned["image"], "types": [image.type], "output": str(image.path)},
        "artifacts": [_artifact(made) for made in artifacts],
        "built": True,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(steps[-1].seconds, 1),
        "fingerprint": fingerprint(merged(plan.inputs, remote)),
        "inputs": planned["inputs"],
        "remote_inputs": {name: value for step in STEPS for name, value in remote.get(step, {}).items()},
        "resumed_from": resumed_from,
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
        "boot": proof and _boot(proof),
        "expectation": dict(expectation),
        "element_checks": element_checks,
    }


def proved(record: Mapping[str, Any], proof: Report) -> dict[str, Any]:
    """The record of an image that was stored, and has been booted now."""
    return {**record, "boot": _boot(proof)}


def checked(record: Mapping[str, Any], findings: Sequence[Finding], element_checks: str | None) -> dict[str, Any]:
    """The record of an image that was stored, and whose elements have brought other checks since.

    :param findings: of these checks; they stand in for the older ones
    :param element_checks: the digest of these checks
    """
    new = [finding.as_json() for finding in findings]
    replaced = {finding["id"] for finding in new}
    kept = [each for each in record["validation"]["checks"] if "/" not in each["id"] and each["id"] not in replaced]
    return {
        **record,
        "validation": {**record["validation"], "checks": [*kept, *new]},
        "element_checks": element_checks,
    }


def _boot(proof: Report) -> dict[str, Any]:
    return proof.as_json() | {"image": proof.image.name}


def reused(
    stored: Mapping[str, Any], artifacts: Sequence[Artifact], built: datetime, started: datetime, seconds: float
) -> dict[str, Any]:
    """The record of an image that was stored, under the names that it has now.

    :param artifacts: all that was asked for, the image itself first
    :param built: when it was built
    :param seconds: how long it took to get it from the store
    """
    image = artifacts[0]
    return {
        **stored,
        "image": {**stored["image"], "output": str(image.path)},
        "artifacts": [_artifact(made) for made in artifacts],
        "built": False,
        "reused_from": {"fingerprint": stored["fingerprint"], "built": built.isoformat(timespec="seconds")},
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "validation": stored["validation"] and {**stored["validation"], "image": image.path.name},
    }


def first(image: Artifact, artifacts: Iterable[Artifact]) -> list[Artifact]:
    """All artifacts of a build, the one that a record is about first."""
    return [image, *(other for other in artifacts if other is not image)]


def _artifact(made: Artifact) -> dict[str, Any]:
    return {"type": made.type, "path": made.path.name, "sha256": made.sha256, "bytes": made.bytes}


def artifact_of(record: Mapping[str, Any], path: Path) -> Artifact:
    """The image of a record, where it is now."""
    made = record["artifacts"][0]
    return Artifact(made["type"], path, made["sha256"], made["bytes"])


def built(record: Mapping[str, Any]) -> str | None:
    """When the content of an image was made (RFC 3339), whenever it was taken from the store."""
    moment = (record.get("reused_from") or {}).get("built") or record.get("started")
    return str(moment) if moment else None


def of_image(image: Path) -> tuple[dict[str, Any], Artifact]:
    """The record beside an image, and the image as it says; that they are of each other, :func:`compare` says.

    :raises InputError: there is no such image, no record, one that says too little, or it is of another size
    """
    path = path_for(image)
    try:
        size = image.stat().st_size
        data = read(path)
        made = artifact_of(data, image)
        _require_shape(data, made)
    except FileNotFoundError:
        there = image.exists()
        what = f"there is no record {path.name} beside it" if there else "there is no such image"
        hint = "name what 'build' has made, together with its record"
        raise InputError([Problem(what, str(image), hint)]) from None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = "name an image that 'build' has made, together with its record"
        raise InputError([Problem(f"the record {path.name} cannot be used: {reason}", str(image), hint)]) from None
    if made.bytes != size:
        raise _not_of_each_other(image)
    return data, made


def compare(made: Artifact) -> None:
    """Compare an image with the digest in its record.

    :raises InputError: it is another one
    :raises OSError: it cannot be read
    """
    if digests.sha256(made.path) != made.sha256.removeprefix("sha256:"):
        raise _not_of_each_other(made.path)


def _require_shape(data: Mapping[str, Any], made: Artifact) -> None:
    """What all who read a record rely on; the JSON Schema says more.

    :raises ValueError: names what is not as it should be
    """
    image = data.get("image")
    said = {
        "artifacts[0].type": made.type,
        "artifacts[0].sha256": made.sha256,
        "image.arch": image.get("arch") if isinstance(image, Mapping) else None,
        "started": data.get("started"),
        "fingerprint": data.get("fingerprint"),
    }
    for name, value in said.items():
        if not isinstance(value, str):
            raise ValueError(f"{name} is {value!r}")


def _not_of_each_other(image: Path) -> InputError:
    hint = "the image was changed after it was built: build it again"
    return InputError([Problem("it is not the image that its record is of", str(image), hint)])


def read(path: Path) -> dict[str, Any]:
    """A record that :func:`write` wrote."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record to a file."""
    path.write_text(_text(record), encoding="utf-8")


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, sort_keys=False) + "\n"


def texts_beside(artifact: Artifact, record: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """What lies beside the artifact X: ``X.json``, and ``X.sha256`` of one that is a file (and not in a daemon)."""
    texts = [(path_for(artifact.path), _text(record))]
    if artifact.type != "docker":
        digest = f"{artifact.sha256}  {artifact.path.name}\n"
        texts.append((artifact.path.with_name(f"{artifact.path.name}.sha256"), digest))
    return texts
