"""Images compared by root for a user who is not.

sudo python -m diskimage_create.diff.as_root    reads a request on standard input, prints a difference
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diskimage_create import as_root
from diskimage_create.diff import compare


def _serve(request: dict[str, Any]) -> dict[str, Any]:
    return compare(Path(request["a"]), Path(request["b"]), ignore=request["ignore"]).as_json()


if __name__ == "__main__":
    as_root.answer(_serve)
