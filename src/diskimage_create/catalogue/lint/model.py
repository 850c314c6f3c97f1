"""Rules, and what they find."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from diskimage_create import elements, findings
from diskimage_create.catalogue import Catalogue, Entry
from diskimage_create.catalogue.lint.content import Content
from diskimage_create.findings import Severity

__all__ = ["RULES", "Context", "Found", "Image", "Remark", "Rule", "Severity", "Violation", "rule"]


@dataclass(frozen=True)
class Found:
    """What a rule found in an element, or in an image."""

    message: str
    path: str = ""
    """Relative to the element; empty: the element as a whole"""
    line: int | None = None
    """From 1; None: the file as a whole"""
    element: str = ""
    """Where an image is looked at: the element that the path belongs to"""


@dataclass(frozen=True)
class Image:
    """The elements of one image, by name: a closure."""

    title: str
    elements: tuple[str, ...]


@dataclass(frozen=True)
class Remark:
    """What shellcheck says of a line of a script."""

    line: int
    code: int
    message: str


class Context:
    """What rules may look at besides the element. Whatever is read or worked out is kept."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        #: Absolute path of a script -> what shellcheck has to say
        self.shell_remarks: Callable[[str], Iterable[Remark]] = lambda _path: ()
        self._contents: dict[str, Content] = {}
        self._closures: dict[str, tuple[str, ...]] = {}

    def content(self, name: str) -> Content:
        """The files of an element."""
        if name not in self._contents:
            self._contents[name] = Content(self.catalogue.used[name].path)
        return self._contents[name]

    def closure(self, name: str) -> tuple[str, ...]:
        """An element and all that it depends on, as far as there is such an element."""
        if name not in self._closures:
            self._closures[name] = tuple(elements.expand([name], self.catalogue.elements).present)
        return self._closures[name]

    @cached_property
    def scripts(self) -> tuple[str, ...]:
        """The text of every script of every element, and of diskimage-builder itself."""
        texts = [file.text for name in self.catalogue.used for file in self.content(name).code]
        library = elements.builtin().parent / "lib"
        texts += [path.read_text(encoding="utf-8", errors="replace") for path in library.iterdir() if path.is_file()]
        return tuple(texts)


#: Of elements, or of images
ElementCheck = Callable[[Entry, Content, Context], Iterable[Found]]
ImageCheck = Callable[[Image, Context], Iterable[Found]]


@dataclass(frozen=True)
class Rule(findings.Rule):
    """Something that elements, or images, should not be."""

    of_element: ElementCheck | None = None
    of_image: ImageCheck | None = None


#: Every rule by its id; filled by the modules that hold them
RULES: dict[str, Rule] = {}


def rule(id: str, title: str, severity: Severity, *, of_image: bool = False) -> Callable[[Any], Any]:
    """Make a rule of a function. Its docstring is the explanation."""

    def register(check: Any) -> Any:
        assert id not in RULES
        checks: Mapping[str, Any] = {"of_image": check} if of_image else {"of_element": check}
        RULES[id] = Rule(id, title, severity, inspect.cleandoc(check.__doc__), **checks)
        return check

    return register


@dataclass(frozen=True)
class Violation:
    """A finding: a rule, and where it is broken."""

    rule: Rule
    entry: Entry
    found: Found

    @property
    def where(self) -> str:
        """``file:line`` below the element; empty for the element as a whole."""
        return self.found.path + (f":{self.found.line}" if self.found.line else "")

    @property
    def sort_key(self) -> tuple[str, str, int, str, str]:
        """The order of a report."""
        return (self.entry.name, self.found.path, self.found.line or 0, self.rule.id, self.found.message)
