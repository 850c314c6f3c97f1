"""What each check looks at, and why: its own words for offline checks, a file's for those of a running machine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from diskimage_create.validate import CHECKS, selection

#: Checks of every machine that boots; the others are an amphora's
_MACHINE = ("boot", "login-prompt", "units", "kernel-messages")


@cache
def of_boot() -> Mapping[str, str]:
    """Check of the boot test -> what it looks at, and why."""
    import yaml

    from diskimage_create import boot

    text = Path(boot.__file__).with_name("explanations.yaml").read_text(encoding="utf-8")
    found: dict[str, str] = yaml.safe_load(text)
    return found


def explanation(id: str) -> str:
    """What a check looks at, and why; empty for one that is not ours."""
    if id in of_boot():
        return of_boot()[id]
    found = next((check for check in CHECKS if check.id == id), None)
    return selection.explanation(found).replace("``", "") if found else ""


def group_of(id: str) -> str:
    """The group that a check is in: the subject that it has in common with others."""
    if id in of_boot():
        return "machine" if id in _MACHINE else "amphora"
    found = next((check for check in CHECKS if check.id == id), None)
    if found is not None:
        return found.run.__module__.rpartition(".")[2]
    return id.partition("/")[0] if "/" in id else "image"
