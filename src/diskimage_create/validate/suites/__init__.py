"""Checks that elements bring: tests for pytest-testinfra in ``checks/``, run against the image.

They run in a pytest of their own, which knows no plugin and no configuration of the user's, on a copy of the tests.
What they ask of the image is answered by programs of the image, in a sandbox (``sandbox.py``).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

from diskimage_create import process
from diskimage_create.elements import CHECKS_DIRECTORY
from diskimage_create.errors import CommandFailed, InputError, Problem
from diskimage_create.model import Expectation, Finding, Severity, Status, Suite
from diskimage_create.validate.registry import Outcome, listed, printable, skipped
from diskimage_create.validate.suites.sandbox import Sandbox, sandbox_for
from diskimage_create.validate.view import ImageView

#: How long all tests of one image may take, in seconds; a build waits for them
DEADLINE = 300.0
#: In a directory of tests, with what they need; it is copied, and somebody's home directory has more
MOST_FILES = 1000
_TESTS = "test_*.py"
_PLUGIN = "diskimage_create.validate.suites.testinfra_plugin"
#: Of pytest: nothing failed, something failed, a file could not be read, there was no test
_ENDED = (0, 1, 2, 5)


def of_elements(elements: Iterable[tuple[str, Path]]) -> tuple[Suite, ...]:
    """The checks that elements bring.

    :param elements: name and directory of each
    """
    found = (Suite(name, path / CHECKS_DIRECTORY, element=True) for name, path in elements)
    return tuple(suite for suite in found if _tests(suite.path))


def of_directories(directories: Iterable[Path], where: str) -> tuple[Suite, ...]:
    """The checks in directories that the user names; they go by the directory's name, or by that of its element.

    :param where: how the user said it
    :raises InputError: there is no test in one, or two have one name
    """
    found: dict[str, Suite] = {}
    problems = []
    for directory in directories:
        path = Path(os.path.realpath(directory))
        owner = path.parent.name if path.name == CHECKS_DIRECTORY else path.name
        if not path.is_dir():
            problems.append(Problem(f"{directory} is no directory", where, f"a directory with {_TESTS}"))
        elif len(list(islice(_files(path), MOST_FILES + 1))) > MOST_FILES:
            hint = f"a directory with {_TESTS}, and what those need"
            problems.append(Problem(f"{directory} has more than {MOST_FILES} files", where, hint))
        elif not _tests(path):
            problems.append(Problem(f"{directory} has no tests", where, f"tests are in files {_TESTS}"))
        elif found.setdefault(owner, Suite(owner, path, element=False)).path != path:
            problems.append(Problem(f"{directory} and {found[owner].path} have one name", where, "rename one of them"))
    if problems:
        raise InputError(problems)
    return tuple(found.values())


def applicable(suites: Iterable[Suite], elements: Iterable[str]) -> tuple[Suite, ...]:
    """Those that say something of an image with these elements, each directory once."""
    held = set(elements)
    chosen = {suite.path: suite for suite in suites if not suite.element or suite.owner in held}
    return tuple(sorted(chosen.values(), key=lambda suite: suite.owner))


def digest(suites: Iterable[Suite]) -> str | None:
    """SHA-256 over the names and the contents of all their files; None without any."""
    total, found = hashlib.sha256(), False
    for suite in sorted(suites, key=lambda suite: suite.owner):
        for path in _files(suite.path):
            name = f"{suite.owner}/{path.relative_to(suite.path)}"
            total.update(os.fsencode(name) + b"\0" + hashlib.sha256(path.read_bytes()).digest())
            found = True
    return f"sha256:{total.hexdigest()}" if found else None


def run(view: ImageView, expectation: Expectation) -> Outcome:
    """Run the tests of the suites that an expectation has.

    :raises Unavailable: there are no files to be looked at
    :raises HostError: this host cannot run them
    """
    suites = expectation.suites
    if not suites:
        return skipped("no element of this image brings any, or they were not asked for (--element-checks)")
    confined = sandbox_for(view.root)
    work = view.workspace / "suites"
    for suite in suites:
        _copy(suite.path, work / suite.owner / CHECKS_DIRECTORY)
    problem = _run_pytest(work, confined)
    try:
        found = tuple(_findings(work / "results"))
    finally:
        shutil.rmtree(work)
    silent = [suite.owner for suite in suites if not any(each.id.startswith(f"{suite.owner}/") for each in found)]
    if problem is None and silent:
        problem = f"no test was found in the checks of {listed(silent)}"
    if problem:
        return Outcome(Status.FAIL, problem, found)
    return Outcome(Status.PASS, f"{len(found)} of {listed(suite.owner for suite in suites)}", found)


def _run_pytest(work: Path, confined: Sandbox) -> str | None:
    """Run all tests below a directory; returns what went wrong with that, if anything did."""
    (work / "tmp").mkdir()
    (work / "pytest.ini").write_text("[pytest]\nmarkers = warning: what the test fails rejects no image\n")
    (work / "sandbox.json").write_text(json.dumps(confined.enter))
    # -P: no directory of an element can stand in for a module.
    argv = [
        *confined.around,
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-p",
        _PLUGIN,
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
    ]
    argv += ["-c", str(work / "pytest.ini"), f"--rootdir={work}", f"--confcutdir={work}", "--tb=short"]
    argv += ["--continue-on-collection-errors", str(work)]
    try:
        process.run(argv, env=_environment(work), cwd=work, timeout=DEADLINE, expect=_ENDED)
    except CommandFailed as error:
        return f"the tests did not come to an end: {error.output.strip()[-500:]}"
    return None


def _environment(work: Path) -> Mapping[str, str]:
    """What pytest gets: none of the options, plugins and settings that the user has for it."""
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}
    return {
        **kept,
        "PATH": process.tool_path(),
        "LC_ALL": "C.UTF-8",
        "HOME": str(work),
        "TMPDIR": str(work / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def _findings(results: Path) -> Iterator[Finding]:
    """What the plugin wrote, a test a line; the last line may be cut short where it was killed."""
    for line in results.read_text(encoding="utf-8").splitlines() if results.is_file() else ():
        try:
            yield _finding(json.loads(line))
        except ValueError:
            return


def _finding(result: Mapping[str, Any]) -> Finding:
    status, severity = Status(result["status"]), Severity(result["severity"])
    if status is Status.FAIL and severity is Severity.WARNING:
        status = Status.WARN
    message = printable(result["message"])
    return Finding(printable(result["id"]), printable(result["title"]), status, message, result["seconds"], severity)


def _tests(directory: Path) -> bool:
    return any(fnmatchcase(path.name, _TESTS) for path in _files(directory))


def _copy(source: Path, target: Path) -> None:
    for path in _files(source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _files(directory: Path) -> Iterator[Path]:
    """Regular files below a directory; no links to directories are followed, which may lead in circles."""
    for top, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if name != "__pycache__" and not name.startswith("."))
        yield from (Path(top, name) for name in sorted(names) if os.path.isfile(os.path.join(top, name)))
