"""The rule that asks shellcheck."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from diskimage_create import process
from diskimage_create.catalogue import Entry, phases
from diskimage_create.catalogue.lint.content import Content
from diskimage_create.catalogue.lint.model import Context, Found, Remark, Severity, rule

RULE = "EL601"
PROGRAM = "shellcheck"
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


class Remarks:
    """What shellcheck has to say of scripts. It is started at once, as often as there are processors, and awaited when
    the first script is asked for."""

    def __init__(self, contents: Iterable[Content]) -> None:
        scripts, sourced = _scripts(contents)
        workers = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(workers)
        # Dealt out in turn, the longest first, all get about the same.
        self._calls = [self._pool.submit(_ask, scripts[start::workers]) for start in range(workers)]
        self._calls.append(self._pool.submit(_ask, sourced, "--shell=bash"))
        self._found: dict[str, list[Remark]] | None = None

    def __call__(self, path: str) -> list[Remark]:
        if self._found is None:
            self._found = _by_file(self._calls)
            self._pool.shutdown()
        return self._found.get(path, [])


def _scripts(contents: Iterable[Content]) -> tuple[list[str], list[str]]:
    """The shell scripts that say so themselves, the longest first, and those that are sourced."""
    files = [(content.directory, file) for content in contents for file in content.files.values()]
    files.sort(key=lambda pair: -len(pair[1].text))
    scripts = [str(directory / file.path) for directory, file in files if file.shell]
    sourced = [
        str(directory / file.path)
        for directory, file in files
        if file.shell is None and file.phase == phases.ENVIRONMENT
    ]
    return scripts, sourced


def _ask(files: list[str], *options: str) -> list[Any]:
    if not files:
        return []
    command = [PROGRAM, "--norc", "--severity=error", "--format=json1", *options, "--", *files]
    # 2: one of the files cannot be read, which others say
    done = process.run(command, timeout=_PATIENCE, expect=(0, 1, 2))
    comments: list[Any] = json.loads(done.stdout)["comments"]
    return comments


def _by_file(calls: Iterable[Future[list[Any]]]) -> dict[str, list[Remark]]:
    found: dict[str, list[Remark]] = {}
    for call in calls:
        for comment in call.result():
            remark = Remark(comment["line"], comment["code"], comment["message"])
            found.setdefault(comment["file"], []).append(remark)
    return found
