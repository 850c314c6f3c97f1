"""Unit tests need no privilege, and start no program that they did not announce."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def no_subprocess(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every subprocess, unless the test is marked ``subprocess("why")``."""
    if request.node.get_closest_marker("subprocess"):
        return

    def refuse(self: Any, args: Any, *_: Any, **__: Any) -> None:
        pytest.fail(f"an unannounced subprocess: {args}")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
