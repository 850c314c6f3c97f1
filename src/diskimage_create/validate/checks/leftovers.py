"""Checks of what a build leaves behind: caches, tools and traces of its host."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from diskimage_create.certificates import fingerprints_in
from diskimage_create.model import Expectation
from diskimage_create.validate.registry import Outcome, check, listed, passed, skipped, verdict, warned
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.packages import read_packages
from diskimage_create.validate.view import ImageView

_CACHES = (
    "/var/lib/apt/lists",
    "/var/cache/apt",
    "/var/cache/dnf",
    "/var/cache/libdnf5",
    "/var/cache/yum",
    "/root/.cache/pip",
    "/root/.cache/uv",
)

# The package tools make these again, and they are empty.
_EMPTY_BY_NATURE = frozenset({"lock", "expired_solvables.json"})

_COMPILERS = ("build-essential", "gcc", "gcc-[0-9]*", "gcc-c++", "g++", "g++-[0-9]*", "clang", "dkms")
_BUILD_TOOLS = (
    *_COMPILERS, "cpp", "cpp-[0-9]*", "make", "cmake", "git", "git-core", "dpkg-dev", "*-dev", "*-devel", "rust",
    "rustc", "cargo", "binutils",
)  # fmt: skip

# gcc-12-base is documentation that libgcc-s1 depends on.
_NO_BUILD_TOOLS = ("gcc-*-base",)

_CERTIFICATE_FILES = (
    "/usr/local/share/ca-certificates/*",
    "/usr/local/share/ca-certificates/*/*",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/source/anchors/*",
    "/etc/pki/ca-trust/source/*.p11-kit",
    "/etc/pki/ca-trust/extracted/pem/*.pem",
    "/etc/pki/tls/certs/*",
    "/usr/share/pki/ca-trust-source/anchors/*",
)
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem")
_LOCAL_CERTIFICATES = _CERTIFICATE_FILES[:2] + _CERTIFICATE_FILES[3:4]

_PROXY_FILES = (
    "/etc/apt/apt.conf",
    "/etc/apt/apt.conf.d/*",
    "/etc/environment",
    "/etc/profile.d/*",
    "/etc/environment.d/*",
    "/etc/systemd/system.conf.d/*",
    "/etc/dnf/dnf.conf",
    "/etc/yum.conf",
    "/etc/yum.repos.d/*",
    "/etc/pip.conf",
    "/etc/xdg/pip/pip.conf",
    "/root/.config/pip/pip.conf",
    "/root/.pip/pip.conf",
    "/opt/*/pip.conf",
    "/etc/wgetrc",
    "/root/.wgetrc",
    "/root/.curlrc",
    "/etc/gitconfig",
    "/root/.gitconfig",
)

# "http_proxy=URL", "Acquire::http::Proxy "URL";", "proxy = URL", and their like, with a value.
_PROXY = re.compile(
    r"""^(?!\s*(?:\#|//|;)).*?\b(?:\w+_proxy|proxy|acquire::(?:http|https|ftp)::proxy)\b\s*[=:\s]\s*["']?"""
    r"""(?!["';\s]|_none_|none\b|direct\b|\$)\w[^\s]*[.:/]""",
    re.IGNORECASE | re.MULTILINE,
)


@check("package-lists", "No package lists or package caches are left")
def package_lists(view: ImageView, expectation: Expectation) -> Outcome:
    """Lists of apt and caches of apt, dnf, pip and uv are out of date when the image boots, and cost space."""
    found = []
    for cache in [*_CACHES, *view.root.glob("/home/*/.cache/pip"), *view.root.glob("/home/*/.cache/uv")]:
        files = [name for name in view.root.files_below(cache) if name.rpartition("/")[2] not in _EMPTY_BY_NATURE]
        if files:
            found.append(f"{len(files)} files in {cache} ({listed(name.rpartition('/')[2] for name in files[:1])})")
    return verdict(found, "none")


@check("build-dependencies", "No compiler, headers or other build tools are left")
def build_dependencies(view: ImageView, expectation: Expectation) -> Outcome:
    """What was only needed to build is removed again, unless it was asked for: it is space, and help for intruders."""
    found = [name for name in sorted(read_packages(view).installed) if is_build_tool(name)]
    if asked := [name for name in expectation.packages if is_compiler(name)]:
        return passed(f"{listed(asked)} belongs to the image, with all that it needs")
    unasked = [name for name in found if name not in expectation.packages]
    return verdict([f"installed: {listed(unasked)}"] if unasked else [], "none")


def is_build_tool(package: str) -> bool:
    """Whether a package is there to build others."""
    return _is_one_of(package, _BUILD_TOOLS)


def is_compiler(package: str) -> bool:
    """Whether a package is a compiler, or brings one: it depends on other build tools."""
    return _is_one_of(package, _COMPILERS)


def _is_one_of(package: str, patterns: Iterable[str]) -> bool:
    matches = any(fnmatchcase(package, pattern) for pattern in patterns)
    return matches and not any(fnmatchcase(package, pattern) for pattern in _NO_BUILD_TOOLS)


@check("host-certificates", "No CA certificate of the build host is left")
def host_certificates(view: ImageView, expectation: Expectation) -> Outcome:
    """A CA that the host lent to the build is not trusted by the finished image, under whatever name.

    Certificates are compared by the digest of their DER form, in the places where they
    are installed and in the bundles made from those.
    """
    lent = {digest.lower() for digest in expectation.lent_certificates}
    found = [name for name, digests in _certificates(view.root, _CERTIFICATE_FILES) if lent & digests]
    if found:
        return verdict([f"the host's certificates are in {listed(found)}"], "")
    wanted = set(expectation.ca_certificates)
    local = [name for name, digests in _certificates(view.root, _LOCAL_CERTIFICATES) if digests - wanted]
    if local:
        return warned(f"CA certificates beside the distribution's; are they meant to be there? {listed(local)}")
    return verdict([], "none")


@check("custom-ca", "The CA certificates that were asked for are trusted", element="custom-ca")
def custom_ca(view: ImageView, expectation: Expectation) -> Outcome:
    """Each is in the bundle that TLS libraries read, and where the distribution makes that bundle from."""
    wanted = set(expectation.ca_certificates)
    if not wanted:
        return skipped("it is not known which were asked for")
    problems = []
    for what, places in (("the bundle", _BUNDLES), ("the directory of local certificates", _LOCAL_CERTIFICATES)):
        found = set().union(*(digests for _, digests in _certificates(view.root, places)))
        if missing := len(wanted - found):
            problems.append(f"{missing} of {len(wanted)} are not in {what}")
    return verdict(problems, f"{len(wanted)} in the bundle")


def _certificates(root: ImageRoot, patterns: Iterable[str]) -> Iterator[tuple[str, set[str]]]:
    for pattern in patterns:
        for name in root.glob(pattern):
            yield name, set(fingerprints_in(root.read_bytes(name) or b""))


@check("proxies", "No proxy of the build host is configured")
def proxies(view: ImageView, expectation: Expectation) -> Outcome:
    """apt, dnf, pip and the environment know no proxy: the build's is out of reach for an instance."""
    root = view.root
    names = [name for pattern in _PROXY_FILES for name in root.glob(pattern)]
    found = [name for name in names if sets_proxy(root.read_text(name) or "")]
    return verdict([f"set in {listed(found)}"] if found else [], "none")


def sets_proxy(text: str) -> bool:
    """Whether a configuration file sets a proxy; comments and ``DIRECT`` do not count."""
    return _PROXY.search(text) is not None


@check("resolv-conf", "resolv.conf is not the build host's")
def resolv_conf(view: ImageView, expectation: Expectation) -> Outcome:
    """No name server of this host is in the image: there, it answers nobody, and each look-up waits for it."""
    try:
        ours = nameservers(Path("/etc/resolv.conf").read_text())
    except OSError:
        ours = set()
    # Those of a local resolver are the same everywhere.
    ours = {server for server in ours if not _is_loopback(server)}
    if not ours:
        return skipped("this host has no name server of its own to compare with")
    names = view.root.glob("/etc/resolv.conf*")
    found = [name for name in names if ours & nameservers(view.root.read_text(name) or "")]
    return verdict([f"this host's name servers are in {listed(found)}"] if found else [], "none of this host's")


def nameservers(text: str) -> set[str]:
    """The addresses in a resolv.conf."""
    return set(re.findall(r"^[ \t]*nameserver\s+(\S+)", text, re.MULTILINE))


def _is_loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False
