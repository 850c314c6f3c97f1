"""Templates of charts: they are no YAML before Helm has filled them in, so that they are scanned line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from diskimage_create.helm import placeholders
from diskimage_create.helm.documents import used
from diskimage_create.helm.model import Kind, Template, Used
from diskimage_create.references import InvalidReference, parse

_COMMENT = re.compile(r"\{\{-?\s*/\*.*?\*/\s*-?\}\}", re.DOTALL)
_YAML_COMMENT = re.compile(r"^[ \t]*#.*", re.MULTILINE)
_IMAGE = re.compile(r"""^[ \t]*(?:-[ \t]+)?["']?image["']?[ \t]*:[ \t]+(?P<value>\S.*?)[ \t\r]*$""", re.MULTILINE)
_EXPRESSION = re.compile(r"\{\{.*?\}\}")
_QUOTED = re.compile(r'"([^"\\]+)"')
_END_OF_LINE_COMMENT = re.compile(r"\s+#.*")
#: Scripts and configuration of services, which run no containers
_NO_MANIFESTS = ("bin", "etc")


def read(path: Path, text: str, below: tuple[str, ...] = ()) -> Template:
    """A template.

    :param text: its content
    :param below: the directories between ``templates`` and the file
    """
    text = _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    code = _YAML_COMMENT.sub("", text)
    partial = path.name.startswith("_") or path.suffix == ".tpl" or any(each in _NO_MANIFESTS for each in below)
    return Template(path, partial, code)


def images(template: Template, chart: str | None) -> Iterator[Used]:
    """The images that are written into a template, wholly or in part, and so cannot be overridden."""
    for match in _IMAGE.finditer(template.code):
        text = _literal(match["value"], partial=template.partial)
        if text:
            line = template.code.count("\n", 0, match.start("value")) + 1
            yield used(text, template.path, line, Kind.TEMPLATE, "image", chart)


def _literal(value: str, *, partial: bool) -> str | None:
    """What an ``image:`` of a template says literally; None: it is all made of values.

    :param partial: the file may be anything that has such a line: only what is surely a reference counts
    """
    value = _END_OF_LINE_COMMENT.sub("", value)
    expressions = "".join(_EXPRESSION.findall(value))
    rest = _EXPRESSION.sub("", value).strip("\"' ")
    if not rest:
        return next((text for text in _QUOTED.findall(expressions) if _is_full(text)), None)
    text = value.strip("\"'")
    if expressions:  # a name, or a tag: not only the marks between expressions
        return text if re.search(r"[a-z0-9]", rest) and placeholders.stand_in(text) else None
    return text if _is_full(text) or (not partial and _is_one(text)) else None


def _is_full(text: str) -> bool:
    """Whether a text has a registry and a tag or a digest, so that it can be nothing but a reference."""
    reference = placeholders.stand_in(text)
    return bool(reference and reference.registry and (reference.tag or reference.digest))


def _is_one(text: str) -> bool:
    try:
        parse(text)
    except InvalidReference:
        return False
    return not text.isdigit() and text not in ("true", "false", "null")
