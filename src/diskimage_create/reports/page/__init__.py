"""Reports as one page that needs nothing else: no server, no network, and for all but the map no JavaScript.

Everything that comes from an image is escaped by the template, and what the map is drawn of is JSON in a block that no
browser runs. The page's own policy (Content-Security-Policy) allows exactly its own style and script, by their digests.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diskimage_create.reports.explanations import explanation
from diskimage_create.reports.page import charts
from diskimage_create.reports.page.facts import facts
from diskimage_create.reports.page.sizes import share, size
from diskimage_create.reports.subject import Subject, counts, summary, verdict, written_out

if TYPE_CHECKING:
    from jinja2 import Template

_HERE = Path(__file__).parent
#: Status -> its heading, and whether its checks are to be seen at once
_GROUPS: Mapping[str, tuple[str, bool]] = {
    "fail": ("Failed", True),
    "warn": ("Warnings", True),
    "pass": ("Passed", True),
    "skip": ("Skipped", False),
}


def as_html(subjects: Sequence[Subject]) -> str:
    """The report as a page."""
    style, script = (_HERE.joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    shown = [_shown(number, subject) for number, subject in enumerate(subjects, 1)]
    return _template().render(
        title=", ".join(each["name"] for each in shown),
        subjects=shown,
        style=style,
        script=script,
        policy=_policy(style, script),
        version=version("diskimage-create"),
    )


def embedded(data: object) -> str:
    """JSON that can stand in a script block: nothing in it ends the block, or begins markup."""
    text = json.dumps(data, separators=(",", ":"))  # all but ASCII is written out
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded, and nothing run but what is meant to be (CSP Level 3)."""
    digests = {"style-src": style, "script-src": script}
    allowed = "; ".join(f"{name} 'sha256-{_digest(text)}'" for name, text in digests.items())
    return f"default-src 'none'; {allowed}; img-src data:; base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    loader = FileSystemLoader(_HERE)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["size"] = size
    # Our own files, and JSON that was made harmless: the only texts that are not escaped.
    environment.filters["ours"] = Markup
    environment.filters["embedded"] = lambda data: Markup(embedded(data))  # noqa: S704
    return environment.get_template("page.html")


def _shown(number: int, subject: Subject) -> dict[str, Any]:
    """All that the template says of an image, as it is to be read."""
    return {
        "id": f"image{number}",
        "name": written_out(subject.image.name),
        "verdict": verdict(subject),
        "summary": summary(subject),
        "failure": subject.failure and written_out(subject.failure, newlines=True),
        "counts": counts(subject.checks),
        "console": [written_out(line) for line in subject.console],
        "facts": facts(subject),
        "groups": _groups(subject),
        "boot": charts.boot(subject.boot) if subject.boot else None,
        "build": charts.build(subject.history.timings) if subject.history.timings else None,
        "content": _content(subject),
    }


def _groups(subject: Subject) -> list[dict[str, Any]]:
    checks = [
        _check(f"{where}{number}", check, where)
        for where, document in (("offline", subject.validation), ("boot", subject.boot))
        for number, check in enumerate((document or {}).get("checks", ()), 1)
    ]
    groups = []
    for status, (heading, is_open) in _GROUPS.items():
        if of_status := [check for check in checks if check["status"] == status]:
            groups.append({"status": status, "heading": heading, "open": is_open, "checks": of_status})
    return groups


def _check(anchor: str, check: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {
        "anchor": anchor,
        "id": written_out(check["id"]),
        "title": written_out(check["title"]),
        "status": check["status"],
        "message": written_out(check["message"]),
        "seconds": check["seconds"],
        "severity": check.get("severity", "error"),
        "explanation": [text for text in explanation(check["id"]).split("\n\n") if text],
        "where": where,
    }


def _content(subject: Subject) -> dict[str, Any] | None:
    content = subject.content
    if content is None:
        return None
    total = content.tree[0].bytes if content.tree else 0
    packages = [
        {
            "name": written_out(each.name),
            "version": written_out(each.version),
            "architecture": written_out(each.architecture),
            "bytes": each.bytes,
        }
        for each in content.packages
    ]
    return {
        "total": total,
        "files": content.tree[0].files if content.tree else 0,
        "packages": packages,
        "package_bytes": sum(each.bytes or 0 for each in content.packages),
        "directories": charts.directories(content.tree),
        "largest": [
            {"name": written_out(each.name), "bytes": each.bytes, "share": share(each.bytes, total)}
            for each in content.largest
        ],
        # Only the map reads this, and it knows what the columns are.
        "map": [
            [
                written_out(node.name),
                node.parent,
                node.bytes,
                node.files,
                ("directory", "file", "rest").index(node.kind),
            ]
            for node in content.tree
        ],
    }
