"""Elements: where they are found, what they depend on, and the digests of what is in them.

The rules are diskimage-builder's (``diskimage_builder/element_dependencies.py``); a test
compares the two. Unlike there, every problem is reported, not the first only.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from diskimage_create import places
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import WATCHED, Element, ElementFile, ResolvedElement
from diskimage_create.once import once
from diskimage_create.places import Place

#: Who asks for an element that no other one asks for
ELEMENT_LIST = "the element list"
#: The elements that come with this project.
OURS = Path(__file__).parent / "elements"
#: Tests that an element brings for images that are made of it: no image's content depends on them
CHECKS_DIRECTORY = "checks"


@cache
def builtin() -> Path:
    """The directory of diskimage-builder's own elements, found without importing it."""
    spec = find_spec("diskimage_builder")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations))) / "elements"


def search_path(
    environ: Mapping[str, str], ours: Path, theirs: Path, wanted: Sequence[str] = (), packages: Sequence[Place] = ()
) -> list[Path]:
    """Where a build looks for elements, the first winning: see :func:`places.named`.

    A package's elements are looked at only if the wanted ones need something that is nowhere else. What is installed
    besides changes no image, then: neither by an element of the same name, nor by the packages that such a one lists
    (diskimage-builder merges the lists of all elements of a name).

    :param packages: directories of installed packages, see :func:`places.installed`
    :raises InputError: a directory that a variable names is not there
    """
    named = places.named(environ, ours, theirs)
    needed: list[Place] = []
    while True:
        path = [place.path for place in places.insert(named, needed)]
        if len(needed) == len(packages):
            return path
        missing = _expand(wanted, find_all(path)).missing
        more = [place for place in packages if place not in needed and any((place.path / n).is_dir() for n in missing)]
        if not more:
            return path
        needed = [place for place in packages if place in needed or place == more[0]]


def find_all(directories: Iterable[Path]) -> Mapping[str, Element]:
    """Every element below the directories of the search path; the first of a name wins."""
    return _find_all(tuple(directories))


@once
def _find_all(directories: tuple[Path, ...]) -> Mapping[str, Element]:
    found: dict[str, Element] = {}
    for directory in directories:
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            path = Path(entry.path).resolve()
            # Like diskimage-builder, which calls an element behind a symbolic link by the name of its directory.
            if path.name not in found and entry.is_dir() and not path.name.startswith(("__", ".")):
                found[path.name] = Element(
                    name=path.name,
                    path=path,
                    depends=_names_in(path / "element-deps"),
                    provides=provided(path),
                )
    return found


def provided(element: Path) -> frozenset[str]:
    """The names of the elements that one takes the place of."""
    return _names_in(element / "element-provides")


def _names_in(path: Path) -> frozenset[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return frozenset()
    return frozenset(line.strip() for line in text.splitlines() if line.strip())


@dataclass
class Expansion:
    """Elements and all that they depend on, whether or not an image can be made of them."""

    chosen: dict[str, None]
    """Names, in the order in which they were met"""
    provider: dict[str, str] = field(default_factory=dict)
    """What is provided -> the element that does"""
    missing: dict[str, str] = field(default_factory=dict)
    """What there is no element of -> who asked for it"""
    conflicts: list[Problem] = field(default_factory=list)

    @property
    def present(self) -> list[str]:
        """The names of the elements, sorted; what another element provides is left out."""
        return sorted(name for name in self.chosen if name not in self.provider and name not in self.missing)


def expand(wanted: Sequence[str], available: Mapping[str, Element]) -> Expansion:
    """Follow the dependencies of elements, as diskimage-builder does."""
    found = _expand(wanted, available)
    found.missing = {name: asker for name, asker in found.missing.items() if name not in found.provider}
    return found


def _expand(wanted: Sequence[str], available: Mapping[str, Element]) -> Expansion:
    found = Expansion(dict.fromkeys(wanted))
    asked_by = dict.fromkeys(wanted, ELEMENT_LIST)
    queue = deque(found.chosen)
    while queue:
        name = queue.popleft()
        if name in found.provider:
            continue
        if (element := available.get(name)) is None:
            # diskimage-builder refuses it, even if an element that it has not come to yet provides it.
            found.missing[name] = asked_by[name]
            continue
        for provided in sorted(element.provides):
            if other := found.provider.get(provided):
                found.conflicts.append(Problem(f"{provided} is provided by both {other} and {name}", "elements"))
            found.provider[provided] = name
        for dependency in sorted(element.depends - found.chosen.keys() - found.provider.keys()):
            queue.append(dependency)
            found.chosen[dependency] = None
            asked_by.setdefault(dependency, f"element {name}")
    return found


def closure(wanted: Sequence[str], available: Mapping[str, Element]) -> list[Element]:
    """The wanted elements and all they depend on, by name; what another element provides is left out.

    :raises InputError: an element is missing, provided twice, or no operating system is among them
    """
    found = _expand(wanted, available)
    problems = [_missing(name, asker, available) for name, asker in found.missing.items()]
    problems += found.conflicts
    problems += [
        Problem(f"element {name} is already provided by {found.provider[name]}", "elements", "leave one of the two out")
        for name in wanted
        if name in found.provider
    ]
    if not problems and "operating-system" not in found.provider:
        hint = "add a distribution's element, e.g. debian-minimal"
        problems.append(Problem("no element provides an operating system", "elements", hint))
    if problems:
        raise InputError(problems)
    return [available[name] for name in found.present]


def _missing(name: str, asked_by: str, available: Mapping[str, Element]) -> Problem:
    close = difflib.get_close_matches(name, available, n=1)
    elsewhere = "set DIB_LOCAL_ELEMENTS_PATH or ELEMENTS_PATH to where it is, or install its package (docs/elements.md)"
    hint = f"did you mean {close[0]}?" if close else elsewhere
    return Problem(f"there is no element {name}", asked_by, hint)


@once
def files(directory: Path) -> tuple[ElementFile, ...]:
    """Everything below an element's directory, but Python's caches and its checks of images.

    Directly in there diskimage-builder follows symbolic links, to hooks as well as to lists of packages.
    """
    # A walk that begins at a link follows that one, and none below.
    linked = [
        entry.path
        for entry in os.scandir(directory)
        if entry.is_symlink() and entry.is_dir() and entry.name != CHECKS_DIRECTORY
    ]
    found = []
    for top in (str(directory), *linked):
        for root, directories, names in os.walk(top):
            unread = {"__pycache__", CHECKS_DIRECTORY} if root == str(directory) else {"__pycache__"}
            directories[:] = sorted(name for name in directories if name not in unread)
            for name in (*directories, *names):
                path = os.path.join(root, name)
                found.append(_file(path, os.path.relpath(path, directory)))
    return tuple(sorted(found, key=lambda file: file.path))


@once
def _file(path: str, relative: str) -> ElementFile:
    if os.path.islink(path):
        leads = f"link to {os.readlink(path)}"
        if os.sep not in relative and os.path.isdir(path):
            return ElementFile(relative, f"directory, {leads}")
        if os.sep in relative or not os.path.isfile(path):
            return ElementFile(relative, leads)
        target = _file(os.path.realpath(path), relative)
        return ElementFile(relative, f"{leads}: {target.value}", target.mentions)
    mode = f"{stat.S_IMODE(os.stat(path).st_mode):04o}"
    if os.path.isdir(path):
        return ElementFile(relative, f"directory mode {mode}")
    with open(path, "rb") as file:
        content = file.read()
    mentions = frozenset(word for word in WATCHED if word.encode() in content)
    return ElementFile(relative, f"sha256:{hashlib.sha256(content).hexdigest()} mode {mode}", mentions)


def are_unchanged(resolved: Iterable[ResolvedElement]) -> bool:
    """Whether the elements are still what they were when they were resolved."""
    return all(files(element.path) == element.files for element in resolved)


def digest(files: Iterable[ElementFile]) -> str:
    """SHA-256 over the names, modes, link targets and contents of files."""
    total = hashlib.sha256()
    for file in files:
        total.update(os.fsencode(f"{file.path}\0{file.value}\0"))
    return f"sha256:{total.hexdigest()}"


def resolve(
    wanted: Sequence[str], directories: Sequence[Path], arch: str, *, skip_base: bool = False
) -> tuple[ResolvedElement, ...]:
    """The closure of the wanted elements as disk-image-create will see it, with all files.

    :param skip_base: ``base`` is not added
    :raises InputError: see :func:`closure`
    """
    chosen = closure([*wanted, *implied(wanted, arch, skip_base=skip_base)], find_all(directories))
    return tuple(_resolved(element, tuple(directories)) for element in chosen)


@once
def _resolved(element: Element, directories: tuple[Path, ...]) -> ResolvedElement:
    found = files(element.path)
    # One with the same content adds nothing to the list.
    shadowed = tuple(file for file in _shadowed(element, directories) if file not in found)
    return ResolvedElement(element.name, element.path, digest((*found, *shadowed)), found, shadowed)


def _shadowed(element: Element, directories: Iterable[Path]) -> Iterator[ElementFile]:
    """package-installs-squash merges the lists of all elements of a name, not the first one's alone."""
    for directory in directories:
        other = (directory / element.name).resolve()
        if other != element.path:
            for name in ("package-installs.json", "package-installs.yaml"):
                if (other / name).is_file():
                    yield _file(str(other / name), name)


def implied(wanted: Sequence[str], arch: str, *, skip_base: bool = False) -> list[str]:
    """What disk-image-create adds by itself: ``base``, and a partition layout where ``vm`` is asked for."""
    added = [] if "base" in wanted or skip_base else ["base"]
    if "vm" in wanted and not any(name.startswith("block-device-") for name in wanted):
        added.append("block-device-efi" if arch in ("arm64", "aarch64") else "block-device-mbr")
    return added


def key_user(names: Collection[str], environment: Mapping[str, str]) -> str | None:
    """Whom ``local-config`` installs SSH keys for (the default is that of ``stackuser``); None: nobody.

    :param names: elements of the image
    """
    if "local-config" not in names:
        return None
    return environment.get("DIB_LOCAL_CONFIG_USERNAME") or ("stack" if "stackuser" in names else None)


def block_device_config(resolved: Iterable[ResolvedElement], arch: str) -> str | None:
    """The text of the partition layout that an element of the closure brings; None where none does."""
    specific = "ppc64el" if arch in ("ppc64le", "ppc64el") else arch
    for name in (f"block-device-{specific}.yaml", "block-device-default.yaml"):
        for element in resolved:
            if text := _text(element.path / name):
                return text
    return None


@once
def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None
