"""A user who is not root has an image checked through sudo, with the same result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from diskimage_create import process
from diskimage_create.model import Expectation
from diskimage_create.validate import How, validate

ImageMaker = Callable[..., Path]


def test_what_an_image_holds_comes_through_sudo(make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    if process.which("sudo") is None:
        pytest.skip("sudo is not installed")
    image = make_image("qcow2")
    by_root = validate(image, how=How(content=True)).content
    monkeypatch.setattr(process, "is_root", lambda: False)
    by_user = validate(image, how=How(content=True)).content
    assert by_root == by_user
    assert by_root is not None
    assert {"usr", "opt", "boot"} <= {node.name for node in by_root.tree}
    assert ("haproxy", "1") in {(each.name, each.version) for each in by_root.packages}


def test_checks_through_sudo_find_the_same(
    make_image: ImageMaker, tree: Path, expectation: Expectation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if process.which("sudo") is None:
        pytest.skip("sudo is not installed")
    (tree / "etc/note").write_text("the canary-5c1b is in here\n")
    image = make_image("qcow2")
    # Where images lie may lie anything.
    (tmp_path / "json.py").write_text("raise SystemExit('not to be run by root')\n")
    monkeypatch.chdir(tmp_path)
    wanted = replace(expectation, secrets={"canary": "canary-5c1b"})
    by_root = validate(image, wanted, How(deep=True))
    monkeypatch.setattr(process, "is_root", lambda: False)
    by_user = validate(image, wanted, How(deep=True))
    assert [(f.id, f.status, f.message) for f in by_user.findings] == [
        (f.id, f.status, f.message) for f in by_root.findings
    ]
    assert not by_user.ok
    assert "canary is in /etc/note" in [finding.message for finding in by_user.findings]
