"""The documentation of the checks, written from what they say of themselves: ``docs/checks/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diskimage_create.validate.registry import Check
from diskimage_create.validate.selection import explanation

INDEX = "README.md"
_INDEX = """\
# The checks of `validate`

Written by `scripts/update-check-pages` from the checks' own explanations: change those.
[validation.md](../validation.md) says how to call it; `diskimage-create validate --list` shows the same list.

A check of severity *error* rejects the image (exit code 5); one of severity *warning* asks someone to look.
Checks of elements run when the image holds the element, those that need `--deep` when all content is to be read.

| check | says | severity | of |
|---|---|---|---|
"""


def pages(checks: Sequence[Check]) -> Mapping[str, str]:
    """File name below ``docs/checks`` -> its text."""
    rows = "".join(
        f"| [`{each.id}`]({each.id}.md) | {each.title} | {each.severity} | {_of(each)} |\n" for each in checks
    )
    return {INDEX: _INDEX + rows, **{f"{each.id}.md": _page(each) for each in checks}}


def _page(check: Check) -> str:
    text = explanation(check).replace("``", "`")
    return (
        f"# `{check.id}`\n\n**{check.title}.**\n\n{text}\n\n"
        f"Severity: {check.severity}. Applies to: {_of(check)}.\n\n"
        f"    diskimage-create validate IMAGE --only {check.id}{' --deep' if check.deep else ''}\n\n"
        f"[All checks]({INDEX})\n"
    )


def _of(check: Check) -> str:
    whose = (
        f"images with {' or '.join(f'`{name}`' for name in sorted(check.elements))}"
        if check.elements
        else "every image"
    )
    return f"{whose}, with `--deep`" if check.deep else whose
