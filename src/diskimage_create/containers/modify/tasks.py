"""The tasks: each makes a changed image of an image, in the storage of buildah."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diskimage_create.containers.buildah import Buildah, Container
from diskimage_create.containers.model import Modification
from diskimage_create.containers.modify import ansible, development, dockerfile, packages
from diskimage_create.containers.modify.variables import OURS, packages_in, task_of
from diskimage_create.errors import BuildError, CommandFailed, DiskImageError
from diskimage_create.references import Reference

#: How many of the last lines that a program printed an error shows
_LINES = 12
#: What buildah says besides when a program in a container fails
_NOISE = re.compile(r"^(exit status \d+|(time=\S+ )?level=.*exit status \d+.*|error while running runtime: .*)$")


@contextmanager
def step(what: str, error: type[DiskImageError] = BuildError) -> Iterator[None]:
    """Around the work of other programs: an error says what was being done, and what they printed last.

    :raises DiskImageError: of the given type
    """
    try:
        yield
    except CommandFailed as failed:
        lines = [line for line in failed.output.splitlines() if line.strip()]
        telling = [line for line in lines if not _NOISE.match(line)] or lines
        shown = "\n".join(f"  {line}" for line in telling[-_LINES:])
        ended = f"exit status {failed.returncode}" if failed.returncode >= 0 else f"signal {-failed.returncode}"
        raise error(f"{what} failed ({failed.argv[0]}: {ended})\n{shown}".rstrip()) from None


def apply(
    modification: Modification,
    buildah: Buildah,
    base: str,
    source: Reference,
    destination: Reference,
    directory: Path,
) -> str:
    """Change an image; returns the id of the new one, whose name is the destination's.

    :param base: the id of the image in the storage
    :param source: its name, for Dockerfiles
    :param directory: an empty one for temporary files
    :raises BuildError: a step failed; nothing new is left in the storage
    """
    if modification.role not in OURS:
        return _by_role(modification, buildah, base, destination, directory)
    task = task_of(modification)
    if task == "modify_image":
        return _by_dockerfile(modification, buildah, base, source, destination, directory)
    with buildah.container(base) as container:
        if task == "rpm_install":
            _install(modification, container)
        elif task == "yum_update":
            _update(modification, container)
        else:
            _develop(modification, container, directory)
        with step("making the image"):
            labels = {"modified_append_tag": modification.append_tag}
            return container.commit(str(destination), labels, f"diskimage-create {task}")


def _install(modification: Modification, container: Container) -> None:
    kind, _, names = install(container, modification.variables)
    check_installed(container, kind, names)


def install(container: Container, variables: Mapping[str, Any]) -> tuple[packages.Kind, list[Path], list[str]]:
    """Install the files of packages that an image of its kind gets; the kind, the files, their names in the container.

    :param variables: the directories of packages: ``rpms_path``, ``debs_path``
    :raises BuildError: there are none of its kind, or they cannot be installed
    """
    with step("looking at the packages of the image"):
        kind = packages.kind_of(container)
    files = _files_for(kind, variables)
    names = packages.lend(container, files)
    with step("installing the packages"):
        packages.install(container, kind, names)
    return kind, files, names


def _files_for(kind: packages.Kind, variables: Mapping[str, Any]) -> list[Path]:
    """The files of packages that an image of this kind gets.

    :raises BuildError: there are none of its kind
    """
    if (directory := variables.get(f"{kind}s_path")) is None:
        raise BuildError(f"it is made of {kind} packages, and there is no {kind}s_path")
    return packages_in(Path(directory), f"*.{kind}")


def check_installed(container: Container, kind: packages.Kind, names: list[str]) -> None:
    """See whether files of packages, which were lent, are what is installed.

    :raises BuildError: another version is, or none
    """
    with step("looking at the installed packages"):
        wrong = packages.mismatches(container, kind, names)
    if wrong:
        listed = "\n".join(f"  {mismatch}" for mismatch in wrong)
        raise BuildError(f"the packages that were delivered are not what is installed:\n{listed}")


def _update(modification: Modification, container: Container) -> None:
    variables = modification.variables
    with step("looking at the packages of the image"):
        kind = packages.kind_of(container)
        if variables.get("compare_host_packages") and packages.same_as_host(container, kind):
            return
    if kind == "deb" and "update_repo" in variables:
        raise BuildError("it is made of deb packages, and update_repo is for rpm packages", "leave out update_repo")
    named = variables.get("yum_repos_dir_path" if kind == "rpm" else "apt_sources_dir_path")
    with step("updating the packages"):
        packages.update(container, kind, Path(named) if named else None, variables.get("update_repo", ""))


def _develop(modification: Modification, container: Container, directory: Path) -> None:
    wheels = development.wheels(modification.variables, directory, container.buildah.children)
    with step("installing the projects"):
        development.install(container, wheels, str(modification.variables.get("python", "python3")))


def _by_dockerfile(
    modification: Modification,
    buildah: Buildah,
    base: str,
    source: Reference,
    destination: Reference,
    directory: Path,
) -> str:
    """Build upon the image from a copy of the user's directory: other images may be made from it at the same time."""
    context = directory / "context"
    shutil.copytree(Path(modification.variables["modify_dir_path"]), context, symlinks=True)
    text = (context / "Dockerfile").read_text(encoding="utf-8")
    modified = context / "Dockerfile.modified"
    modified.write_text(dockerfile.rebased(text, str(source.normalised()), modification.append_tag), encoding="utf-8")
    with step("building from the Dockerfile"):
        buildah.call(base, str(source.normalised()))
        return buildah.build(context, modified, str(destination))


def _by_role(modification: Modification, buildah: Buildah, base: str, destination: Reference, directory: Path) -> str:
    """The role finds the image by the destination's name without the appended tag."""
    assert destination.tag is not None
    target = destination.tagged(destination.tag.removesuffix(modification.append_tag) or "latest")
    with step(f"the role {modification.role}"):
        buildah.call(base, str(target))
        ansible.apply(modification, buildah, target, directory)
    made = buildah.id_of(str(destination))
    if made is None:
        raise BuildError(f"the role {modification.role} left no image {destination}")
    return made
