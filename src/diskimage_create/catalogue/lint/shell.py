"""The rule that asks shellcheck."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from diskimage_create import process
from diskimage_create.catalogue import Entry, phases
from diskimage_create.catalogue.lint.answers import Answers
from diskimage_create.catalogue.lint.content import Content, File
from diskimage_create.catalogue.lint.model import Context, Found, Remark, Severity, rule

RULE = "EL601"
PROGRAM = "shellcheck"
_OPTIONS = ("--norc", "--severity=error", "--format=json1")
#: seconds, for all files of one call
_PATIENCE = 300
#: Codes of a script that cannot be parsed, and those that only follow from another one
_PARSER = range(1000, 2000)
_CONSEQUENCES = frozenset({1046, 1047, 1072, 1073, 1088})
#: bash parses it, shellcheck does not
_ARRAY = re.compile(r"\beval\s+(?:declare\s+-[aA]\s+)?\w+=\(")


@rule(RULE, "error that shellcheck sees", Severity.WARNING)
def shellcheck(_entry: Entry, content: Content, context: Context) -> Iterator[Found]:
    """shellcheck reports an error in a shell script: it cannot be parsed, or does not what it says.

    Its wiki explains each code (`SC2068`, ...). Where it is wrong, `# shellcheck disable=SC2068` says so. It is asked
    only where it is installed, and only for errors (`--severity=error`). Of a script that it cannot parse, the first
    reason is shown; none where that is an array behind eval, `eval declare -A x=($(get_image_element_array))`, which
    bash understands, and which is how diskimage-builder hands over the list of elements.
    """
    for file in content.files.values():
        remarks = list(context.shell_remarks(str(content.directory / file.path)))
        unparsed = [remark for remark in remarks if remark.code in _PARSER]
        for remark in sorted(unparsed, key=lambda remark: (remark.code in _CONSEQUENCES, remark.line, remark.code))[:1]:
            if not any(_ARRAY.search(file.line(each.line)) for each in unparsed):
                yield Found(f"SC{remark.code}: {remark.message}", file.path, remark.line)
        for remark in remarks:
            if remark.code not in _PARSER:
                yield Found(f"SC{remark.code}: {remark.message}", file.path, remark.line)


@dataclass(frozen=True)
class _Script:
    path: str
    """Absolute"""
    file: File
    shell: str
    """Empty: its first line says so"""


class Remarks:
    """What shellcheck has to say of scripts.

    It is started at once for those that it was not asked about before, as often as there are processors, and awaited
    when the first script is asked for.
    """

    def __init__(self, contents: Iterable[Content], place: Path | None) -> None:
        """:param place: the file of what it has said before; None: it is asked about all of them"""
        self._answers = Answers(place, PROGRAM, _OPTIONS)
        self._found: dict[str, list[Remark]] = {}
        self._unknown: list[_Script] = []
        for script in _scripts(contents):
            if (known := self._answers.of(script.file, script.shell)) is not None:
                self._found[script.path] = known
            else:
                self._unknown.append(script)
        workers = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(workers)
        # Dealt out in turn, the longest first, all get about the same.
        parts = [self._unknown[start::workers] for start in range(workers)]
        self._calls = [
            self._pool.submit(_ask, [script.path for script in part if script.shell == shell], shell)
            for shell in ("", "bash")
            for part in parts
        ]

    def __call__(self, path: str) -> list[Remark]:
        """What shellcheck says of a script."""
        if self._calls:
            self._await()
        return self._found.get(path, [])

    def _await(self) -> None:
        asked = [each for call in self._calls for each in call.result()]
        self._calls = []
        self._pool.shutdown()
        for path, remark in asked:
            self._found.setdefault(path, []).append(remark)
        for script in self._unknown:
            self._answers.add(script.file, script.shell, self._found.get(script.path, []))
        self._answers.keep()


def _scripts(contents: Iterable[Content]) -> list[_Script]:
    """The shell scripts that say so themselves, and those that are sourced; the longest first."""
    found = [
        _Script(str(content.directory / file.path), file, "" if file.shell else "bash")
        for content in contents
        for file in content.files.values()
        if file.shell or file.phase == phases.ENVIRONMENT
    ]
    return sorted(found, key=lambda script: -len(script.file.text))


def _ask(files: list[str], shell: str) -> list[tuple[str, Remark]]:
    if not files:
        return []
    options = [*_OPTIONS, *([f"--shell={shell}"] if shell else [])]
    # 2: one of the files cannot be read, which others say
    done = process.run([PROGRAM, *options, "--", *files], timeout=_PATIENCE, expect=(0, 1, 2))
    comments = json.loads(done.stdout)["comments"]
    return [(each["file"], Remark(each["line"], each["code"], each["message"])) for each in comments]
