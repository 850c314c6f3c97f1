"""What ``modify_vars`` may say, and what is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from diskimage_create.containers.model import Modification
from diskimage_create.containers.modify import dockerfile
from diskimage_create.errors import Problem
from diskimage_create.references import InvalidReference, is_tag, parse

#: The role that we are ourselves, by both of the names that it has had
OURS = frozenset({"tripleo-modify-image", "tripleo_modify_image"})

#: Where a project's repository is, and where its changes are; ``{project}`` is its name
REPOSITORY = "https://opendev.org/openstack/{project}"
CHANGES = "https://review.opendev.org/openstack/{project}"

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_REFSPEC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+-]*")
_CREDENTIALS = re.compile(r"://[^/@\s]*:[^/@\s]*@")

#: What a check of a value finds: what is wrong, and what to do about it
Complaint = tuple[str, str | None]
Check = Callable[[Any], Iterator[Complaint]]


def task_of(modification: Modification) -> str:
    """Which of our tasks a modification asks for, without its extension."""
    name = str(modification.variables.get("tasks_from", "")).removesuffix(".yml").removesuffix(".yaml")
    return _SAME.get(name, name)


def problems(modification: Modification, where: str | None = None) -> list[Problem]:
    """Everything that is wrong with a modification; nothing is run, and no image is looked at.

    :param where: the place that the user wrote it
    """
    found = list(wrong_with_append_tag(modification.append_tag, "modify_append_tag"))
    if modification.role in OURS:
        found += _of_our_task(modification)
    return [Problem(message, where, hint) for message, hint in found]


def wrong_with_append_tag(text: str, name: str) -> Iterator[Complaint]:
    """Whether a text can come after a tag.

    :param name: what gave it
    """
    if not is_tag(f"_{text}"):
        yield f"{name} {text!r} cannot be a part of a tag", "made of letters, digits, '_', '.' and '-', at most 127"


def _of_our_task(modification: Modification) -> Iterator[Complaint]:
    task, variables = task_of(modification), modification.variables
    if task not in _TASKS:
        named = variables.get("tasks_from")
        what = "there is no tasks_from" if named is None else f"unknown tasks_from {named!r}"
        yield f"modify_vars: {what}", f"one of {', '.join(f'{name}.yml' for name in [*_TASKS, *_SAME])}"
        return
    checks, one_of = _TASKS[task]
    known = {**_ALWAYS, **checks}
    for name, value in variables.items():
        if name in known:
            yield from ((f"modify_vars: {name} {what}", hint) for what, hint in known[name](value))
        else:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"{task}.yml knows {', '.join(known)}"
            yield f"modify_vars: unknown variable {name}", hint
    if one_of and not any(name in variables for name in one_of):
        yield f"modify_vars: {task}.yml needs {' or '.join(one_of)}", None


def _text(value: Any) -> Iterator[Complaint]:
    if not isinstance(value, str) or not value:
        yield "must be text", None


def _boolean(value: Any) -> Iterator[Complaint]:
    if not isinstance(value, bool):
        yield "must be true or false", None


def _buildah(value: Any) -> Iterator[Complaint]:
    if value != "buildah":
        yield "must be buildah", "images are changed with nothing else"


def _image(value: Any) -> Iterator[Complaint]:
    try:
        parse(str(value))
    except InvalidReference as error:
        yield f"is no image: {error}", None


def _directory(value: Any) -> Iterator[Complaint]:
    if not isinstance(value, str) or not value:
        yield "must be the path of a directory", None
    elif not Path(value).is_dir():
        yield f"is no directory: {value}", None


def _directory_with(pattern: str) -> Check:
    def check(value: Any) -> Iterator[Complaint]:
        complaints = list(_directory(value))
        if not complaints and not packages_in(Path(value), pattern):
            complaints = [(f"holds no {pattern} file: {value}", None)]
        yield from complaints

    return check


def packages_in(directory: Path, pattern: str) -> list[Path]:
    """Files of packages to install, in the order of their names; source packages are none."""
    return sorted(path for path in directory.glob(pattern) if path.is_file() and not path.name.endswith(".src.rpm"))


def _dockerfile_in(value: Any) -> Iterator[Complaint]:
    complaints = list(_directory(value))
    if not complaints:
        file = Path(value) / "Dockerfile"
        try:
            dockerfile.rebased(file.read_text(encoding="utf-8"), "scratch", "")
        except OSError as error:
            complaints = [(f"has no Dockerfile that can be read: {file}: {error.strerror}", None)]
        except UnicodeDecodeError:
            complaints = [(f"has a Dockerfile that is not UTF-8 text: {file}", None)]
        except dockerfile.NoFrom:
            complaints = [(f"has a Dockerfile without FROM: {file}", "write FROM and the name of an image")]
    yield from complaints


def _refspecs(value: Any) -> Iterator[Complaint]:
    if not isinstance(value, list) or not value:
        yield "must be a list of mappings with project and refspec", None
        return
    for number, entry in enumerate(value, 1):
        if not isinstance(entry, Mapping) or set(entry) != {"project", "refspec"}:
            yield f"has an entry {number} that is no mapping with project and refspec alone", None
        elif not _PROJECT.fullmatch(str(entry["project"])) or ".." in str(entry["project"]):
            yield f"has an entry {number} whose project {entry['project']!r} cannot be one", None
        elif bad := [each for each in str(entry["refspec"]).split() if not _REFSPEC.fullmatch(each)]:
            yield f"has an entry {number} whose refspec {bad[0]!r} cannot be one", "e.g. refs/changes/12/1234/3"
        elif not str(entry["refspec"]).split():
            yield f"has an entry {number} whose refspec is empty", "e.g. refs/changes/12/1234/3"


def _address(value: Any) -> Iterator[Complaint]:
    if not isinstance(value, str) or not value or value.startswith("-"):
        yield "must be the address of a git repository", f"e.g. {REPOSITORY}"
    elif _CREDENTIALS.search(value):
        yield "holds credentials, which everybody on this host could see", "give them to git: gitcredentials(7)"


_ALWAYS: Mapping[str, Check] = {"tasks_from": _text, "source_image": _image, "container_build_tool": _buildah}
#: Directories of packages
PACKAGES: Mapping[str, Check] = {"rpms_path": _directory_with("*.rpm"), "debs_path": _directory_with("*.deb")}
#: Task -> the variables that it knows; of the last ones it needs one at least
_TASKS: Mapping[str, tuple[Mapping[str, Check], tuple[str, ...]]] = {
    "modify_image": ({"modify_dir_path": _dockerfile_in}, ("modify_dir_path",)),
    "rpm_install": (PACKAGES, tuple(PACKAGES)),
    "yum_update": (
        {
            "yum_repos_dir_path": _directory,
            "apt_sources_dir_path": _directory,
            "compare_host_packages": _boolean,
            "update_repo": _text,
        },
        (),
    ),
    "dev_install": (
        {"refspecs": _refspecs, "python": _text, "repository_url": _address, "changes_url": _address},
        ("refspecs",),
    ),
}
#: Names for images of the Debian family: which one it is shows in the image itself
_SAME: Mapping[str, str] = {"deb_install": "rpm_install", "apt_update": "yum_update"}
