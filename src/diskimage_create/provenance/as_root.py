"""Contents of an image, gathered by root for a user who is not.

sudo python -m diskimage_create.provenance.as_root    reads a request on standard input, prints the contents
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diskimage_create import as_root
from diskimage_create.provenance.contents import read_contents


def _serve(request: dict[str, Any]) -> dict[str, Any]:
    return read_contents(Path(request["image"])).as_json()


if __name__ == "__main__":
    as_root.answer(_serve)
