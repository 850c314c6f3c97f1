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
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from diskimage_create.errors import InputError, Problem
from diskimage_create.model import WATCHED, Element, ElementFile, ResolvedElement

#: The elements that come with this project.
OURS = Path(__file__).parent / "elements"


@cache
def builtin() -> Path:
    """The directory of diskimage-builder's own elements, found without importing it."""
    spec = find_spec("diskimage_builder")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations))) / "elements"


def search_path(environ: Mapping[str, str], ours: Path, theirs: Path) -> list[Path]:
    """Where elements are looked for, the first winning: an Octavia checkout, the user's, ours, the libraries'.

    :param environ: names them (docs/cli.md)
    :param ours: the elements that come with this project
    :param theirs: those that come with diskimage-builder
    :raises InputError: a directory that a variable names is not there
    """
    places: list[tuple[str, Path]] = []
    if environ.get("OCTAVIA_REPO_PATH"):
        places.append(("OCTAVIA_REPO_PATH", Path(environ["OCTAVIA_REPO_PATH"], "elements")))
    for variable in ("DIB_LOCAL_ELEMENTS_PATH", "ELEMENTS_PATH"):
        places += [(variable, Path(part)) for part in environ.get(variable, "").split(os.pathsep) if part]
    places.append(("", ours))
    if environ.get("ELEMENTS_REPO_PATH"):
        checkout = Path(environ["ELEMENTS_REPO_PATH"])
        places.append(("ELEMENTS_REPO_PATH", checkout / "elements" if (checkout / "elements").is_dir() else checkout))
    if environ.get("DIB_REPO_PATH"):
        places.append(("DIB_REPO_PATH", Path(environ["DIB_REPO_PATH"], "diskimage_builder/elements")))
    else:
        places.append(("", theirs))
    if missing := [
        Problem(f"directory {path} does not exist", variable, "correct the variable, or unset it")
        for variable, path in places
        if not path.is_dir()
    ]:
        raise InputError(missing)
    return list(dict.fromkeys(path.resolve() for _, path in places))


def find_all(directories: Iterable[Path]) -> dict[str, Element]:
    """Every element below the directories of the search path; the first of a name wins."""
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
                    provides=_names_in(path / "element-provides"),
                )
    return found


def _names_in(path: Path) -> frozenset[str]:
    try:
        return frozenset(line.strip() for line in path.read_text().splitlines() if line.strip())
    except OSError:
        return frozenset()


def closure(wanted: Sequence[str], available: Mapping[str, Element]) -> list[Element]:
    """The wanted elements and all they depend on, by name; what another element provides is left out.

    :raises InputError: an element is missing, provided twice, or no operating system is among them
    """
    problems: list[Problem] = []
    chosen = dict.fromkeys(wanted)
    asked_by = dict.fromkeys(wanted, "the element list")
    provider: dict[str, str] = {}
    queue = deque(chosen)
    while queue:
        name = queue.popleft()
        if name in provider:
            continue
        if (element := available.get(name)) is None:
            problems.append(_missing(name, asked_by[name], available))
            continue
        for provided in sorted(element.provides):
            if provided in provider:
                problems.append(Problem(f"{provided} is provided by both {provider[provided]} and {name}", "elements"))
            provider[provided] = name
        for dependency in sorted(element.depends - chosen.keys() - provider.keys()):
            queue.append(dependency)
            chosen[dependency] = None
            asked_by.setdefault(dependency, f"element {name}")
    problems += [
        Problem(f"element {name} is already provided by {provider[name]}", "elements", "leave one of the two out")
        for name in wanted
        if name in provider
    ]
    if not problems and "operating-system" not in provider:
        hint = "add a distribution's element, e.g. debian-minimal"
        problems.append(Problem("no element provides an operating system", "elements", hint))
    if problems:
        raise InputError(problems)
    return [available[name] for name in sorted(chosen) if name not in provider]


def _missing(name: str, asked_by: str, available: Mapping[str, Element]) -> Problem:
    close = difflib.get_close_matches(name, available, n=1)
    hint = f"did you mean {close[0]}?" if close else "set ELEMENTS_PATH or DIB_LOCAL_ELEMENTS_PATH to where it is"
    return Problem(f"there is no element {name}", asked_by, hint)


def files(directory: Path) -> tuple[ElementFile, ...]:
    """Everything below an element's directory, but Python's caches.

    Directly in there diskimage-builder follows symbolic links, to hooks as well as to lists of packages.
    """
    # A walk that begins at a link follows that one, and none below.
    linked = [entry.path for entry in os.scandir(directory) if entry.is_symlink() and entry.is_dir()]
    found = []
    for top in (str(directory), *linked):
        for root, directories, names in os.walk(top):
            directories[:] = sorted(name for name in directories if name != "__pycache__")
            for name in (*directories, *names):
                path = os.path.join(root, name)
                found.append(_file(path, os.path.relpath(path, directory)))
    return tuple(sorted(found, key=lambda file: file.path))


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


def resolve(wanted: Sequence[str], directories: Sequence[Path], arch: str) -> tuple[ResolvedElement, ...]:
    """The closure of the wanted elements as disk-image-create will see it, with all files.

    :raises InputError: see :func:`closure`
    """
    resolved = []
    for element in closure([*wanted, *implied(wanted, arch)], find_all(directories)):
        found = files(element.path)
        # One with the same content adds nothing to the list.
        shadowed = tuple(file for file in _shadowed(element, directories) if file not in found)
        resolved.append(ResolvedElement(element.name, element.path, digest((*found, *shadowed)), found, shadowed))
    return tuple(resolved)


def _shadowed(element: Element, directories: Sequence[Path]) -> Iterator[ElementFile]:
    """package-installs-squash merges the lists of all elements of a name, not the first one's alone."""
    for directory in directories:
        other = (directory / element.name).resolve()
        if other != element.path:
            for name in ("package-installs.json", "package-installs.yaml"):
                if (other / name).is_file():
                    yield _file(str(other / name), name)


def implied(wanted: Sequence[str], arch: str) -> list[str]:
    """What disk-image-create adds by itself: ``base``, and a partition layout where ``vm`` is asked for."""
    added = [] if "base" in wanted else ["base"]
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
            if (element.path / name).is_file():
                return (element.path / name).read_text()
    return None
