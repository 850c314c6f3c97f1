"""What stands in a file for a word that is filled in later."""

from __future__ import annotations

import re

from diskimage_create.references import InvalidReference, Reference, parse

#: A script of OpenStack-Helm's gates fills these in: ``%%%REPLACE_API_ADDR%%%``
_PLACEHOLDER = re.compile(r"%%%(\w+)%%%", re.ASCII)
#: YAML has no plain scalars that begin with a percent sign, but with this private character
_MASK = "\ue000"
_MASKED = re.compile(f"{_MASK * 3}(\\w+){_MASK * 3}", re.ASCII)
_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
#: A word that can be a repository and a tag, and a host that there is none of (RFC 6761)
_WORD = "placeholder"
_HOST = "placeholder.invalid"


def mask(text: str) -> str:
    """A text with placeholders as one that YAML can read, of the same lines."""
    return _PLACEHOLDER.sub(rf"{_MASK * 3}\1{_MASK * 3}", text)


def unmask(text: str) -> str:
    """What was written where :func:`mask` was used."""
    return _MASKED.sub(r"%%%\1%%%", text)


def has(text: str) -> bool:
    """Whether a part of a text is filled in later: a placeholder, or an expression of a template."""
    return "{{" in text or _PLACEHOLDER.search(text) is not None


def stand_in(text: str) -> Reference | None:
    """A reference that has words of ours where placeholders are, to look at the other parts; None: it cannot be one."""
    first, slash, rest = text.partition("/")
    if slash and has(first):
        text = f"{_fill(first, _HOST)}/{rest}"
    try:
        return parse(_fill(text, _WORD))
    except InvalidReference:
        return None


def _fill(text: str, word: str) -> str:
    return _EXPRESSION.sub(word, _PLACEHOLDER.sub(word, text))
