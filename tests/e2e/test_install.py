"""A wheel, installed elsewhere, has all that it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_wheel_finds_its_elements_and_profiles(tmp_path: Path) -> None:
    # From a copy: a build leaves traces in its source directory.
    source = tmp_path / "source"
    run("git", "clone", "--quiet", ROOT, source, cwd=tmp_path)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=tmp_path)
    planned = json.loads(
        run(tmp_path / "venv/bin/diskimage-create", "plan", "-i", "debian", "--format", "json", cwd=tmp_path)
    )
    resolved = {element["name"]: Path(element["path"]) for element in planned["resolved_elements"]}
    assert resolved["debian-minimal"].is_relative_to(tmp_path / "venv")
    hook = resolved["debian-minimal"] / "root.d/75-debian-minimal-baseinstall"
    assert os.access(hook, os.X_OK)
    shipped = [path.relative_to(ROOT / "elements") for path in (ROOT / "elements").rglob("*") if path.is_file()]
    missing = [path for path in shipped if not (resolved["debian-minimal"].parent / path).exists()]
    assert missing == []
