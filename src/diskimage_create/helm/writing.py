"""Files that are written for Helm, TripleO and skopeo: always the same bytes for the same content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_yaml(data: Mapping[str, Any], head: str) -> str:
    """YAML in block style below a comment; mappings in the order of their keys, but the top level in its own.

    :param head: the comment
    """
    import yaml  # slow to import

    parts = [
        yaml.safe_dump({key: value}, default_flow_style=False, allow_unicode=True, width=2**30)
        for key, value in data.items()
    ]
    return f"{head}\n{''.join(parts) or '{}' + chr(10)}"
