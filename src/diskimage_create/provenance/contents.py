"""Gathering what an image is made of, while it is open anyway or from any image."""

from __future__ import annotations

from pathlib import Path

from diskimage_create import as_root, process
from diskimage_create.errors import InputError, Problem
from diskimage_create.provenance.debian import debian_packages
from diskimage_create.provenance.distributions import python_distributions
from diskimage_create.provenance.licences import Licences
from diskimage_create.provenance.model import Contents, from_json
from diskimage_create.provenance.rpm import rpm_packages
from diskimage_create.validate.image import open_image, require_file
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.os_release import read_os_release
from diskimage_create.validate.system.packages import DPKG_STATUS, no_database, rpm_database, rpm_rows
from diskimage_create.validate.view import Damaged, ImageView, Unavailable
from diskimage_create.workspace import workspace


def gather(view: ImageView) -> Contents:
    """All packages and Python distributions of an open image.

    :raises Unavailable: it has no root file system, or no package database that can be read here
    """
    root, system = view.root, _system(view.root)
    distribution, python = Licences("debian"), Licences("pypi")
    status = root.read_text(DPKG_STATUS)
    if status is not None:
        packages = list(debian_packages(root, status, system, distribution))
    elif database := rpm_database(root):
        distribution = Licences("rpm")
        (rows,) = rpm_rows(database, view.workspace, "SELECT blob FROM Packages")
        packages = list(rpm_packages((row[0] for row in rows), system, distribution))
    else:
        raise Unavailable(no_database(root))
    found = {component.purl: component for component in (*packages, *python_distributions(root, python))}
    references = {**distribution.references, **python.references}
    return Contents(system, tuple(found[purl] for purl in sorted(found)), dict(sorted(references.items())))


def read_contents(image: Path) -> Contents:
    """The contents of an image file of any type, as root sees it.

    :raises InputError: there is no such image, it is damaged, or has no packages that can be read here
    :raises HostError: this host cannot open images
    """
    if not process.is_root() and image.is_file():
        return from_json(as_root.ask("diskimage_create.provenance.as_root", {"image": str(image.resolve())}))
    require_file(image)
    with workspace() as work:
        try:
            with open_image(image, workspace=work.tmp) as view:
                return gather(view)
        except (Damaged, Unavailable) as reason:
            raise InputError([Problem(str(reason), str(image))]) from None


def _system(root: ImageRoot) -> dict[str, str]:
    """What os-release(5) says, in the fields that are used here."""
    wanted = ("ID", "VERSION_ID", "VERSION_CODENAME", "PRETTY_NAME")
    return {name: value for name, value in read_os_release(root).items() if name in wanted}
