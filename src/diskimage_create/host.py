"""What the machine we run on offers a build, read from files alone: no tool is run, no network asked."""

from __future__ import annotations

import configparser
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: ``uname -m`` -> Debian's name of the architecture
MACHINES = {
    "x86_64": "amd64",
    "i386": "i386",
    "i686": "i386",
    "armv7l": "armhf",
    "aarch64": "arm64",
    "ppc64le": "ppc64le",
}

#: Where administrators put additional CA certificates, by family of the host
_CA_DIRECTORIES = (
    Path("/usr/local/share/ca-certificates"),
    Path("/etc/pki/ca-trust/source/anchors"),
)
_CA_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
)
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


@dataclass(frozen=True)
class AptSource:
    """One place of the host's apt configuration: an archive and a suite of it."""

    uri: str
    suite: str


@dataclass(frozen=True)
class HostFacts:
    """The host, as far as a plan depends on it."""

    arch: str
    distribution: str
    """``ID`` of /etc/os-release"""
    codename: str
    device_mapper: bool
    vfat: bool
    memory_bytes: int
    apt_sources: tuple[AptSource, ...] = ()
    ca_certificates: tuple[Path, ...] = ()
    """Certificates that an administrator added to those of the distribution"""
    ca_bundle: Path | None = None
    package_index: Mapping[str, str] = field(default_factory=dict)
    """pip's and uv's variables, from the environment and pip's configuration files"""
    unreachable_indexes: tuple[str, ...] = ()
    """Index settings that name a path of this host, which a build cannot see"""
    proxies: Mapping[str, str] = field(default_factory=dict)

    def mirror(self, distribution: str) -> str | None:
        """The archive that this host itself installs from, when it runs the same distribution."""
        if distribution != self.distribution:
            return None
        return next((s.uri for s in self.apt_sources if s.suite in (self.codename, "stable", "testing")), None)

    def security_mirror(self, distribution: str) -> str | None:
        """The security archive that this host itself installs from, when it runs the same distribution."""
        if distribution != self.distribution:
            return None
        return next((s.uri for s in self.apt_sources if s.suite.removesuffix("/updates").endswith("-security")), None)


def detect(environ: Mapping[str, str]) -> HostFacts:
    """Read the facts of this host."""
    os_release = _os_release()
    index, unreachable = _package_index(environ)
    bundle = next((Path(environ[name]) for name in ("SSL_CERT_FILE", "PIP_CERT") if environ.get(name)), None)
    if bundle is None or not bundle.is_file():
        bundle = next((path for path in _CA_BUNDLES if path.is_file()), None)
    return HostFacts(
        arch=MACHINES.get(platform.machine(), platform.machine()),
        distribution=os_release.get("ID", ""),
        codename=os_release.get("VERSION_CODENAME", ""),
        device_mapper=_has_device_mapper(),
        vfat=_has_file_system("vfat"),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        apt_sources=tuple(_apt_sources(Path("/etc/apt"))),
        ca_certificates=tuple(sorted(p for d in _CA_DIRECTORIES for p in d.rglob("*") if p.is_file())),
        ca_bundle=bundle,
        package_index=index,
        unreachable_indexes=unreachable,
        proxies={
            spelling: environ[spelling]
            for name in _PROXY_VARIABLES
            for spelling in (name, name.upper())
            if environ.get(spelling)
        },
    )


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _has_device_mapper() -> bool:
    try:
        return any(line.split()[1] == "device-mapper" for line in Path("/proc/misc").read_text().splitlines())
    except OSError:
        return False


def _has_file_system(name: str) -> bool:
    """Whether the kernel has the file system built in, or as a module."""
    if name in Path("/proc/filesystems").read_text().split():
        return True
    modules = Path("/lib/modules", platform.release(), "kernel/fs")
    return any(modules.rglob(f"{name}.ko*"))


def _apt_sources(directory: Path) -> Iterator[AptSource]:
    """Both formats of sources.list(5); only archives that a build can reach too (http, https)."""
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    for path in files:
        try:
            text = path.read_text()
        except OSError:
            continue
        found = _deb822_sources(text) if path.suffix == ".sources" else _one_line_sources(text)
        yield from (source for source in found if source.uri.startswith(("http://", "https://")))


def _deb822_sources(text: str) -> Iterator[AptSource]:
    from debian.deb822 import Deb822

    for paragraph in Deb822.iter_paragraphs(text):
        if paragraph.get("Enabled", "yes").lower() in ("no", "false", "0") or "deb" not in paragraph["Types"].split():
            continue
        for uri in paragraph.get("URIs", "").split():
            for suite in paragraph.get("Suites", "").split():
                yield AptSource(uri, suite)


def _one_line_sources(text: str) -> Iterator[AptSource]:
    for line in text.splitlines():
        if match := re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line.strip()):
            yield AptSource(match[1], match[2])


# pip's option -> the variables by which pip and uv know it
_INDEX_OPTIONS = {
    "index-url": ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
    "extra-index-url": ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
    "find-links": ("PIP_FIND_LINKS", "UV_FIND_LINKS"),
    "trusted-host": ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
}


def _package_index(environ: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """pip's and uv's index settings, and those of them that a build cannot reach."""
    configured = _pip_configuration(environ)
    settings: dict[str, str] = {}
    unreachable: list[str] = []
    for option, variables in _INDEX_OPTIONS.items():
        for variable in variables:
            values = (environ.get(variable) or configured.get(option, "")).split()
            local = [value for value in values if value.startswith(("/", "file:"))]
            unreachable += local
            if kept := [value for value in values if value not in local]:
                settings[variable] = " ".join(kept)
    return settings, tuple(dict.fromkeys(unreachable))


def _pip_configuration(environ: Mapping[str, str]) -> dict[str, str]:
    """The ``[global]`` options of pip's configuration files, later files winning, as pip reads them.

    Source: https://pip.pypa.io/en/stable/topics/configuration/
    """
    home = Path(environ.get("HOME", "/root"))
    files = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        Path(environ.get("XDG_CONFIG_HOME", home / ".config")) / "pip/pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    if environ.get("PIP_CONFIG_FILE"):
        files.append(Path(environ["PIP_CONFIG_FILE"]))
    options: dict[str, str] = {}
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path)
        except (OSError, configparser.Error):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                options.update(parser.items(section))
    return options
