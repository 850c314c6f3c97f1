"""What became of an image at its destinations, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from diskimage_create.publish.model import Receipt
from diskimage_create.publish.source import Source


def as_json(source: Source, receipts: Sequence[Receipt]) -> str:
    """``schemas/publish.schema.json``."""
    said = {
        "schema": 1,
        "image": str(source.path),
        "sha256": source.sha256,
        "receipts": [receipt.as_json() for receipt in receipts],
    }
    return json.dumps(said, indent=1)


def as_text(receipts: Sequence[Receipt]) -> str:
    """A line for each destination: what to fetch the image by, and what was done besides."""
    rows = [(receipt.destination, str(receipt.status), _outcome(receipt)) for receipt in receipts]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip() for row in rows)


def _outcome(receipt: Receipt) -> str:
    fetch = receipt.reference or receipt.digest
    return f"{fetch} ({receipt.message})" if fetch and receipt.message else fetch or receipt.message
