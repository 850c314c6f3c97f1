"""Packages of an image: of which kind they are, installing files of packages, updating what is installed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diskimage_create import process
from diskimage_create.containers.buildah import LENT, Container
from diskimage_create.errors import BuildError

Kind = Literal["rpm", "deb"]

#: Prints the kinds of packages that are installed, and whose distribution it is (os-release(5)).
_PROBE = """
rpm --query --all 2>/dev/null | grep -q . && echo has=rpm
dpkg-query --show 2>/dev/null | grep -q . && echo has=deb
sed -n 's/^ID=/is=/p; s/^ID_LIKE=/is=/p' /etc/os-release 2>/dev/null || :
"""
_DEBIAN = frozenset({"debian", "ubuntu"})

#: Both refuse what is older than what is installed, and fetch nothing.
_INSTALL = {
    "rpm": 'exec 2>&1; rpm --upgrade --replacepkgs --verbose "$@"',
    "deb": (
        "exec 2>&1; export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1;"
        ' dpkg --refuse-downgrade --force-confdef --force-confold --install "$@"'
    ),
}
_RPM_FORMAT = r"%{NAME}.%{ARCH} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n"
_DEB_FORMAT = r"${Package}.${Architecture} ${Version}\n"
#: Name and version of the packages in files, and of all that are installed
_DELIVERED = {
    "rpm": f"rpm --query --package --nosignature --queryformat '{_RPM_FORMAT}' \"$@\"",
    "deb": f"for file; do dpkg-deb --show --showformat='{_DEB_FORMAT}' \"$file\"; done",
}
_INSTALLED = {
    "rpm": f"rpm --query --all --queryformat '{_RPM_FORMAT}'",
    # Packages that are unpacked and not configured, or removed, are none.
    "deb": f"dpkg-query --show --showformat='${{db:Status-Status}} {_DEB_FORMAT}' | sed -n 's/^installed //p'",
}

#: $1: a repository; only what it has is updated then, the others may bring what that depends on
_UPDATE_RPM = f"""
set -eu; exec 2>&1
manager=$(command -v dnf || command -v microdnf || command -v yum) || {{ echo "the image has no dnf or yum"; exit 1; }}
options="--setopt=cachedir={LENT}/cache"
case $manager in */dnf) options="$options --setopt=logdir={LENT}/log" ;; esac
if [ -d {LENT}/repositories ]; then options="$options --setopt=reposdir={LENT}/repositories"; fi
repository=$1; set --
if [ "$repository" ]; then
    rpm --query --all --queryformat '%{{NAME}}\\n' | sort -u > {LENT}/installed
    case $manager in */yum) query=repoquery ;; *) query="$manager $options repoquery --quiet" ;; esac
    $query --disablerepo='*' --enablerepo="$repository" --queryformat '%{{name}}\\n' > {LENT}/found
    sort -u {LENT}/found > {LENT}/available
    set -- $(comm -12 {LENT}/installed {LENT}/available)
    if [ $# = 0 ]; then echo "$repository has nothing that is installed"; exit; fi
fi
$manager $options --assumeyes update "$@"
"""
_UPDATE_DEB = f"""
set -eu; exec 2>&1
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
set -- --yes --option APT::Sandbox::User=root \\
    --option Dir::State::Lists={LENT}/lists --option Dir::Cache={LENT}/cache \\
    --option Dpkg::Options::=--force-confdef --option Dpkg::Options::=--force-confold
if [ -d {LENT}/repositories ]; then
    set -- "$@" --option Dir::Etc::SourceList=/dev/null --option Dir::Etc::SourceParts={LENT}/repositories
fi
apt-get "$@" --error-on=any update
apt-get "$@" --with-new-pkgs upgrade
"""
#: A path of the host in a file of repositories: of packages, keys, certificates
_PATH = re.compile(r"(?:(?<=file://)|(?<==)|(?<=: ))/[^\s,;\]$]+")
_REPOSITORY_FILES = ("*.repo", "*.list", "*.sources")


@dataclass(frozen=True)
class Mismatch:
    """A package that an image should have in one version, and has in another, or not at all."""

    package: str
    delivered: str
    installed: tuple[str, ...]

    def __str__(self) -> str:
        has = f"the image has {', '.join(self.installed)}" if self.installed else "the image does not have it"
        return f"{self.package} {self.delivered} was delivered, and {has}"


def kind_of(container: Container) -> Kind:
    """Which kind of packages an image is made of: its own databases say it, and where it has both, os-release(5).

    :raises BuildError: it is made of neither
    """
    lines = container.sh(_PROBE).splitlines()
    has = {line.removeprefix("has=") for line in lines if line.startswith("has=")}
    distributions = {name for line in lines if line.startswith("is=") for name in line[3:].strip("\"'").split()}
    if not has:
        raise BuildError("rpm and dpkg know of no package in it", "use modify_image.yml, and a Dockerfile")
    if len(has) == 2:
        return "deb" if distributions & _DEBIAN else "rpm"
    return "deb" if "deb" in has else "rpm"


def lend(container: Container, files: Iterable[Path]) -> list[str]:
    """Let a container see files of packages; their names there."""
    directory = container.lent / "packages"
    directory.mkdir()
    return [f"{LENT}/packages/{Path(shutil.copy(file, directory)).name}" for file in files]


def install(container: Container, kind: Kind, names: Sequence[str]) -> None:
    """Install files of packages that were lent; nothing else is fetched.

    :raises CommandFailed: e.g. something newer is installed already, or something is missing that they depend on
    """
    container.sh(_INSTALL[kind], *names)


def mismatches(container: Container, kind: Kind, names: Sequence[str]) -> list[Mismatch]:
    """The packages in files, as far as an image does not have just that version of them installed."""
    installed: dict[str, tuple[str, ...]] = {}
    for package, version in _pairs(container.sh(_INSTALLED[kind])):
        installed[package] = (*installed.get(package, ()), version)
    delivered = _pairs(container.sh(_DELIVERED[kind], *names))
    return [
        Mismatch(package, version, installed.get(package, ()))
        for package, version in delivered
        if version not in installed.get(package, ())
    ]


def update(container: Container, kind: Kind, repositories: Path | None, repository: str = "") -> None:
    """Update all packages, with what the image knows of repositories, or a directory of the host does.

    :param repository: update from this one only
    :raises CommandFailed: it failed
    """
    for name in ("cache", "log", "lists/partial"):
        (container.lent / name).mkdir(parents=True)
    volumes = _lend_repositories(container.lent, repositories) if repositories else ()
    container.sh(_UPDATE_RPM if kind == "rpm" else _UPDATE_DEB, repository, volumes=volumes)


def _lend_repositories(lent: Path, directory: Path) -> list[str]:
    """Copy the files of repositories; what of the host they name is lent, too, and named anew."""
    target = lent / "repositories"
    target.mkdir()
    places: dict[str, str] = {}

    def place(found: re.Match[str]) -> str:
        path = found[0].rstrip("/")
        if not Path(path).exists():
            return found[0]
        return places.setdefault(path, f"{LENT}/host-{len(places)}")

    for file in sorted(path for pattern in _REPOSITORY_FILES for path in directory.glob(pattern)):
        (target / file.name).write_text(_PATH.sub(place, file.read_text(encoding="utf-8")), encoding="utf-8")
    for path, seen in places.items():
        # What is mounted needs something to be mounted on.
        point = lent / Path(seen).name
        point.mkdir() if Path(path).is_dir() else point.touch()
    return [f"{path}:{seen}:ro" for path, seen in places.items()]


def same_as_host(container: Container, kind: Kind) -> bool:
    """Whether every package that both have is of the same version on this host."""
    program = "rpm" if kind == "rpm" else "dpkg-query"
    if process.which(program) is None:
        return False
    host = dict(_pairs(process.run(["/bin/sh", "-c", _INSTALLED[kind]]).stdout))
    image = dict(_pairs(container.sh(_INSTALLED[kind])))
    both = host.keys() & image.keys()
    return bool(both) and all(host[name] == image[name] for name in both)


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, version) for name, _, version in (line.partition(" ") for line in text.splitlines()) if version]
