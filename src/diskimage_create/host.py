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

from diskimage_create import architectures, process
from diskimage_create.architectures import Runs

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
_CA_SUFFIXES = frozenset({".crt", ".pem", ".cer"})
_CA_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
)
#: Tools that plans ask for, because others use them where they are installed
_TOOLS = ("arch-test", "mmdebstrap")
PROXY_VARIABLES = tuple(
    spelling for name in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy") for spelling in (name, name.upper())
)


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
    emulated: tuple[str, ...] = ()
    """Architectures whose programs the kernel hands to an emulator, in a chroot too"""
    tools: frozenset[str] = frozenset()
    """Of the tools that plans ask for, those that are installed"""
    apt_sources: tuple[AptSource, ...] = field(default=(), repr=False)
    ca_certificates: tuple[Path, ...] = ()
    """Certificates that an administrator added to those of the distribution"""
    ca_bundle: Path | None = None
    package_index: Mapping[str, str] = field(default_factory=dict, repr=False)
    """pip's and uv's variables, from the environment and pip's configuration files"""
    unreachable_indexes: tuple[str, ...] = ()
    """Index settings that name a path of this host, which a build cannot see"""
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def architectures(self) -> Mapping[str, Runs]:
        """The architectures that this host offers, by Debian's names, and how their programs run; its own first."""
        emulated = {architectures.usual_name(arch): Runs.EMULATED for arch in self.emulated}
        native = dict.fromkeys(architectures.native(self.arch), Runs.NATIVE)
        return {**native, **emulated, **native}

    def mirror(self, distribution: str) -> str | None:
        """The archive that this host itself installs from, when it runs the same distribution."""
        if distribution != self.distribution:
            return None
        uris = [s.uri for s in self.apt_sources if s.suite in (self.codename, "stable", "testing")]
        # Vendors' repositories call their suites so too; only a distribution's archive has updates of them.
        archives = {s.uri for s in self.apt_sources if s.suite.endswith("-updates")}
        return next((uri for uri in uris if uri in archives), uris[0] if uris else None)

    def security_mirror(self, distribution: str) -> str | None:
        """The security archive that this host itself installs from, when it runs the same distribution."""
        if distribution != self.distribution:
            return None
        return next((s.uri for s in self.apt_sources if s.suite.removesuffix("/updates").endswith("-security")), None)


def detect(environ: Mapping[str, str]) -> HostFacts:
    """Read the facts of this host."""
    os_release = _os_release()
    index, unreachable = _package_index(environ)
    return HostFacts(
        arch=machine_architecture(),
        distribution=os_release.get("ID", ""),
        codename=os_release.get("VERSION_CODENAME", ""),
        device_mapper=_has_device_mapper(),
        vfat=_has_file_system("vfat"),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        emulated=architectures.emulated(),
        tools=frozenset(name for name in _TOOLS if process.which(name)),
        apt_sources=tuple(_apt_sources(Path("/etc/apt"))),
        ca_certificates=tuple(sorted(p for d in _CA_DIRECTORIES for p in d.rglob("*") if p.suffix in _CA_SUFFIXES)),
        ca_bundle=ca_bundle(environ),
        package_index=index,
        unreachable_indexes=unreachable,
        proxies={name: environ[name] for name in PROXY_VARIABLES if environ.get(name)},
    )


def how_it_runs(arch: str, host: HostFacts) -> Runs | None:
    """How programs of an architecture, by any of its names, run on a host; None where they do not."""
    return host.architectures.get(architectures.usual_name(arch))


def machine_architecture() -> str:
    """Debian's name of this host's architecture."""
    return MACHINES.get(platform.machine(), platform.machine())


def ca_bundle(environ: Mapping[str, str]) -> Path | None:
    """The file with all CA certificates that this host trusts: the one that a variable names, or the system's."""
    bundle = next((Path(environ[name]) for name in ("SSL_CERT_FILE", "PIP_CERT") if environ.get(name)), None)
    if bundle is not None and bundle.is_file():
        return bundle
    return next((path for path in _CA_BUNDLES if path.is_file()), None)


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
    more = sorted(p for p in (directory / "sources.list.d").glob("*") if p.suffix in (".list", ".sources"))
    for path in [directory / "sources.list", *more]:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found = _deb822_sources(text) if path.suffix == ".sources" else one_line_sources(text)
        yield from (source for source in found if source.uri.startswith(("http://", "https://")))


def _deb822_sources(text: str) -> Iterator[AptSource]:
    from debian.deb822 import Deb822

    for paragraph in Deb822.iter_paragraphs(text):
        if paragraph.get("Enabled", "yes").lower() in ("no", "false", "without", "off", "disable", "0"):
            continue
        if "deb" not in paragraph.get("Types", "").split():
            continue
        for uri in paragraph.get("URIs", "").split():
            for suite in paragraph.get("Suites", "").split():
                yield AptSource(uri, suite)


def one_line_sources(text: str) -> Iterator[AptSource]:
    """The binary packages' places in a file of the one-line format of sources.list(5)."""
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
            # uv does not read pip's variables: it is told what they say.
            values = (environ.get(variable) or environ.get(variables[0]) or configured.get(option, "")).split()
            local = [value for value in values if value.startswith(("/", "file:"))]
            unreachable += local
            if kept := [value for value in values if value not in local]:
                settings[variable] = " ".join(kept)
    return settings, tuple(dict.fromkeys(unreachable))


def _pip_configuration(environ: Mapping[str, str]) -> dict[str, str]:
    """The options of ``pip install`` in pip's configuration files, later files winning, as pip reads them.

    Source: https://pip.pypa.io/en/stable/topics/configuration/ and pip/_internal/configuration.py
    """
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return {}
    home = Path(environ.get("HOME", "/root"))
    system = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    files = [*(Path(directory, "pip/pip.conf") for directory in system if directory), Path("/etc/pip.conf")]
    if not os.path.exists(named):
        files += [home / ".pip/pip.conf", Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "pip/pip.conf")]
    files.append(Path(sys.prefix, "pip.conf"))
    if named:
        files.append(Path(named))
    options: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue
        for section in options.keys() & set(parser.sections()):
            options[section].update((name.replace("_", "-"), value) for name, value in parser.items(section))
    return options["global"] | options["install"]
