"""Checks of the installed system as a whole."""

from __future__ import annotations

from diskimage_create.model import Expectation
from diskimage_create.validate.registry import Outcome, check, listed, skipped, verdict
from diskimage_create.validate.system.architecture import foreign_machine, machine, machine_names
from diskimage_create.validate.system.os_release import parse_os_release
from diskimage_create.validate.system.packages import read_packages
from diskimage_create.validate.view import ImageView

# Releases whose name moves on: it says nothing about the content of the image.
_MOVING_RELEASES = frozenset({"stable", "testing", "unstable", "sid", "oldstable", "devel", "rawhide"})


@check("os-release", "The distribution and release are those asked for")
def os_release(view: ImageView, expectation: Expectation) -> Outcome:
    """``ID`` in /etc/os-release is the distribution, and the code name or version is the release asked for."""
    text = view.root.read_text("/etc/os-release")
    if text is None:
        return verdict(["there is no /etc/os-release"], "")
    fields = parse_os_release(text)
    found = fields.get("PRETTY_NAME", fields.get("ID", "unknown"))
    problems = []
    if expectation.distribution and fields.get("ID") != expectation.distribution:
        problems.append(f"it is {fields.get('ID')!r} instead of {expectation.distribution!r}")
    elif expectation.release and not _is_release(fields, expectation.release):
        problems.append(f"it is {found} instead of release {expectation.release}")
    return verdict(problems, found)


def _is_release(fields: dict[str, str], release: str) -> bool:
    version = fields.get("VERSION_ID", "")
    # CentOS says 10-stream for what calls itself version 10; minor versions (10.1) come with time.
    wanted = release.removesuffix("-stream")
    names = (fields.get("VERSION_CODENAME", ""), fields.get("UBUNTU_CODENAME", ""), version, version.split(".")[0])
    return release in _MOVING_RELEASES or wanted in names


@check("architecture", "Programs are of the architecture asked for")
def architecture(view: ImageView, expectation: Expectation) -> Outcome:
    """The ELF header of a program that every image has names the architecture asked for."""
    found = machine(view.root)
    if found is None:
        return verdict(["no program was found whose ELF header could be read"], "")
    name = machine_names(*found)[0]
    if expectation.arch is None:
        return skipped(f"{name}; no architecture is known to compare with")
    problem = foreign_machine(*found, expectation.arch)
    return verdict([f"programs are {problem}"] if problem else [], name)


@check("packages", "All required packages are installed, none is half-installed")
def packages(view: ImageView, expectation: Expectation) -> Outcome:
    """The package database has every package that the elements ask for, and no interrupted installation."""
    database = read_packages(view)
    problems = list(database.unfinished)
    if missing := database.missing(expectation.packages):
        problems.append(f"not installed: {listed(missing)}")
    return verdict(problems, f"{len(database.installed)} installed, {len(expectation.packages)} required")
