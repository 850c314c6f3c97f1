"""Two small container images to change, one of Debian's packages and one of RPMs, and packages to change them with.

The root file system of both is Debian's, with dnf and rpm in it. What only one of the two families has is made here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mirror import make_package

#: Of Debian's packages, besides the programs of the command itself
TOOLS = (
    "buildah",
    "skopeo",
    "podman",
    "mmdebstrap",
    "rpmbuild",
    "createrepo_c",
    "dpkg-scanpackages",
    "docker-registry",
)
#: What containers have no use for; the smaller they are, the faster is everything
_LEFT_OUT = ("doc/*", "locale/*", "man/*", "i18n/*", "zoneinfo/*")
_FENCE = ("unshare", "--fork", "--pid", "--mount-proc", "--mount", "--")
#: Hosts of tests may have no systemd, and cgroups of both versions at once, which crun refuses
_PODMAN = ("podman", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "runc")


def skip_where_none_can_be_made() -> None:
    """Skip the test on a host that cannot make images."""
    if os.geteuid() != 0:
        pytest.skip("making root file systems needs root")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"making images needs {', '.join(missing)}")


@dataclass(frozen=True)
class Storage:
    """A storage of container images, which stands in for the host's."""

    directory: Path

    def __post_init__(self) -> None:
        self.directory.mkdir()
        places = {"driver": "overlay", "graphroot": f"{self.directory}/root", "runroot": f"{self.directory}/run"}
        lines = [f"{name} = {json.dumps(value)}" for name, value in places.items()]
        self.configuration.write_text("\n".join(["[storage]", *lines, ""]))

    @property
    def configuration(self) -> Path:
        return self.directory / "storage.conf"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which container tools, and ours, use it."""
        return {"CONTAINERS_STORAGE_CONF": str(self.configuration)}

    def buildah(self, *arguments: str | Path) -> str:
        return output_of(*_FENCE, "buildah", *arguments, env=self.environment)

    def run(self, image: str, *command: str) -> str:
        """What a container of an image prints, as podman runs it on a node."""
        limits = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768")
        options = ("--rm", "--network", "none", "--pull=never", *limits)
        return output_of(*_FENCE, *_PODMAN, "run", *options, image, *command, env=self.environment)

    def pull(self, image: str) -> str:
        """Fetch an image from a registry on loopback, as a node does; its name."""
        output_of(*_FENCE, *_PODMAN, "pull", "--quiet", "--tls-verify=false", image, env=self.environment)
        return image

    def inspect(self, image: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.buildah("inspect", "--type", "image", image))
        return found

    @property
    def images(self) -> list[str]:
        return sorted(self.buildah("images", "--format", "{{.Name}}:{{.Tag}}").split())

    @property
    def containers(self) -> list[str]:
        return self.buildah("containers", "--quiet").split()


def output_of(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a program prints; it must not fail."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def make_bases(storage: Storage, work: Path) -> None:
    """``localhost/deb:1`` and ``localhost/rpm:1``. Both run as nobody, and have the package thing 1.0-1."""
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{path}" for path in _LEFT_OUT]
    root = work / "root.tar"
    hook = 'rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/etc/apt/sources.list'
    command = ("mmdebstrap", "--quiet", "--variant=apt", "--include=dnf,rpm,python3-pip", *left_out)
    options = ("--aptopt=Apt::Install-Recommends 0", f"--customize-hook={hook}")
    output_of(*command, *options, "bookworm", root)
    make_package(work, "thing", "1.0-1")
    make_rpm(work, "thing", "1.0", "1")
    image = storage.buildah("from", "scratch").strip()
    storage.buildah("add", "--quiet", image, root, "/")
    root.unlink()
    _in_container(storage, image, work, "dpkg --install /mnt/thing_1.0-1_all.deb")
    _commit(storage, image, "localhost/deb:1")
    # Debian's rpm would keep its database in the home of whoever calls it.
    like_centos = """
        rm -rf /var/lib/dpkg
        mkdir -p /etc/rpm /var/lib/rpm; echo '%_dbpath /var/lib/rpm' > /etc/rpm/macros
        rpm --initdb; rpm --install /mnt/thing-1.0-1.noarch.rpm
        rm -f /etc/os-release; printf 'ID="centos"\\nID_LIKE="rhel fedora"\\n' > /etc/os-release
    """
    _in_container(storage, image, work, like_centos)
    _commit(storage, image, "localhost/rpm:1")
    storage.buildah("rm", image)


def _in_container(storage: Storage, container: str, lent: Path, script: str) -> None:
    options = ("--isolation", "chroot", "--user", "root", "--volume", f"{lent}:/mnt")
    storage.buildah("run", *options, container, "--", "sh", "-ec", script)


def _commit(storage: Storage, container: str, name: str) -> None:
    storage.buildah("config", "--user", "nobody", "--label", "version=1", container)
    storage.buildah("commit", "--quiet", container, name)


def make_rpm(directory: Path, name: str, version: str, release: str, more: str = "") -> Path:
    """A package of one file, ``/usr/share/NAME``, that says its version."""
    spec = directory / f"{name}.spec"
    spec.write_text(
        f"Name: {name}\nVersion: {version}\nRelease: {release}\nSummary: of a test\nLicense: none\nBuildArch: noarch\n"
        f"{more}\n%description\nOf a test.\n%install\nmkdir -p %{{buildroot}}/usr/share\n"
        f"echo {version}-{release} > %{{buildroot}}/usr/share/{name}\n%files\n/usr/share/{name}\n"
    )
    places = ("--define", f"_topdir {directory}/rpmbuild", "--define", f"_rpmdir {directory}")
    output_of("rpmbuild", "--quiet", "-bb", *places, "--define", "_build_name_fmt %%{NVRA}.rpm", spec)
    spec.unlink()
    return directory / f"{name}-{version}-{release}.noarch.rpm"


def rpm_repository(directory: Path, packages: Sequence[tuple[str, str, str]]) -> Path:
    """A repository of RPMs; a directory with the file that names it to dnf."""
    directory.mkdir(parents=True)
    for name, version, release in packages:
        make_rpm(directory, name, version, release)
    output_of("createrepo_c", "--quiet", directory)
    configuration = directory.with_name(f"{directory.name}.repos.d")
    configuration.mkdir()
    (configuration / "own.repo").write_text(f"[own]\nname=own\nbaseurl=file://{directory}\ngpgcheck=0\nenabled=1\n")
    return configuration


def deb_repository(directory: Path, packages: Sequence[tuple[str, str]]) -> Path:
    """A repository of Debian packages; a directory with the file that names it to apt."""
    directory.mkdir(parents=True)
    for name, version in packages:
        make_package(directory, name, version)
    (directory / "Packages").write_text(output_of("dpkg-scanpackages", ".", cwd=directory))
    configuration = directory.with_name(f"{directory.name}.sources.d")
    configuration.mkdir()
    (configuration / "own.list").write_text(f"deb [trusted=yes] file://{directory} ./\n")
    return configuration
