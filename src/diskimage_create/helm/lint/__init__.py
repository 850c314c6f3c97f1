"""``images lint``: what is wrong with the images that charts, values, TripleO's files and lists name."""

from __future__ import annotations

from diskimage_create.findings import Severity

# These fill RULES.
from diskimage_create.helm.lint import charts, names
from diskimage_create.helm.lint.model import RULES, Context, Finding, Rule

__all__ = ["RULES", "Context", "Finding", "Rule", "Severity", "check"]
_MODULES = (names, charts)


def check(context: Context) -> list[Finding]:
    """What breaks the rules, sorted by file and line."""
    found = [Finding(rule, broken) for rule in RULES.values() for broken in rule.check(context)]
    return sorted(dict.fromkeys(found), key=lambda each: each.sort_key)
