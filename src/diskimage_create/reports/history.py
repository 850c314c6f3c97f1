"""What the record of an image says of its build, as far as it can be understood: anybody may have written it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from diskimage_create.model import PhaseTiming

_TOOLS = ("diskimage-create", "diskimage-builder")


@dataclass(frozen=True)
class History:
    """How an image came to be; empty where nothing is known."""

    profile: str = ""
    arch: str = ""
    os: str = ""
    release: str = ""
    started: str = ""
    """ISO 8601"""
    sha256: str = ""
    fingerprint: str = ""
    tools: str = ""
    """Names and versions"""
    timings: tuple[PhaseTiming, ...] = ()
    """The last one is that of the whole build"""


#: Of an image without a record
UNKNOWN = History()


def history(record: Any) -> History:
    """What is known of a build.

    :param record: of the image; None where there is none
    """
    whole = _mapping(record)
    image, tools = _mapping(whole.get("image")), _mapping(whole.get("tools"))
    artifacts = whole.get("artifacts")
    artifact = _mapping(artifacts[0]) if isinstance(artifacts, list) and artifacts else {}
    return History(
        **{name: _text(image.get(name)) for name in ("profile", "arch", "os", "release")},
        started=_text(whole.get("started")),
        sha256=_text(artifact.get("sha256")),
        fingerprint=_text(whole.get("fingerprint")),
        tools=", ".join(f"{name} {_text(tools[name])}" for name in _TOOLS if name in tools),
        timings=_timings(whole.get("timings")),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _timings(value: Any) -> tuple[PhaseTiming, ...]:
    """All of them, or none."""
    found = []
    for each in map(_mapping, value if isinstance(value, list) else ()):
        phase, script, seconds = (each.get(key) for key in ("phase", "script", "seconds"))
        if not isinstance(phase, str) or not isinstance(script, str) or not _is_duration(seconds):
            return ()
        found.append(PhaseTiming(phase, script, float(seconds)))
    return tuple(found)


def _is_duration(value: Any) -> TypeGuard[float]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value < 1e9
