"""The record of the build that may lie beside an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diskimage_create.errors import InputError, Problem


def read_record(image: Path) -> dict[str, Any] | None:
    """The record of an image; None where it has none.

    :raises InputError: there is one that cannot be read
    """
    path = image.with_name(image.name + ".json")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError([Problem(f"the record cannot be read: {error}", where=str(path))]) from None
    return record if isinstance(record, dict) else None


def recorded_artifact(image: Path) -> dict[str, Any] | None:
    """What the record says about this very file."""
    record = read_record(image) or {}
    artifacts = record.get("artifacts") or []
    for artifact in artifacts:
        if isinstance(artifact, dict) and Path(str(artifact.get("path"))).name == image.name:
            return artifact
    return None


def recorded_digest(image: Path) -> str | None:
    """The digest in ``IMAGE.sha256``; None without such a file."""
    try:
        words = image.with_name(image.name + ".sha256").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return words[0].lower() if words else None
