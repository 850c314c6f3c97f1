"""What can be said of an element from its files: what it is, its hooks, the variables it reads."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diskimage_create.catalogue import phases
from diskimage_create.elements import CHECKS_DIRECTORY

_READMES = ("README.rst", "README.md", "README", "README.txt")
_INSTALL_TYPE = re.compile(r"(.+)-([a-z]+)-install")
_VARIABLE = re.compile(r"\bDIB_[A-Za-z0-9_]*[A-Za-z0-9]\b")
#: Any other one counts where the README names it and a script reads it
_DOCUMENTED = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b")
#: ``${DIB_X:-value}``; what is no plain text depends on other variables
_DEFAULT = re.compile(r"\$\{([A-Za-z0-9_]+):?[-=]([^}$`]*)\}")
_UNDERLINE = re.compile(r"([=~^#*+`\"'-])\1+")
#: Every hook reads it
_TRACE = "DIB_DEBUG_TRACE"
#: What a hook is no longer than: anything else is data
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Hook:
    """A file that runs in a phase (``environment``: is sourced)."""

    phase: str
    path: str
    """Relative to the element"""
    installtype: str | None = None
    """Runs only with this DIB_INSTALLTYPE_... of ``source``, ``package``, ..."""


@dataclass(frozen=True)
class Variable:
    """A variable that an element reads, or says something of."""

    name: str
    default: str | None
    """Where a script has one"""
    files: tuple[str, ...]


@dataclass(frozen=True)
class Test:
    """A test that an element brings for images that are made of it."""

    name: str
    path: str
    """Relative to the element"""
    title: str
    """What it says of itself, in a line; empty where it says nothing"""


def readme(directory: Path) -> Path | None:
    """An element's README."""
    return next((directory / name for name in _READMES if (directory / name).is_file()), None)


def description(directory: Path) -> str:
    """What an element is: the first sentence of its README; empty without one."""
    path = readme(directory)
    if path is None:
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    first = _first_paragraph(lines) or _headings(lines)
    text = re.sub(r"`([^`<]+?)\s*<[^>]*>`_+", r"\1", " ".join(first.split()))
    text = re.sub(r"[`\\]|^[*-] ", "", text)
    # "e.g. this" ends no sentence.
    sentence = re.match(r"(.+?[^.\s]{2})\.(?=\s+[^a-z]|$)", text)
    return (sentence[1] if sentence else text).rstrip(".:")


def _first_paragraph(lines: list[str]) -> str:
    """The first lines that are neither a heading nor a directive of reStructuredText."""
    found: list[str] = []
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        heading = line.startswith("#") or _UNDERLINE.fullmatch(line.strip()) or _UNDERLINE.fullmatch(following.strip())
        if heading or not line.strip() or line.startswith((" ", "\t", "..")):
            if found and not heading and line.startswith((" ", "\t")):
                found.append(line)
                continue
            if found:
                break
            continue
        found.append(line)
    return " ".join(found)


def _headings(lines: list[str]) -> str:
    words = (line.strip("# \t") for line in lines if not _UNDERLINE.fullmatch(line.strip()))
    return next((word for word in words if word), "")


def hooks(directory: Path) -> list[Hook]:
    """The files that a build runs or sources, in the order in which it comes to them.

    Files below ``install.d/X-TYPE-install`` run when the element install-types links them for that type.
    """
    found = []
    for phase in (phases.ENVIRONMENT, *phases.PHASES):
        names = {
            name: hook
            for hook in _hooks_of_phase(directory, phase)
            if phases.is_run(phase, name := hook.path.rpartition("/")[2]) and _runs(directory / hook.path, phase)
        }
        found += [names[name] for name in phases.in_order(phase, names)]
    return found


def _hooks_of_phase(directory: Path, phase: str) -> Iterator[Hook]:
    top = directory / f"{phase}.d"
    if not top.is_dir():
        return
    for name in os.listdir(top):
        if (top / name).is_file():
            yield Hook(phase, f"{phase}.d/{name}")
        elif phase == "install" and (match := _INSTALL_TYPE.fullmatch(name)) and (top / name).is_dir():
            for file in os.listdir(top / name):
                yield Hook(phase, f"{phase}.d/{name}/{file}", match[2])


def _runs(path: Path, phase: str) -> bool:
    return path.is_file() and (phase == phases.ENVIRONMENT or os.access(path, os.X_OK))


def variables(directory: Path) -> list[Variable]:
    """The variables of an element: diskimage-builder's that its README or its scripts name, and others that both do."""
    texts = {
        path: (directory / path).read_text(encoding="utf-8", errors="replace") for path in sorted(_texts(directory))
    }
    documented = readme(directory)
    others = _DOCUMENTED.findall(texts.get(documented.name, "")) if documented else []
    read = {name for name in others if any(re.search(rf"\${{?{name}\b", text) for text in texts.values())}
    files: dict[str, list[str]] = {}
    defaults: dict[str, set[str]] = {}
    for path, text in texts.items():
        for name in dict.fromkeys([*_VARIABLE.findall(text), *(name for name in sorted(read) if name in text)]):
            files.setdefault(name, []).append(path)
        for name, value in _DEFAULT.findall(text):
            # "${X:-}" asks whether a variable is set: it says nothing of a default that another file has.
            if value.strip("\"'\\"):
                defaults.setdefault(name, set()).add(value.strip("\"'\\"))
    files.pop(_TRACE, None)
    return [
        Variable(name, next(iter(defaults[name])) if len(defaults.get(name, ())) == 1 else None, tuple(where))
        for name, where in sorted(files.items())
    ]


def tests(directory: Path) -> list[Test]:
    """The tests in an element's ``checks``; what is no Python is left out, as nothing says what is in it."""
    found = []
    for path in sorted((directory / CHECKS_DIRECTORY).rglob("test_*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                title = (ast.get_docstring(node) or "").partition("\n")[0]
                found.append(Test(node.name, str(path.relative_to(directory)), title))
    return found


def _texts(directory: Path) -> Iterator[str]:
    for root, names, found in os.walk(directory):
        names[:] = [name for name in names if name not in ("tests", CHECKS_DIRECTORY, "__pycache__")]
        for name in found:
            path = os.path.join(root, name)
            if os.path.isfile(path) and os.path.getsize(path) <= _LARGEST:
                yield os.path.relpath(path, directory)
