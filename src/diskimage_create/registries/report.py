"""What became of each image, as JSON for programs (``schemas/copies.schema.json``) and as a summary for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from diskimage_create.registries.copying import Copied, Status


def as_json(results: Sequence[Copied]) -> str:
    """What ``--report FILE`` writes."""
    images = [
        {
            "source": str(result.copy.source),
            "destination": str(result.copy.destination),
            "status": result.status.value,
            "digest": result.digest,
            "size": result.size,
            "seconds": round(result.seconds, 3),
            "attempts": result.attempts,
            "why": result.why,
        }
        for result in results
    ]
    return json.dumps({"schema": 1, "ok": _ok(results), "images": images}, indent=1) + "\n"


def summary(results: Sequence[Copied]) -> list[str]:
    """A line for each image that failed or was skipped, and one that counts all."""
    named = [result for result in results if result.status in (Status.FAILED, Status.SKIPPED)]
    counts = Counter(result.status for result in results)
    counted = ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status])
    return [f"{result.copy}: {result.in_words}" for result in named] + [f"images: {counted or 'none'}"]


def _ok(results: Sequence[Copied]) -> bool:
    return all(result.status is not Status.FAILED for result in results)
