"""The documentation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from diskimage_create.cli import COMMANDS
from diskimage_create.validate import CHECKS
from diskimage_create.validate.pages import pages

ROOT = Path(__file__).parents[2]


def test_every_check_is_documented() -> None:
    written = {path.name: path.read_text() for path in (ROOT / "docs/checks").iterdir()}
    assert written == pages(CHECKS), "run scripts/update-check-pages"


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
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            if not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []
