"""What became of a deployment's images, for other programs and for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from diskimage_create.containers.model import PreparedImage
from diskimage_create.containers.prepare import DRY_RUN
from diskimage_create.registries.copying import Copied


def as_json(images: Sequence[PreparedImage], outcomes: Sequence[Copied], notes: Sequence[str]) -> dict[str, Any]:
    """The report, as ``container-images.schema.json`` has it."""
    return {
        "schema": 1,
        "images": [_image(image, outcome) for image, outcome in zip(images, outcomes, strict=True)],
        "notes": list(notes),
    }


def _image(image: PreparedImage, outcome: Copied) -> dict[str, Any]:
    return {
        "name": image.name,
        "parameters": list(image.parameters),
        "source": str(image.source),
        "destination": str(image.destination),
        "modified": image.modification is not None,
        "status": str(outcome.status),
        "why": outcome.why,
        "digest": outcome.digest,
        "size": outcome.size,
        "seconds": round(outcome.seconds, 3),
    }


def summary(outcomes: Sequence[Copied]) -> str:
    """One line: how many images, and what became of them."""
    once = {outcome.copy.destination: _what_became(outcome) for outcome in outcomes}
    counts = Counter(once.values())
    parts = ", ".join(f"{counts[status]} {word}" for status, word in _WORDS.items() if counts[status])
    return f"{len(once)} {'image' if len(once) == 1 else 'images'}{': ' if parts else ''}{parts}"


_WORDS = {
    "copied": "brought",
    "present": "there already",
    "skipped": "left in place",
    "failed": "failed",
    DRY_RUN: "not brought: it is a dry run",
}


def _what_became(outcome: Copied) -> str:
    return DRY_RUN if outcome.why == DRY_RUN else str(outcome.status)
