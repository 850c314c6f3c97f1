"""What an image was made of and how, as an in-toto Statement with SLSA's provenance predicate.

Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from diskimage_create.provenance.document import TOOL

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
#: What the parameters and digests below mean: docs/provenance.md of that package
BUILD_TYPE = f"pkg:pypi/{TOOL}#build/image/v1"

#: Made up for this purpose
_NAMESPACE = uuid.UUID("b1f7ee39-0f4d-47a4-a27b-3a0b1ea5e1b0")
_OPTION = "option:"
_SHA256 = re.compile(r"(?:(.*) )?sha256:([0-9a-f]{64})")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class File:
    """A file beside the image that the same build made."""

    name: str
    sha256: str
    """In hex"""
    media_type: str


def statement(name: str, sha256: str, record: Mapping[str, Any], byproducts: Iterable[File]) -> dict[str, Any]:
    """The provenance of an image.

    :param name: of the image's file
    :param sha256: of the image, in hex
    :raises KeyError, ValueError: the record lacks what is said here
    """
    inputs = {**record["inputs"], **record["remote_inputs"]}
    inputs = {key: str(value) for key, value in inputs.items() if not key.startswith("environment:")}
    options = {key.removeprefix(_OPTION): value for key, value in inputs.items() if key.startswith(_OPTION)}
    others = {key: value for key, value in inputs.items() if not key.startswith(_OPTION)}
    dependencies = {key: found for key, value in others.items() if (found := _dependency(key, value))}
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"options": options, "environment": dict(record["environment"])},
                "internalParameters": {
                    "command": list(record["command"]),
                    "fingerprint": record["fingerprint"],
                    "resumedFrom": record["resumed_from"],
                    "inputs": {key: value for key, value in others.items() if key not in dependencies},
                },
                "resolvedDependencies": [dependencies[key] for key in sorted(dependencies)],
            },
            "runDetails": {
                "builder": {
                    "id": f"pkg:pypi/{TOOL}@{record['tools'][TOOL]}",
                    "version": {tool: str(version) for tool, version in record["tools"].items()},
                },
                "metadata": _metadata(sha256, record),
                "byproducts": [
                    {"name": file.name, "digest": {"sha256": file.sha256}, "mediaType": file.media_type}
                    for file in byproducts
                ],
            },
        },
    }


def _dependency(name: str, value: str) -> dict[str, Any] | None:
    """An input as a resource with its digest; None where nothing but a name or a version is known of it."""
    if match := _SHA256.fullmatch(value):
        version = {"annotations": {"version": match[1]}} if match[1] else {}
        return {"name": name, "digest": {"sha256": match[2]}, **version}
    return {"name": name, "digest": {"gitCommit": value}} if _COMMIT.fullmatch(value) else None


def _metadata(sha256: str, record: Mapping[str, Any]) -> dict[str, str]:
    """When the image was built; of one that was taken from the store, when that was put there."""
    if reused := record.get("reused_from"):
        return {"invocationId": _invocation(sha256, reused["built"]), "finishedOn": _time(reused["built"])}
    finished = datetime.fromisoformat(record["started"]) + timedelta(seconds=float(record["seconds"]))
    return {
        "invocationId": _invocation(sha256, record["started"]),
        "startedOn": _time(record["started"]),
        "finishedOn": _time(finished.isoformat()),
    }


def _invocation(sha256: str, when: str) -> str:
    return f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{sha256} {when}')}"


def _time(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
