"""Rules about hooks: whether they run, and what happens when a command of theirs fails."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diskimage_create.catalogue import Entry, phases
from diskimage_create.catalogue.lint.content import Content, File
from diskimage_create.catalogue.lint.model import Context, Found, Severity, rule

_NUMBERED = re.compile(r"\d+-")
#: ``set -e``, ``set -eux``, ``set -u -o errexit``, also after ``;`` or ``&&``
_SET = re.compile(r"(?:^|;|&&|\|\|)\s*set((?:\s+(?:-o\s+\w+|[-+]\w+))+)", re.MULTILINE)
_STOPS = re.compile(r"\s-[a-zA-Z]*e|\s-o\s+errexit")
_SHEBANG_STOPS = re.compile(r"#!\S+(?:\s+\S+)*?\s+-[a-zA-Z]*e")


@rule("EL201", "hook that is not executable", Severity.ERROR)
def not_executable(_entry: Entry, content: Content, _context: Context) -> Iterator[Found]:
    """A file in a phase's directory looks like a hook, but dib-run-parts runs executable files only.

    `chmod +x` it. A file counts as a hook when its name begins with a number and a dash, or its first line with `#!`,
    unless another script of the element names it: it is data of that one then.
    """
    for file in _candidates(content):
        if not file.executable and phases.is_run(str(file.phase), file.name):
            yield Found("looks like a hook, but is not executable: it never runs", file.path)


@rule("EL202", "hook without a shebang", Severity.WARNING)
def no_shebang(_entry: Entry, content: Content, _context: Context) -> Iterator[Found]:
    """The first line does not say what runs the hook. The kernel refuses to, and bash takes it for one of its own.

    Begin it with `#!/bin/bash`.
    """
    for file in content.files.values():
        if file.is_hook and file.text and not file.has_shebang:
            yield Found("the first line names no interpreter", file.path, 1)


@rule("EL203", "hook that dib-run-parts ignores", Severity.ERROR)
def ignored_name(_entry: Entry, content: Content, _context: Context) -> Iterator[Found]:
    """The name, or the place, of a file makes dib-run-parts pass over it without a word.

    A hook's name has letters, digits, `-` and `_` only: no dot, hence no extension. Files of `environment.d` may have
    dots. Files in a directory below the phase's are run only if that is named `X-TYPE-install`, in `install.d`
    (the element install-types links them). What another script of the element names is data of that one, and fine.
    """
    for file in _candidates(content):
        if not phases.is_run(str(file.phase), file.name):
            yield Found("dib-run-parts ignores files of such a name", file.path)
    for file in content.files.values():
        top, _, rest = file.path.partition("/")
        below_phase = top.removesuffix(".d") in phases.PHASES and "/" in rest and file.phase is None
        if below_phase and file.executable and _NUMBERED.match(file.name) and not content.mentions(file):
            yield Found("dib-run-parts does not look into directories: it never runs", file.path)


@rule("EL204", "hook without set -e", Severity.WARNING)
def goes_on_after_errors(_entry: Entry, content: Content, _context: Context) -> Iterator[Found]:
    """A shell script goes on after a command of it has failed, and the image is built without what that was to do.

    Say `set -eu` and `set -o pipefail` before the first command. Files of `environment.d` are sourced: there it would
    change the options of whoever sources them, and must not be said.
    """
    for file in content.files.values():
        if file.is_hook and file.shell and not _stops_at_errors(file):
            yield Found("goes on after a command has failed: say set -eu", file.path)


def _stops_at_errors(file: File) -> bool:
    if _SHEBANG_STOPS.match(file.lines[0]):
        return True
    return any(_STOPS.search(match[1]) for match in _SET.finditer(file.text))


def _candidates(content: Content) -> Iterator[File]:
    """The files in phases' directories that are meant to run, whether or not they do."""
    for file in content.files.values():
        if file.phase is None:
            continue
        meant = _NUMBERED.match(file.name) or file.has_shebang or (file.phase == phases.ENVIRONMENT)
        if file.phase == phases.ENVIRONMENT and phases.is_run(file.phase, file.name):
            continue  # sourced, executable or not
        if meant and not content.mentions(file):
            yield file
