"""Hooks that download something by themselves, found by reading them.

What they get cannot be known before they run. A hook whose download is pinned, or is an input
of its own, is left out: by what its command line says, or by the table of hooks that are known.
Read are the hooks, and the programs in ``bin`` that an element brings for them; what these call
from elsewhere is not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diskimage_create.elements import OURS, builtin
from diskimage_create.model import ResolvedElement

#: Directory of hooks -> the first stage that holds what they do. extra-data.d runs after the first stage.
_PHASES = {
    "root.d": "root",
    "extra-data.d": "pre-install",
    "pre-install.d": "pre-install",
    "install.d": "install",
    "post-install.d": "image",
    "post-root.d": "image",
    "block-device.d": "image",
    "pre-finalise.d": "image",
    "finalise.d": "image",
    "cleanup.d": "image",
}
#: Where an element has programs for hooks, those of the first stage too
_PROGRAMS = "bin"
_HOOK_NAME = re.compile(r"[0-9A-Za-z_-]+")  # dib-run-parts' rule
_INSTALL_TYPE = re.compile(r"(?P<name>.+)-(?P<type>[^-]+)-install")

#: Commands that download, as words of a shell script or calls of a Python one; and what adds an archive
_COMMANDS = re.compile(
    r"""(?<![\w.${#-])(?:
        curl | wget | aria2c | cache-url | npm | yarn | gem\s+install | cargo\s+install
        | pip[\d.]*\s+(?:[^|;&]*\s)?(?:install|download|wheel) | pipx\s+install | uvx
        | uv\s+(?:tool\s+install|sync|python\s+install)
        | go\s+(?:get|install) | easy_install | conda
        | git\s+(?:[^|;&]*\s)?(?:clone|fetch|pull|submodule)
        | (?:docker|podman|skopeo|buildah|\$\{?\w*RUNTIME\}?)\s+(?:[^|;&]*\s)?(?:pull|build|run|copy|create|from)
        | add-apt-repository | apt-add-repository
    )(?![\w.=-])
    | urlretrieve | urlopen | requests\.get
    | /etc/apt/sources\.list""",
    re.VERBOSE,
)
# The words after these are names of packages, which the distribution's archives answer for.
_PACKAGE_MANAGER = re.compile(r"(?<![\w.-])(?:apt|apt-get|aptitude|dnf|yum|zypper|install-packages)\s[^;&|]*")
#: pip and uv: every file is compared with a hash that is in the element, or no index is asked
_PINNED = re.compile(r"--(?:require-hashes|no-index)(?![\w-])")

#: Hooks of this project's and of diskimage-builder's elements that say what they get, and what answers for it
_KNOWN = {
    # The constraints pin every version, releases on PyPI never change, and the file is an input. Not pinned are the
    # tools that build the wheel, which are not in the image.
    "amphora-agent/install.d/amphora-agent-source-install/75-amphora-agent": "the upper constraints",
    # --no-deps: nothing but the repository itself is installed.
    "octavia-lib/install.d/octavia-lib-source-install/76-octavia-lib": "the source repository",
    # The very version that runs here, to install with: it is not in the image.
    "lend-uv/extra-data.d/55-lend-uv": "a pinned version",
    "source-repositories/extra-data.d/98-source-repositories": "the source repositories",
    "apt-sources/extra-data.d/99-override-default-apt-sources": "the archives",
    "build-host/cleanup.d/11-put-back-archives": "nothing is installed after it",
    "build-host/cleanup.d/12-redact-credentials": "nothing is installed after it",
    "debian-minimal/root.d/75-debian-minimal-baseinstall": "the archives",
    "debootstrap/root.d/08-debootstrap": "the archives",
    "ubuntu-minimal/root.d/75-ubuntu-minimal-baseinstall": "the archives",
    "ubuntu/pre-install.d/01-set-ubuntu-mirror": "the archives",
    "ubuntu/root.d/10-cache-ubuntu-tarball": "the base image's checksums",
    "yum-minimal/root.d/08-yum-chroot": "the distribution's packages",
}


@dataclass(frozen=True)
class Download:
    """A hook that gets something nobody knows before it runs."""

    element: str
    hook: str
    """Its path in the element"""
    phase: str
    command: str
    """What gave it away"""


def find(variables: Mapping[str, str], elements: Sequence[ResolvedElement]) -> list[Download]:
    """Every hook that will run and downloads something that is not pinned.

    :param variables: the effective environment
    """
    names = {element.name for element in elements}
    found = []
    for element in sorted(elements, key=lambda element: element.name):
        for hook in _hooks(element.path, variables, names):
            relative = str(hook.relative_to(element.path))
            ours = _is_of_a_library(element.path, relative)
            if ours and f"{element.name}/{relative}" in _KNOWN:
                continue
            if command := unpinned_command(hook.read_bytes(), strict=not ours):
                phase = _PHASES.get(relative.partition("/")[0], "root")
                found.append(Download(element.name, relative, phase, command))
    return found


def unpinned_command(content: bytes, *, strict: bool = False) -> str | None:
    """The first command of a hook that downloads and is not pinned, in two words at most; None where there is none.

    :param strict: any address will do, whatever command it is for
    """
    if b"\0" in content:
        return "a program that is no script"
    text = content.decode(errors="replace").replace("\\\n", " ")
    for line in text.splitlines():
        # A comment, but not the length of a variable
        code = re.sub(r"(^|\s)#.*", "", line)
        if strict and "://" in code and not _PINNED.search(code):
            return "an address"
        code = _PACKAGE_MANAGER.sub("", code).replace('"', "").replace("'", "")
        if (match := _COMMANDS.search(code)) and not _PINNED.search(code):
            first, *rest = match[0].split()
            return " ".join([first, *rest[-1:]])  # what stands between may be a credential
    return None


def _is_of_a_library(element: Path, file: str) -> bool:
    """Whether a file is one of this project or of diskimage-builder, as it is there or in a copy of the element."""
    content = (element / file).read_bytes()
    originals = (library / element.name / file for library in (OURS, builtin()))
    return any(original.is_file() and original.read_bytes() == content for original in originals)


def _hooks(element: Path, variables: Mapping[str, str], names: Collection[str]) -> Iterator[Path]:
    for directory in _PHASES:
        yield from _executables(element / directory)
    for path in sorted((element / _PROGRAMS).glob("*")):
        # The libraries' are called by hooks which give themselves away.
        if path.is_file() and not _is_of_a_library(element, f"{_PROGRAMS}/{path.name}"):
            yield path
    if "install-types" in names:
        for path in sorted((element / "install.d").glob("*-install")):
            if path.is_dir() and _is_chosen(path.name, variables):
                yield from _executables(path)


def _executables(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.glob("*")):
        if _HOOK_NAME.fullmatch(path.name) and path.is_file() and os.access(path, os.X_OK):
            yield path


def _is_chosen(directory: str, variables: Mapping[str, str]) -> bool:
    """Whether ``NAME-TYPE-install`` is the type that the variables ask for (install-types' extra-data.d)."""
    match = _INSTALL_TYPE.fullmatch(directory)
    if match is None:
        return False
    prefix = "DIB_INSTALLTYPE_"
    chosen = {name[len(prefix) :].replace("_", "-"): v for name, v in variables.items() if name.startswith(prefix)}
    return chosen.get(match["name"], variables.get("DIB_DEFAULT_INSTALLTYPE") or "source") == match["type"]
