"""Stages of a build: which may be kept, and the elements with which a build goes on from one.

diskimage-builder knows nothing of stages. Hooks of the element ``stages`` save them; a build is
resumed with a copy of its elements in which the hooks of finished phases are left out.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from diskimage_create import process
from diskimage_create.elements import CHECKS_DIRECTORY
from diskimage_create.errors import DiskImageError, InputError, Problem
from diskimage_create.model import STAGES, STEPS, BuildPlan, ResolvedElement
from diskimage_create.once import once
from diskimage_create.store import Store
from diskimage_create.store.reuse import Needs

#: Stage -> the hook phases that it has gone through, besides those of the stages before it
_PHASES: Mapping[str, tuple[str, ...]] = {
    "root": ("root.d",),
    "pre-install": ("extra-data.d", "pre-install.d"),
    "install": ("install.d",),
}
#: File in an element that names the hooks which no stage can stand in for: elements/stages/README.rst
NOSTAGE = ".nostage"
_LINE = re.compile(r"(?P<again>again\s+)?(?P<hook>[a-z-]+\.d/[\w.-]+)")
#: Hooks that run on the host, each build anew
_CAN_RUN_AGAIN = ("root.d", "extra-data.d")
#: diskimage-builder's hooks that mount something, or lend it, or only sort the hooks: like ``again`` in NOSTAGE
_AGAIN: Mapping[str, frozenset[str]] = {
    "dpkg": frozenset({"root.d/50-shared-apt-cache", "root.d/50-build-with-http-cache"}),
    "gentoo": frozenset({"root.d/50-gentoo-cache"}),
    "install-types": frozenset({"extra-data.d/99-enable-install-types"}),
    "pip-cache": frozenset({"root.d/11-pip-cache"}),
    "pypi": frozenset({"extra-data.d/00-mount-pypi-mirror"}),
    "yum": frozenset({"root.d/50-yum-cache"}),
    "zypper": frozenset({"root.d/50-zypper-cache"}),
}
#: What diskimage-builder copies into the hooks directory (lib/common-functions, generate_hooks), but what is directly
#: in an element, as elements overwrite that of each other; and names that sha256sum would have to escape
_COPIED = re.compile(r"(?!tests/)[^/\\\r\n]+/(?!\.)[^\\\r\n]+\Z")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64}) ")
#: What the hook elements/stages/stages/save prints
_SAVED = re.compile(r"diskimage-create: stage (?P<stage>\S+) is saved$")
#: As much as any user may have (pipe(7)): a quarter less time than with the 64 KiB of a plain one
_PIPE_BYTES = 2**20
#: Between attempts to end the wait for a stage that is not saved
_LET_GO_SECONDS = 0.02
#: It links hooks into install.d, which are not to run once more.
_SORTS_INSTALL = "extra-data.d/99-enable-install-types"


def finished_phases(stage: str) -> tuple[str, ...]:
    """The directories of the hooks that a stage has gone through."""
    return tuple(phase for name in STAGES[: STAGES.index(stage) + 1] for phase in _PHASES[name])


def reusable(resolved: Iterable[ResolvedElement]) -> tuple[str, ...]:
    """The steps of a build that may be taken from the store instead of running their hooks.

    :raises InputError: an element's ``.nostage`` cannot be understood
    """
    resolved = list(resolved)
    if problems := [problem for element in resolved for problem in _problems(element)]:
        raise InputError(problems)
    never = {hook for element in resolved for hook in _never(element)}
    phases = {hook.partition("/")[0] for hook in never}
    kept = []
    for stage in STAGES:
        if phases.intersection(_PHASES[stage]):
            break
        kept.append(stage)
    return tuple(kept) if never else STEPS


def _never(element: ResolvedElement) -> frozenset[str]:
    """The hooks of an element that no stage may have run."""
    if _nostage_text(element.path) is None:
        return frozenset()
    lines = list(_nostage(element))
    if not lines:
        return frozenset(file.path for file in element.files if file.path.endswith(".d") or ".d/" in file.path)
    return frozenset(hook for again, hook in lines if not again)


def _again(element: ResolvedElement, stage: str) -> frozenset[str]:
    """The hooks of an element that run once more when a build is resumed."""
    declared = {hook for again, hook in _nostage(element) if again}
    hooks = frozenset(declared) | _AGAIN.get(element.name, frozenset())
    return hooks - {_SORTS_INSTALL} if "install.d" in finished_phases(stage) else hooks


def _nostage(element: ResolvedElement) -> Iterator[tuple[bool, str]]:
    """What an element says of its hooks: whether to run it again, and which one."""
    for _, text in _lines(element):
        if match := _LINE.fullmatch(text):
            yield bool(match["again"]), match["hook"]


def _problems(element: ResolvedElement) -> Iterator[Problem]:
    """What is wrong with an element's ``.nostage``. A hook that is not there may be one whose name has changed."""
    hooks = {file.path for file in element.files}
    for number, text in _lines(element):
        where = f"{element.path / NOSTAGE}:{number}"
        match = _LINE.fullmatch(text)
        if match is None:
            yield Problem(f"{text!r} names no hook", where, "PHASE.d/HOOK, or: again PHASE.d/HOOK")
        elif match["hook"] not in hooks:
            yield Problem(
                f"element {element.name} has no hook {match['hook']}", where, "correct the line, or remove it"
            )
        elif match["again"] and match["hook"].partition("/")[0] not in _CAN_RUN_AGAIN:
            hint = f"again is for hooks of {' and '.join(_CAN_RUN_AGAIN)}; without it, no stage stands in for the hook"
            yield Problem(f"{match['hook']} cannot be run again", where, hint)


def _lines(element: ResolvedElement) -> Iterator[tuple[int, str]]:
    """The lines of an element's ``.nostage`` that say something, with their numbers."""
    for number, line in enumerate((_nostage_text(element.path) or "").splitlines(), 1):
        if text := line.partition("#")[0].strip():
            yield number, text


@once
def _nostage_text(element: Path) -> str | None:
    path = element / NOSTAGE
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def resumed(plan: BuildPlan, stored: Path, stage: str, directory: Path) -> dict[str, str]:
    """The variables with which a build goes on from a stage.

    :param stored: the stage in the store
    :param directory: where to put a copy of the elements
    """
    search_path = [Path(place) for place in plan.environment["ELEMENTS_PATH"].value.split(os.pathsep)]
    elements = resumed_elements(plan.resolved, search_path, stage, directory)
    return {
        "ELEMENTS_PATH": os.pathsep.join(map(str, elements)),
        "DISKIMAGE_CREATE_RESUME": str(stored),
        "DISKIMAGE_CREATE_RESUME_STAGE": stage,
    }


def names_in_hooks(resolved: Iterable[ResolvedElement]) -> list[str]:
    """What the elements bring into the hooks directory, as tar is told it."""
    files = (file for element in resolved for file in element.files)
    brought = {f"./{file.path}" for file in files if not file.value.startswith("directory")}
    return sorted({*brought, f"./{CHECKS_DIRECTORY}"})


def sums_in_hooks(resolved: Iterable[ResolvedElement], after: str | None = None) -> list[str]:
    """The same files with their digests, as sha256sum checks them.

    Left out are those of which elements bring several, as they overwrite each other.

    :param after: the stage that the build is resumed from, without the hooks that it has run
    """
    found: dict[str, set[str]] = {}
    for element in resolved:
        run = _run(element, after) if after else frozenset()
        for file in element.files:
            if file.path not in run and _COPIED.match(file.path) and (match := _DIGEST.match(file.value)):
                found.setdefault(file.path, set()).add(match[1])
    return [f"{digests.pop()}  {path}" for path, digests in sorted(found.items()) if len(digests) == 1]


def _run(element: ResolvedElement, stage: str) -> frozenset[str]:
    """The hooks of an element that a stage has run, and that do not run once more when a build is resumed."""
    finished = finished_phases(stage)
    return frozenset(file.path for file in element.files if os.path.dirname(file.path) in finished) - _again(
        element, stage
    )


def resumed_elements(
    resolved: Sequence[ResolvedElement], search_path: Sequence[Path], stage: str, directory: Path
) -> list[Path]:
    """Copy the elements without the hooks that a stage has run; returns the new search path.

    The copy has as many directories as the search path, as diskimage-builder looks for some files
    (package-installs.yaml) in every element of a name.

    :param directory: where to put the copy; must not exist
    """
    made = []
    for number, place in enumerate(search_path):
        target = directory / str(number)
        target.mkdir(parents=True)
        # One behind a symbolic link has the name of its directory.
        here = {Path(entry.path).resolve() for entry in os.scandir(place)}
        for element in resolved:
            if element.path in here:
                _copy(element, stage, target / element.name)
            elif (place / element.name).is_dir():
                _copy_package_lists(place / element.name, target / element.name)
        made.append(target)
    return made


def _copy(element: ResolvedElement, stage: str, target: Path) -> None:
    again = _again(element, stage)
    finished = finished_phases(stage)

    def left_out(directory: str, names: list[str]) -> set[str]:
        phase = Path(directory).relative_to(element.path).as_posix()
        # Directories among the hooks are their data; later hooks may look into them.
        hooks = {name for name in names if phase in finished and not Path(directory, name).is_dir()}
        return {"__pycache__", *(name for name in hooks if f"{phase}/{name}" not in again)}

    target.mkdir()
    for entry in os.scandir(element.path):
        # Directly in an element links are followed, as diskimage-builder does; they may lead out of it.
        if entry.is_dir() and entry.name != "__pycache__":
            shutil.copytree(entry.path, target / entry.name, symlinks=True, ignore=left_out)
        elif entry.is_file():
            shutil.copy2(entry.path, target / entry.name)
    shutil.copystat(element.path, target)


def _copy_package_lists(source: Path, target: Path) -> None:
    target.mkdir()
    for path in source.glob("package-installs.*"):
        shutil.copy2(path, target)


class Saver:
    """Takes the stages that a build saves into the store, while it saves them.

    The hooks write into named pipes: nothing of a stage lies anywhere but compressed, in the store.
    """

    def __init__(
        self,
        store: Store,
        needs: Needs,
        directory: Path,
        is_current: Callable[[], bool],
        told: Callable[[str], None] = lambda stage: None,
    ) -> None:
        """Prepare to save stages.

        :param needs: what they depend on
        :param directory: where the build finds the pipes
        :param is_current: whether all of that is still what it was
        :param told: called with each stage that is saved, or will not be; by any thread
        """
        self.problems: list[str] = []
        self._told = told
        self._is_current = is_current
        self._store = store
        self._needs = needs
        self._directory = directory
        self._pool = ThreadPoolExecutor(max_workers=len(STAGES))
        #: Stage -> whether the build says that it is saved, once that is known
        self._said: dict[str, Future[bool]] = {}
        self._running: list[Future[None]] = []

    def want(self, after: str | None, resolved: Iterable[ResolvedElement]) -> dict[str, str]:
        """Ask the build for the stages after one, or for all; returns the variables that it needs for that."""
        later = STAGES if after is None else STAGES[STAGES.index(after) + 1 :]
        self._directory.mkdir()
        names = b"".join(os.fsencode(f"{name}\n") for name in names_in_hooks(resolved))
        sums = b"".join(os.fsencode(f"{line}\n") for line in sums_in_hooks(resolved, after))
        for stage in (stage for stage in later if stage in self._needs.reusable):
            (self._directory / f"{stage}.elements").write_bytes(names)
            (self._directory / f"{stage}.sha256").write_bytes(sums)
            for pipe in self._pipes(stage):
                os.mkfifo(pipe)
            self._said[stage] = Future()
            self._running.append(self._pool.submit(self._keep, stage))
        return {"DISKIMAGE_CREATE_STAGES": str(self._directory)}

    def line(self, text: str) -> None:
        """Take in one line of the build's output."""
        if (match := _SAVED.search(text)) and (said := self._said.get(match["stage"])) and not said.done():
            said.set_result(True)

    def finish(self) -> None:
        """Wait for what is being stored; the build is over."""
        for said in self._said.values():
            if not said.done():
                said.set_result(False)
        while wait(self._running, timeout=_LET_GO_SECONDS).not_done:
            for stage in self._said:
                _let_go(self._pipes(stage))
        self._pool.shutdown()
        for job in self._running:
            job.result()

    def _pipes(self, stage: str) -> list[Path]:
        return [self._directory / f"{stage}.{part}.tar" for part in ("root", "hooks")]

    def _keep(self, stage: str) -> None:
        needs, pipes = self._needs, iter(self._pipes(stage))
        fill = partial(self._fill, stage, pipes)
        try:
            self._store.add(stage, needs.label, needs.local, needs.remote, needs.asked, fill)
        except _NotSavedError:
            pass
        except (OSError, DiskImageError) as error:
            self.problems.append(f"the stage after {stage}.d is not kept: {error}")
            _drain(pipes)
        finally:
            self._told(stage)

    def _fill(self, stage: str, pipes: Iterator[Path], directory: Path) -> None:
        said = self._said[stage]
        for pipe in pipes:
            # Opened here, so that nothing waits for a writer when we are killed.
            with pipe.open("rb") as content:
                if said.done() and not said.result():
                    raise _NotSavedError
                _compress(content, directory / f"{pipe.name.partition('.')[2]}.zst")
        if not said.result():
            raise _NotSavedError
        if not self._is_current():
            raise DiskImageError("what it is made of has changed meanwhile")


class _NotSavedError(Exception):
    """The build did not come to the end of the stage, or has said why it is not saved."""


def _compress(pipe: IO[bytes], target: Path) -> None:
    with suppress(OSError):  # who has many pipes gets none that is larger
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    # The build waits for this one: all processors.
    process.run(["zstd", "--quiet", "-1", "--threads=0", "-o", target], stdin=pipe)


def _drain(pipes: Iterable[Path]) -> None:
    """Read what is left to nowhere: the hook would wait for a reader."""
    for pipe in pipes:
        with pipe.open("rb") as content:
            while content.read(_PIPE_BYTES):
                pass


def _let_go(pipes: Iterable[Path]) -> None:
    """End the wait for a writer that never comes."""
    for pipe in pipes:
        with suppress(OSError):  # nobody waits
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
