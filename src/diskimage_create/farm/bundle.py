"""What jobs take along to workers: elements and CA certificates of the user's, in one archive behind a URL.

The archive is called by the digest of its content, so whoever has one has the right one, and it is brought once.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diskimage_create import elements, filesystems
from diskimage_create.digests import sha256
from diskimage_create.errors import InputError, Problem, RemoteError
from diskimage_create.farm.jobs import Job
from diskimage_create.request import Reader, Request

#: Variables that name directories of the user's elements (``places.named``)
_ELEMENTS = frozenset({"DIB_LOCAL_ELEMENTS_PATH", "ELEMENTS_PATH"})
_CERTIFICATES = "ca_certificate"
#: Left by Python; the digests of elements leave it out, too
_CACHE = "__pycache__"


@dataclass(frozen=True)
class Bundle:
    """An archive with what jobs take along."""

    name: str
    """Of the archive, below the URL"""
    paths: Mapping[str, str]
    """Path on the user's machine -> path in the archive"""


def bring(jobs: Sequence[Job], url: str) -> Bundle | None:
    """Pack what the jobs need of the user's, if anything, and bring it to a URL, unless it is there.

    :param jobs: whose requests are :func:`absolute`
    :raises InputError: an element is not all of itself
    :raises RemoteError: the place refuses it
    """
    paths = {path: f"{number}/{os.path.basename(path)}" for number, path in enumerate(dict.fromkeys(_named(jobs)))}
    if not paths:
        return None
    resolved = {element.path: element.name for job in jobs for element in job.plan.resolved}
    # What another one provides takes part in working out what an image is made of.
    wanted = {name for path, own in resolved.items() for name in (own, *elements.provided(path))}
    with TemporaryDirectory(prefix="diskimage-create-") as directory:
        archive = Path(directory, "archive")
        _pack(archive, paths, wanted)
        name = f"bundle-{sha256(archive)}.tar"
        with _opened(url) as (system, place):
            if not system.exists(f"{place}/{name}"):
                filesystems.make_directory(system, place, private=True)
                with filesystems.renamed(system, f"{place}/{name}") as new:
                    system.put_file(str(archive), new)
    return Bundle(name, paths)


def fetch(bundle: Bundle, url: str, directory: Path) -> None:
    """Unpack what a job has taken along in a new directory.

    :raises RemoteError: it is not there, or damaged
    """
    archive = directory.with_suffix(".tar")
    try:
        with _opened(url) as (system, place):
            if not system.exists(f"{place}/{bundle.name}"):
                hint = "--artifacts has to be the same place for all machines, and one that they may read"
                raise RemoteError(f"the user's elements are not at {url}", hint)
            system.get_file(f"{place}/{bundle.name}", str(archive))
        if bundle.name != f"bundle-{sha256(archive)}.tar":
            raise RemoteError(f"{url}/{bundle.name} is damaged", "remove it, and build again")
        with tarfile.open(archive) as packed:
            # The digest says that it is the user's, who decides anyway what runs here; modes are part of elements.
            packed.extraction_filter = lambda member, _: member
            packed.extractall(directory)  # noqa: S202
    finally:
        archive.unlink(missing_ok=True)


@contextmanager
def _opened(url: str) -> Iterator[tuple[Any, str]]:
    try:
        with filesystems.opened(url) as found:
            yield found
    except OSError as error:
        hint = "the user and all workers have to be allowed to write there"
        raise RemoteError(f"{error.filename or url}: {error.strerror or error}", hint) from None


def placed(request: Mapping[str, Any], bundle: Bundle, directory: Path) -> dict[str, Any]:
    """A request (:func:`absolute`, as JSON) whose paths lead to what was unpacked."""

    def moved(text: str) -> str:
        inside = bundle.paths.get(text)
        return str(directory / inside) if inside else text

    environ, options = dict(request["environ"]), dict(request["options"])
    for variable in _ELEMENTS & environ.keys():
        environ[variable] = os.pathsep.join(map(moved, environ[variable].split(os.pathsep)))
    if options.get(_CERTIFICATES):
        options[_CERTIFICATES] = list(map(moved, options[_CERTIFICATES]))
    return {**request, "environ": environ, "options": options}


def absolute(request: Request) -> Request:
    """A request that names all that goes along by its absolute path."""
    environ, options = dict(request.environ), dict(request.options)
    for variable in _ELEMENTS & environ.keys():
        parts = [str(request.cwd / part) for part in environ[variable].split(os.pathsep) if part]
        environ[variable] = os.pathsep.join(map(os.path.abspath, parts))
    if files := options.get(_CERTIFICATES):
        options[_CERTIFICATES] = [str(Reader(request).path(str(file))) for file in files]
    return replace(request, environ=environ, options=options)


def _named(jobs: Iterable[Job]) -> Iterator[str]:
    """The directories and files that requests name."""
    for job in jobs:
        request = job.request
        for variable in sorted(_ELEMENTS & request.environ.keys()):
            yield from filter(None, request.environ[variable].split(os.pathsep))
        yield from request.options.get(_CERTIFICATES) or ()


def _pack(archive: Path, paths: Mapping[str, str], wanted: set[str]) -> None:
    """Write an archive that depends on its content alone; of a directory it has the elements that are wanted."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as packed:
        for path, inside in paths.items():
            if os.path.isdir(path):
                packed.addfile(_directory(inside))
                for element in _elements(Path(path), wanted):
                    packed.add(element, f"{inside}/{element.name}", filter=_content)
            else:
                packed.add(os.path.realpath(path), inside, filter=_content)


def _elements(directory: Path, wanted: set[str]) -> Iterable[Path]:
    """The elements of a directory that are wanted, as a build finds them.

    :raises InputError: names links that lead out of them, which would lead to something else elsewhere
    """
    found = [element.path for name, element in elements.find_all([directory]).items() if name in wanted]
    hint = "copy what it leads to into the element, or build without --scheduler"
    if problems := [
        Problem(f"the link leads out of the element {element.name}, and does not go along", str(link), hint)
        for element in found
        for link in _links_out(element)
    ]:
        raise InputError(problems)
    return found


def _links_out(element: Path) -> Iterator[Path]:
    """Links that a build follows: files of hooks and of the element itself. Others are part of the image."""
    for root, directories, files in os.walk(element):
        for name in (*directories, *files):
            link = Path(root, name)
            first = link.relative_to(element).parts[0]
            if link.is_symlink() and (root == str(element) or first.endswith(".d")):
                leads = os.readlink(link)
                there = os.path.normpath(os.path.join(root, leads))
                if os.path.isabs(leads) or not Path(there).is_relative_to(element):
                    yield link


def _content(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """A member without what says when and by whom it was written."""
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if os.path.basename(member.name) == _CACHE else member


def _directory(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    return member
