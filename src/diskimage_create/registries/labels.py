"""Tags that are made of an image's labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from diskimage_create.errors import Problem
from diskimage_create.references import is_tag

_LABEL = re.compile(r"\{([^{}]+)\}")


class NoSuchTag(ValueError):
    """An image's labels make no tag; the message says why."""


class NoSuchLabel(NoSuchTag):
    """An image has not the labels that were asked for."""


def problems(template: str, where: str) -> Iterator[Problem]:
    """What is wrong with a template, whatever the labels are.

    :param where: what holds it
    """
    if re.search(r"[{}]", _LABEL.sub("", template)) or not template:
        hint = "name a label, or put labels in braces: {version}-{release}"
        yield Problem(f"{template!r} is no template of labels", where, hint)
    elif "{" in template and not is_tag(_LABEL.sub("x", template)):
        yield Problem(f"{template!r} can make no tag", where, "a tag has letters, digits, '_', '.' and '-'")


def tag(template: str, labels: Mapping[str, str]) -> str:
    """The tag that a template makes of labels.

    :param template: the name of a label, or text with names in braces: ``{version}-{release}``
    :raises NoSuchLabel: a label is missing
    :raises NoSuchTag: the result is no tag
    """
    wanted = _LABEL.findall(template) if "{" in template else [template]
    if missing := [name for name in wanted if name not in labels]:
        raise NoSuchLabel(f"it has no label {', '.join(missing)}")
    made = _LABEL.sub(lambda match: labels[match[1]], template) if "{" in template else labels[template]
    if not is_tag(made):
        raise NoSuchTag(f"its labels make {made!r}, which cannot be a tag")
    return made
