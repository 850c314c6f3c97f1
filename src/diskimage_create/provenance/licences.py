"""What packages say of their licences, as SPDX expressions.

Debian's machine-readable copyright files (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/) have
names of their own for licences; those that have an SPDX identifier get it, and every other one a ``LicenseRef-`` that
says what it is called there: nothing is guessed. Files are read leniently, because many are not quite of that format.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

#: Where a licence has no SPDX identifier
REFERENCE = "LicenseRef-"

#: Names, in lower case, whose SPDX identifier is another
_NAMES: Mapping[str, str] = {
    "apache 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "artistic-2": "Artistic-2.0",
    "boost-1.0": "BSL-1.0",
    "bsd-2-clauses": "BSD-2-Clause",
    "bsd-3-clauses": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "cc0": "CC0-1.0",
    "expat": "MIT",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "mpl 2.0": "MPL-2.0",
    "perl": "(Artistic-1.0-Perl OR GPL-1.0-or-later)",
    "psf": "PSF-2.0",
    "psf-2": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "zlib": "Zlib",
}
#: "GPL-2", "LGPL-2.1+", "GFDL-NIV-1.3+": versions without a minor number, and a plus for later ones
_GNU = re.compile(r"(a?gpl|lgpl|gfdl(?:-niv)?|fdl)-?v?([0-9])(?:\.([0-9]))?(\+|-only|-or-later)?", re.IGNORECASE)
_OPERATORS = re.compile(r"\s*,?\s+(and|or)\s+|\s*,\s*", re.IGNORECASE)
_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
#: One pair of parentheses around all
_GROUP = re.compile(r"\([^()]*\)")
#: Text in the place of a name
_LONGEST_NAME = 100

_PARAGRAPHS = re.compile(r"\n[ \t]*\n")
_LICENCE = re.compile(r"^License:[ \t]*([^\n]*)", re.MULTILINE | re.IGNORECASE)
_OF_FILES = re.compile(r"^(Files|Format|Format-Specification):", re.MULTILINE | re.IGNORECASE)


class Licences:
    """Makes expressions, and remembers what the references in them stand for."""

    def __init__(self, origin: str) -> None:
        """:param origin: whose names these are, as a part of references: ``debian``, ``rpm``, ``pypi``"""
        self._origin = origin
        self.references: dict[str, str] = {}

    def of_copyright(self, text: str) -> str:
        """The licences of a Debian package by its copyright file; empty where it names none that can be read.

        It is all of them: a package is distributed under the licences of all its files.
        """
        if not re.match(r"\s*Format", text, re.IGNORECASE):
            return ""
        paragraphs = [paragraph for paragraph in _PARAGRAPHS.split(text) if _OF_FILES.search(paragraph)]
        names = [match[1].strip() for paragraph in paragraphs if (match := _LICENCE.search(paragraph))]
        return conjunction(self.of_debian(name) for name in names if name)

    def of_debian(self, synopsis: str) -> str:
        """The expression for a ``License`` field's first line: names with *and*, *or*, and commas.

        A comma before *and* or *or* separates what the words without one hold together.
        """
        if len(synopsis) > _LONGEST_NAME * 4:
            return ""
        outer = re.split(r",\s+(and|or)\s+", synopsis, flags=re.IGNORECASE)
        parts = [self._in_words(part) for part in outer[::2]]
        return _joined(parts, [operator.upper() for operator in outer[1::2]])

    def of_expression(self, text: str) -> str:
        """The expression for a field that should be one already, and is often a name only."""
        text = text.strip()
        if not text or "\n" in text or len(text) > _LONGEST_NAME:
            return ""
        return self._noted(_canonical(text)) or self._named(text)

    def _in_words(self, text: str) -> str:
        words = _OPERATORS.split(text)
        operators = [(operator or "and").upper() for operator in words[1::2]]
        return _joined([self._named(word) for word in words[::2]], operators)

    def _noted(self, expression: str) -> str:
        """The same expression; the references that it has already are remembered."""
        for reference in _REFERENCE.findall(expression):
            self.references.setdefault(reference, reference.removeprefix(REFERENCE))
        return expression

    def _named(self, name: str) -> str:
        name = " ".join(name.split())
        if not name:
            return ""
        if known := self._noted(_identifier(name)):
            return known
        spelled = re.sub(r"[^A-Za-z0-9.]+", "-", name.replace("+", "-or-later ")).strip("-") or "unnamed"
        reference = f"{REFERENCE}{self._origin}-{spelled}"
        if self.references.get(reference, name) != name:  # two names that differ in what no reference may hold
            reference += f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        self.references[reference] = name
        return reference


def conjunction(expressions: Iterable[str]) -> str:
    """All of these expressions at once, each of them once; in the order of their names, empty ones left out."""
    parts = sorted({part for expression in expressions if expression for part in _factors(expression)})
    return " AND ".join(f"({part})" if " OR " in part and len(parts) > 1 else part for part in parts)


def _factors(expression: str) -> list[str]:
    """What an expression joins with AND, where it has no parentheses and no OR."""
    if " OR " in expression or "(" in expression:
        return [expression[1:-1] if _GROUP.fullmatch(expression) else expression]
    return expression.split(" AND ")


def _joined(parts: list[str], operators: list[str]) -> str:
    """Parts with operators between them: AND binds closer than OR, as it does in SPDX and in Debian's format."""
    expression = ""
    for part, operator in zip(parts, ["", *operators], strict=True):
        if not part:
            continue
        inner = f"({part})" if (" AND " in part or " OR " in part) and not _GROUP.fullmatch(part) else part
        expression = f"{expression} {operator} {inner}" if expression else part if len(parts) == 1 else inner
    return expression


@lru_cache(maxsize=2048)
def _identifier(name: str) -> str:
    """The SPDX identifier of a licence; empty where there is none."""
    if known := _NAMES.get(name.lower()):
        return known
    if match := _GNU.fullmatch(name):
        kind = match[1].upper().replace("FDL", "GFDL").replace("GGFDL", "GFDL")
        invariants = "-no-invariants" if kind.endswith("-NIV") else ""
        version = f"{match[2]}.{match[3] or 0}"
        later = "or-later" if match[4] in ("+", "-or-later") else "only"
        return _canonical(f"{kind.removesuffix('-NIV')}-{version}{invariants}-{later}")
    return _canonical(name)


@lru_cache(maxsize=2048)
def _canonical(expression: str) -> str:
    """An SPDX expression in its canonical spelling; empty where the text is none."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(expression))
    except InvalidLicenseExpression:
        return ""
