"""The documentation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from diskimage_create.cli import COMMANDS
from diskimage_create.validate import CHECKS

ROOT = Path(__file__).parents[2]


def test_every_check_is_documented() -> None:
    documented = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/validation.md").read_text(), re.MULTILINE)
    assert documented == [check.id for check in CHECKS]


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs/cli.md").read_text()
    assert [name for name in COMMANDS if f"| `{name}" not in text] == []


def test_every_module_has_its_place() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    source = ROOT / "src/diskimage_create"
    modules = {path.name for path in source.glob("*.py") if not path.name.startswith("__")}
    assert {name for name in modules if f"`{name}`" not in text} == set()


def test_every_link_leads_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            if not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []
