"""The environment that hooks see: what ``environment.d`` of all elements makes of a plan's.

diskimage-builder copies the elements' ``environment.d`` into one directory, and sources its
files before each phase (``lib/dib-run-parts``). Here they are sourced once, before the build,
to know where it will fetch from.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diskimage_create import process
from diskimage_create.errors import DiskImageError
from diskimage_create.model import ImageSpec, ResolvedElement

#: Seconds. They assign variables; one that waits for something is not waited for.
_PATIENCE = 20.0
#: What a build may know of the user's environment beyond the plan
INHERITED = ("HOME", "USER", "LOGNAME", "LANG")
_NAME = re.compile(r"[0-9A-Za-z_.-]+")  # dib-run-parts' rule for environment.d

# What the files print goes to our standard error: the variables have standard output to themselves.
_SOURCE_ALL = """
exec 3>&1 1>&2
set -eu
set -o pipefail
for file in "$@"; do
    source "$file"
done
env --null >&3
"""
_EXPAND = 'set -f; eval echo "$1"'


@dataclass(frozen=True)
class Effective:
    """The variables of a hook, or why they cannot be known before the build."""

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    problem: str | None = None


def read(environment: Mapping[str, str], elements: Sequence[ResolvedElement], spec: ImageSpec) -> Effective:
    """Source the elements' ``environment.d``. A file that fails is no error here: the build will tell.

    :param environment: the plan's, with the values that are secret
    """
    files = sorted(_environment_files(elements), key=lambda path: os.fsencode(path.name))
    with tempfile.TemporaryDirectory(prefix="environment-") as directory:
        before = before_hooks(environment, spec, Path(directory))
        try:
            command: list[str | Path] = ["bash", "--noprofile", "--norc", "-c", _SOURCE_ALL, "bash", *files]
            done = process.run(command, env=before, cwd=Path(directory), timeout=_PATIENCE)
        except DiskImageError:  # what it printed may hold anything
            return Effective(problem="a file of environment.d fails")
    variables = dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)
    if not variables:
        return Effective(problem="a file of environment.d ends the shell")
    return Effective(variables)


def expand(line: str, variables: Mapping[str, str]) -> str:
    """A line of a ``source-repository-*`` file as diskimage-builder reads it: a shell word list.

    :raises DiskImageError: the shell cannot make sense of it
    """
    if re.fullmatch(r"[\w\s./:@+,=%~^-]*", line, re.ASCII) and "~" not in line:
        return " ".join(line.split())  # nothing in it means anything to a shell
    command = ["bash", "--noprofile", "--norc", "-euc", _EXPAND, "bash", line]
    return process.run(command, env=variables, timeout=_PATIENCE).stdout.strip()


def _environment_files(elements: Sequence[ResolvedElement]) -> Iterator[Path]:
    for element in elements:
        for path in (element.path / "environment.d").glob("*"):
            if _NAME.fullmatch(path.name) and path.is_file():
                yield path


def before_hooks(environment: Mapping[str, str], spec: ImageSpec, work: Path) -> dict[str, str]:
    """What disk-image-create has exported when it runs the first hook.

    Source: its own options, ``lib/common-defaults`` and ``lib/img-defaults``. Its directories do not exist yet.
    """
    exported = {
        "ARCH": spec.arch,
        "DIB_BLOCK_DEVICE": "",
        "DIB_CHECKSUM": "0",
        "DIB_DEBUG_TRACE": str(spec.trace),
        "DIB_DEFAULT_INSTALLTYPE": "source",
        "DIB_IMAGE_CACHE": str(spec.cache_dir),
        "DIB_IMAGE_SIZE": "" if spec.size_gib is None else str(spec.size_gib),
        "DIB_LOCKFILES": str(spec.cache_dir / "lockfiles"),
        "DIB_MIN_TMPFS": "2",
        "DIB_NO_TIMESTAMP": "1",
        "DIB_NO_TMPFS": "0" if spec.tmpfs else "1",
        "DIB_OFFLINE": "",
        "DIB_PYTHON_EXEC": sys.executable,
        "FS_TYPE": "ext4",
        "HOME": "/root",
        "IMAGE_NAME": spec.profile,
        "IMAGE_TYPE": "qcow2",
        "USER": "root",
    }
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    ours = {
        "LC_ALL": "C",
        "PATH": process.tool_path(),
        "TARGET_ROOT": str(work / "mnt"),
        "TMPDIR": str(work),
        "TMP_BUILD_DIR": str(work),
        "TMP_DIR": str(work),
        "TMP_HOOKS_PATH": str(work / "hooks"),
        "TMP_MOUNT_PATH": str(work / "mnt"),
    }
    return {**exported, **inherited, **environment, **ours}
