"""Python projects from their source repositories, as wheels to install in an image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diskimage_create import host, process
from diskimage_create.containers.buildah import LENT, Container
from diskimage_create.containers.modify.variables import CHANGES, REPOSITORY
from diskimage_create.errors import BuildError, CommandFailed

#: Twice: first what they depend on, where it is missing; then they themselves, even in the version that is there.
_INSTALL = f"""
set -eu; exec 2>&1
python=$1; shift
export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
"$python" -m pip --version || {{ echo "$python of the image has no pip"; exit 1; }}
cd {LENT}
"$python" -m pip install --no-input "$@"
"$python" -m pip install --no-input --force-reinstall --no-deps "$@"
"""
_MAIN = "HEAD"
_IDENTITY = ("-c", "user.name=diskimage-create", "-c", "user.email=diskimage-create@localhost")


def wheels(variables: Mapping[str, Any], directory: Path, children: process.Children) -> list[Path]:
    """Fetch the projects of ``refspecs`` and make a wheel of each.

    The first refspec of a project is what is built; further ones are changes that are applied to it in their order.

    :param directory: an empty one, for repositories and wheels
    :param children: runs git and uv
    :raises BuildError: a project cannot be fetched or built, or changes do not go together
    """
    wanted: dict[str, list[str]] = {}
    for entry in variables["refspecs"]:
        wanted.setdefault(entry["project"], []).extend(str(entry["refspec"]).split())
    repository = str(variables.get("repository_url", REPOSITORY))
    changes = str(variables.get("changes_url", variables.get("repository_url", CHANGES)))
    made = []
    for project, refspecs in wanted.items():
        source = directory / project.replace("/", "_")
        addresses = [address.replace("{project}", project) for address in (repository, changes)]
        try:
            _check_out(source, refspecs, addresses, children)
            made.append(_wheel(source, directory / "wheels" / source.name, children))
        except CommandFailed as failed:
            raise BuildError(f"{project}: {failed.message}", _hint(failed)) from None
    return made


def _check_out(source: Path, refspecs: Sequence[str], addresses: Sequence[str], children: process.Children) -> None:
    """The first refspec, and all others on top of it. Tags come along: versions are worked out from them (PBR)."""
    environment = {**os.environ, "PATH": process.tool_path(), "LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0"}

    def git(*arguments: str) -> None:
        children.run(["git", "-C", source, *arguments], environment)

    repository, changes = addresses
    source.mkdir()
    git("init", "--quiet")
    git("fetch", "--quiet", "--tags", repository, _MAIN)
    for number, refspec in enumerate(refspecs):
        git("fetch", "--quiet", changes if refspec.startswith("refs/changes/") else repository, refspec)
        how = ("cherry-pick",) if number else ("checkout", "--quiet", "--detach")
        git(*_IDENTITY, *how, "FETCH_HEAD")


def _hint(failed: CommandFailed) -> str | None:
    return "these changes do not go together" if "cherry-pick" in failed.argv else None


def _wheel(source: Path, target: Path, children: process.Children) -> Path:
    """Built on this host, so that the image needs nothing to build it with."""
    # What pip knows of package indexes, uv is told; its own settings win.
    environment = {**host.detect(os.environ).package_index, **os.environ, "PATH": process.tool_path()}
    children.run(["uv", "build", "--quiet", "--wheel", "--out-dir", target, source], environment)
    (wheel,) = target.glob("*.whl")
    if not wheel.name.endswith("-none-any.whl"):
        raise BuildError(f"{source.name}: {wheel.name} has compiled code of this host, not of the image's distribution")
    return wheel


def install(container: Container, made: Sequence[Path], python: str) -> None:
    """Install wheels in an image; pip fetches what they need and the image does not have.

    :param python: the interpreter in the image
    :raises CommandFailed: it failed
    """
    for wheel in made:
        (container.lent / wheel.name).write_bytes(wheel.read_bytes())
    container.sh(_INSTALL, python, *(f"./{wheel.name}" for wheel in made))
