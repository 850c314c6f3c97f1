"""What jobs take along to workers: elements and CA certificates of the user's, in one archive behind a URL.

The archive is called by the digest of its content, so whoever has one has the right one, and it is brought once.
"""

from __future__ import annotations

import os
import tarfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diskimage_create import filesystems
from diskimage_create.digests import sha256
from diskimage_create.errors import RemoteError
from diskimage_create.farm.jobs import Job

#: Variables that name directories of the user's elements (``places.named``)
_ELEMENTS = ("DIB_LOCAL_ELEMENTS_PATH", "ELEMENTS_PATH")
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

    :raises RemoteError: the place refuses it
    """
    paths = {str(path): f"{number}/{path.name}" for number, path in enumerate(dict.fromkeys(_named(jobs)))}
    if not paths:
        return None
    wanted = {element.name for job in jobs for element in job.plan.resolved}
    with TemporaryDirectory(prefix="diskimage-create-") as directory:
        archive = Path(directory, "archive")
        _pack(archive, paths, wanted)
        name = f"bundle-{sha256(archive)}.tar"
        with filesystems.opened(url) as (system, place):
            _put(system, archive, f"{place}/{name}")
    return Bundle(name, paths)


def fetch(bundle: Bundle, url: str, directory: Path) -> None:
    """Unpack what a job has taken along in a new directory.

    :raises RemoteError: it is not there, or damaged
    """
    archive = directory.with_suffix(".tar")
    try:
        with filesystems.opened(url) as (system, place):
            system.get_file(f"{place}/{bundle.name}", str(archive))
        if bundle.name != f"bundle-{sha256(archive)}.tar":
            raise RemoteError(f"{url}/{bundle.name} is damaged", "remove it, and build again")
        with tarfile.open(archive) as packed:
            # The digest says that it is the user's, who decides anyway what runs here; modes are part of elements.
            packed.extractall(directory, filter="fully_trusted")  # noqa: S202
    except FileNotFoundError:
        hint = "--artifacts has to be the same place for all machines"
        raise RemoteError(f"the user's elements are not at {url}", hint) from None
    finally:
        archive.unlink(missing_ok=True)


def placed(request: Mapping[str, Any], bundle: Bundle, directory: Path) -> dict[str, Any]:
    """A request (``jobs.as_json``) whose paths lead to what was unpacked."""

    def moved(text: str) -> str:
        inside = bundle.paths.get(_absolute(text, request["cwd"]))
        return str(directory / inside) if inside else text

    environ, options = dict(request["environ"]), dict(request["options"])
    for variable in _ELEMENTS:
        if environ.get(variable):
            environ[variable] = os.pathsep.join(map(moved, environ[variable].split(os.pathsep)))
    if options.get(_CERTIFICATES):
        options[_CERTIFICATES] = list(map(moved, options[_CERTIFICATES]))
    return {**request, "environ": environ, "options": options}


def _named(jobs: Iterable[Job]) -> Iterator[Path]:
    """The directories and files that requests name."""
    for job in jobs:
        request = job.request
        parts = [part for variable in _ELEMENTS for part in request.environ.get(variable, "").split(os.pathsep) if part]
        for text in (*parts, *(request.options.get(_CERTIFICATES) or ())):
            yield Path(_absolute(str(text), str(request.cwd)))


def _absolute(text: str, cwd: str) -> str:
    return os.path.abspath(os.path.join(cwd, os.path.expanduser(text)))


def _pack(archive: Path, paths: Mapping[str, str], wanted: set[str]) -> None:
    """Write an archive that depends on its content alone; of a directory it has the elements that are wanted."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as packed:
        for path, inside in paths.items():
            if os.path.isdir(path):
                packed.addfile(_directory(inside))
                for element in sorted({entry.resolve() for entry in Path(path).iterdir()}):
                    if element.name in wanted and element.is_dir():
                        packed.add(element, f"{inside}/{element.name}", filter=_content)
            else:
                packed.add(os.path.realpath(path), inside, filter=_content)


def _content(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """A member without what says when and by whom it was written."""
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if os.path.basename(member.name) == _CACHE else member


def _directory(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    return member


def _put(system: Any, archive: Path, place: str) -> None:
    if system.exists(place):
        return
    new = f"{place}.{uuid.uuid4().hex}"
    system.makedirs(os.path.dirname(place), exist_ok=True)
    try:
        system.put_file(str(archive), new)
        system.mv(new, place)
    except BaseException:
        with suppress(OSError):
            system.rm(new)
        raise
