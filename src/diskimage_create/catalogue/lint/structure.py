"""Rules about what an element consists of."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from diskimage_create.catalogue import Entry, facts, phases
from diskimage_create.catalogue.lint.content import Content
from diskimage_create.catalogue.lint.model import Context, Found, Severity, rule

_DEPS = "element-deps"
#: What stands before a directory of the hooks where a script reads it: a variable, ``..``, where hooks are mounted, or
#: nothing. Behind a name, as in ``/etc/modprobe.d``, it is a directory of the image.
_BEFORE = r"(?:in_target\.d/|\.\./|[)}\"'*`]/|\$\w+/|(?<![\w./-]))"


@rule("EL101", "no README", Severity.WARNING)
def no_readme(_entry: Entry, content: Content, _context: Context) -> Iterator[Found]:
    """Nothing says what the element is for, which variables it reads and what it leaves in an image.

    Write a `README.rst` (or `README.md`). Its first sentence is what `elements list` shows.
    """
    if facts.readme(content.directory) is None:
        yield Found("there is no README")


@rule("EL102", "dependency on itself, or twice", Severity.WARNING)
def repeated_dependency(entry: Entry, content: Content, _context: Context) -> Iterator[Found]:
    """A line of `element-deps` names the element itself, or what another line names already.

    diskimage-builder ignores such a line; most often another name was meant.
    """
    seen: dict[str, int] = {}
    for number, name in _dependencies(content):
        if name == entry.name:
            yield Found(f"{name} depends on itself", _DEPS, number)
        elif name in seen:
            yield Found(f"{name} stands in line {seen[name]} already", _DEPS, number)
        seen.setdefault(name, number)


@rule("EL103", "dependency that does not exist", Severity.ERROR)
def missing_dependency(entry: Entry, content: Content, context: Context) -> Iterator[Found]:
    """There is no element of a name in `element-deps`, and none that provides it: no image with the element builds.

    Correct the name, or install the package that has it (`elements list` shows where elements are looked for).
    Every line is a name to diskimage-builder: comments are not possible in this file.
    """
    catalogue = context.catalogue
    for number, name in _dependencies(content):
        if name in catalogue.used or catalogue.providers(name):
            continue
        if name.startswith("#"):
            yield Found("a comment is taken for the name of an element", _DEPS, number)
            continue
        close = difflib.get_close_matches(name, catalogue.used.keys() - {entry.name}, n=1)
        yield Found(f"there is no element {name}{f': did you mean {close[0]}?' if close else ''}", _DEPS, number)


@rule("EL104", "unknown phase", Severity.ERROR)
def unknown_phase(_entry: Entry, content: Content, context: Context) -> Iterator[Found]:
    """A directory is named like a phase, but diskimage-builder has none of this name, so that nothing in it ever runs.

    The phases are, in this order: `root.d`, `extra-data.d`, `pre-install.d`, `install.d`, `post-install.d`,
    `post-root.d`, `block-device.d`, `pre-finalise.d`, `finalise.d` and `cleanup.d`; `environment.d` is sourced before
    each of them. A directory of another name is fine when a script of any element reads it.
    """
    known = {f"{phase}.d" for phase in (phases.ENVIRONMENT, *phases.PHASES)}
    for directory in content.top_directories:
        if not directory.endswith(".d") or directory in known:
            continue
        named = re.compile(rf"{_BEFORE}{re.escape(directory)}(?![\w.-])")
        if not any(directory in text and named.search(text) for text in context.scripts):
            close = difflib.get_close_matches(directory, known, n=1)
            guess = f": did you mean {close[0]}?" if close else ", and no script reads it"
            yield Found(f"there is no phase {directory.removesuffix('.d')}{guess}", directory)


def _dependencies(content: Content) -> Iterator[tuple[int, str]]:
    if file := content.files.get(_DEPS):
        for number, line in enumerate(file.lines, 1):
            if line.strip():
                yield number, line.strip()
