"""Small real elements, written into a directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diskimage_create import catalogue
from diskimage_create.catalogue import Catalogue
from diskimage_create.places import Place

HOOK = "#!/bin/bash\nset -eu\n"

#: What an element under test may depend on
NEIGHBOURS = {
    "base/README.rst": "",
    "vm/element-provides": "operating-system\n",
    "tool/install.d/50-tool": HOOK,
    "tool/bin/helper": HOOK,
    "tool/static/etc/tool.conf": "theirs\n",
    "tool/source-repository-tool": "theirs\n",
    "other-tool/install.d/50-tool": HOOK,
    "both-tools/element-deps": "tool\nother-tool\n",
}


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Files by ``element/path``. What begins with ``#!`` is executable; but not if the name ends with ``!``, and
    everything that ends with ``+``."""
    for name, text in files.items():
        path = root / name.rstrip("!+")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if name.endswith("+") or (text.startswith("#!") and not name.endswith("!")):
            path.chmod(0o755)
    return root


def read(*roots: Path) -> Catalogue:
    """The catalogue of directories that the user names, the first winning."""
    return catalogue.read(Place(root, "--path") for root in roots)
