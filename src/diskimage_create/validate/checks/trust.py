"""Checks of what an image trusts, and how well it is protected: package signatures, TLS, the kernel."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from diskimage_create.model import Expectation, Severity
from diskimage_create.validate.registry import Outcome, check, listed, verdict
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.grub import boot_entries, grub_config
from diskimage_create.validate.system.packages import DPKG_STATUS
from diskimage_create.validate.system.sysctl import read_sysctl
from diskimage_create.validate.view import ImageView

#: Not \s at the start of a line: a file of blank lines would be read once for each of them
_EACH_LINE = re.MULTILINE | re.IGNORECASE

_APT_INSECURE = re.compile(
    r"^[ \t]*(?:APT::Get::(?:AllowUnauthenticated|Force-Yes)|Acquire::(?:AllowInsecureRepositories"
    r"|AllowDowngradeToInsecureRepositories)|Acquire::https?::(?:\S+::)?Verify-(?:Peer|Host))\s+\"?(\w+)",
    _EACH_LINE,
)
_TRUSTED_LIST = re.compile(
    r"^[ \t]*deb(?:-src)?\s+\[[^\]\n]*\b(?:trusted|allow-insecure)=(?:yes|true|1|on)\b", _EACH_LINE
)
_TRUSTED_SOURCES = re.compile(r"^(?:Trusted|Allow-Insecure):\s*(?:yes|true|1|on)\b", _EACH_LINE)
_DNF_OFF = re.compile(r"^[ \t]*(gpgcheck|sslverify|pkg_gpgcheck)\s*=\s*(?:0|no|false|off)\b", _EACH_LINE)
_DNF_DISABLED = re.compile(r"^[ \t]*enabled\s*=\s*(?:0|no|false|off)\b", _EACH_LINE)

#: Packages of the distributions' own keys, whose files apt trusts for every archive
_KEY_PACKAGES = ("debian-archive-keyring", "debian-ports-archive-keyring", "ubuntu-keyring", "ubuntu-pro-client")
_KEY_NAMES = re.compile(r"/(?:debian-(?:archive|ports)|ubuntu-(?:keyring|pro|advantage|master))-[\w.-]+\.(?:asc|gpg)$")

#: The build's variables that bring keys, and where diskimage-builder's elements and ours put them
_ADDED_KEYS = (
    (
        re.compile(r'^declare -x DIB_(?:APT|DEBIAN)_KEYRING="[^"]', re.MULTILINE),
        re.compile(r"/(?:trusted\.gpg|dib-apt-keyring\.(?:asc|gpg))$"),
    ),
    (re.compile(r'^declare -x DIB_ADD_APT_KEYS="[^"]', re.MULTILINE), re.compile(r"/trusted\.gpg\.d/")),
)

_OLD_TLS = re.compile(r"^[ \t]*(?:TLS\.|DTLS\.)?MinProtocol\s*=\s*(SSLv3|None|TLSv1(?:\.[01])?|DTLSv1)\s*$", re.M)
_LOW_LEVEL = re.compile(r"^[ \t]*Cipher(?:String|s)\s*=.*@SECLEVEL=([01])\b", re.MULTILINE)

#: Arguments of the kernel that take protection away (Documentation/admin-guide/kernel-parameters.txt)
_WEAK_ARGUMENTS = re.compile(
    r"(?:^|\s)(mitigations=off|nokaslr|nopti|pti=off|nospectre_v[12]|spectre_v2=off|spec_store_bypass_disable=off"
    r"|l1tf=off|mds=off|tsx_async_abort=off|nosmep|nosmap|noexec=off|selinux=0|apparmor=0|systemd\.debug_shell(?:=\S*)?"
    r"|module\.sig_enforce=0|init=/(?:usr/)?bin/\w*sh)(?=\s|$)"
)

#: Parameter -> the values that weaken a system, and what they let others do
_WEAK_PARAMETERS: dict[str, tuple[tuple[str, ...], str]] = {
    "kernel.randomize_va_space": (("0", "1"), "addresses can be foreseen"),
    "kernel.sysrq": (("1",), "a key at the console does anything"),
    "kernel.unprivileged_bpf_disabled": (("0",), "every user loads BPF programs"),
    "fs.protected_symlinks": (("0",), "links in /tmp are followed for others"),
    "fs.protected_hardlinks": (("0",), "links to others' files can be made"),
    "fs.suid_dumpable": (("1",), "core dumps of setuid programs belong to their caller"),
    "net.ipv4.conf.all.accept_source_route": (("1",), "senders choose the route"),
    "net.ipv4.conf.all.accept_redirects": (("1",), "neighbours change the routes"),
    "net.ipv4.conf.default.accept_source_route": (("1",), "senders choose the route"),
    "net.ipv4.tcp_syncookies": (("0",), "a flood of SYN packets fills the queue"),
    "vm.mmap_min_addr": (("0",), "null pointers of the kernel can be mapped"),
}
_CORE_LIMIT = re.compile(r"^[ \t]*(?:\*|root)\s+(?:soft|hard|-)\s+core\s+(?:unlimited|-1|[1-9]\d*)", re.MULTILINE)
_CORE_DEFAULT = re.compile(r"^[ \t]*DefaultLimitCORE\s*=\s*(?!0\b)\S*(?:infinity|[1-9])", re.MULTILINE)


@check("package-signatures", "Only packages that the distribution signed can be installed")
def package_signatures(view: ImageView, expectation: Expectation) -> Outcome:
    """apt and dnf check signatures, for every source, and apt trusts no key for all sources but the distribution's.

    Without a signature, whoever sits between an instance and its mirror installs programs as
    root. A third party's key belongs into /etc/apt/keyrings and is named by its source
    (``Signed-By``): in /etc/apt/trusted.gpg.d it vouches for every package of the distribution too.
    A key that the build was given (``DIB_APT_KEYRING``, ``DIB_ADD_APT_KEYS``) was asked for.
    """
    root = view.root
    problems = [*_apt_problems(root), *_dnf_problems(root)]
    if foreign := sorted(_foreign_keys(root)):
        problems.append(f"trusted for every source: {listed(foreign)}")
    return verdict(problems, "all are checked")


def _apt_problems(root: ImageRoot) -> Iterator[str]:
    for name in [*root.glob("/etc/apt/sources.list"), *root.glob("/etc/apt/sources.list.d/*")]:
        text = root.read_text(name) or ""
        if (_TRUSTED_SOURCES if name.endswith(".sources") else _TRUSTED_LIST).search(text):
            yield f"{name} trusts a source without a signature"
    for name in [*root.glob("/etc/apt/apt.conf"), *root.glob("/etc/apt/apt.conf.d/*")]:
        for found in _APT_INSECURE.finditer(root.read_text(name) or ""):
            # Of what is verified it is the other way round.
            off = found[1].lower() in ("false", "0", "no", "off", "without")
            if off == ("verify" in found[0].lower()):
                yield f"{name} sets {' '.join(found[0].split())}"


def _dnf_problems(root: ImageRoot) -> Iterator[str]:
    for name in [*root.glob("/etc/dnf/dnf.conf"), *root.glob("/etc/yum.conf"), *root.glob("/etc/yum.repos.d/*.repo")]:
        for section in re.split(r"^(?=\[)", root.read_text(name) or "", flags=re.MULTILINE):
            if (found := _DNF_OFF.search(section)) and not _DNF_DISABLED.search(section):
                yield f"{name} {section.split()[0]} sets {' '.join(found[0].split())}"


def _foreign_keys(root: ImageRoot) -> set[str]:
    """Keys that apt trusts for every source, which are not those of the distribution's package."""
    keys = {name for name in root.glob("/etc/apt/trusted.gpg.d/*") if name.endswith((".gpg", ".asc"))}
    if root.read_bytes("/etc/apt/trusted.gpg", limit=1):
        keys.add("/etc/apt/trusted.gpg")
    own = {name for name in keys if _KEY_NAMES.search(name)}
    recorded = _recorded_digests(root) if keys else {}
    changed = {
        name
        for name in own & recorded.keys()
        if hashlib.md5(root.read_bytes(name) or b"", usedforsecurity=False).hexdigest() != recorded[name]
    }
    manifest = root.read_text("/etc/dib-manifests/dib_environment") or ""
    asked = {
        name
        for variable, place in _ADDED_KEYS
        if variable.search(manifest)
        for name in keys - own
        if place.search(name)
    }
    return (keys - own - asked) | changed


def _recorded_digests(root: ImageRoot) -> dict[str, str]:
    """Name -> MD5 of the configuration files of the packages of keys, as dpkg keeps them."""
    recorded: dict[str, str] = {}
    for paragraph in (root.read_text(DPKG_STATUS) or "").split("\n\n"):
        if paragraph.startswith(tuple(f"Package: {name}\n" for name in _KEY_PACKAGES)):
            recorded.update(re.findall(r"^ (/\S+) ([0-9a-f]{32})$", paragraph, re.MULTILINE))
    return recorded


@check("tls-minimum", "Old versions of TLS and weak ciphers are not let back in", severity=Severity.WARNING)
def tls_minimum(view: ImageView, expectation: Expectation) -> Outcome:
    """The libraries' own limits are in force: no TLS before 1.2, no security level below that of the distribution.

    Looked at are OpenSSL's configuration and the crypto policy of the redhat family. A single
    peer that needs less should get it in its own configuration.
    """
    root = view.root
    problems = []
    for name in ("/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf"):
        text = root.read_text(name) or ""
        problems += [f"{name} sets {' '.join(found[0].split())}" for found in _OLD_TLS.finditer(text)]
        problems += [f"{name} sets SECLEVEL={found[1]}" for found in _LOW_LEVEL.finditer(text)]
    if (policy := (root.read_text("/etc/crypto-policies/config") or "").strip()).startswith(("LEGACY", "EMPTY")):
        problems.append(f"the crypto policy is {policy}")
    return verdict(problems, "TLS 1.2, or what the distribution has")


@check("kernel-hardening", "The kernel's protections are not switched off", severity=Severity.WARNING)
def kernel_hardening(view: ImageView, expectation: Expectation) -> Outcome:
    """No argument of the kernel, no sysctl and no limit takes away what distributions have switched on.

    Looked at are the boot loader's entries (``mitigations=off`` and its like), sysctl.d with the order
    in which systemd reads it, and core dumps that everybody's programs leave on the disk, with whatever
    was in their memory.
    """
    root = view.root
    config = grub_config(root)
    entries = boot_entries(root, config) if config else ()
    arguments = sorted({word for entry in entries for word in _WEAK_ARGUMENTS.findall(entry.arguments)})
    problems = [f"the kernel is started with {listed(arguments)}"] if arguments else []
    for parameter, (value, name) in sorted(read_sysctl(root).items()):
        weak, why = _WEAK_PARAMETERS.get(parameter, ((), ""))
        if value in weak:
            problems.append(f"{name} sets {parameter} to {value}: {why}")
    problems += _core_dumps(root)
    return verdict(problems, "all are on")


def _core_dumps(root: ImageRoot) -> Iterator[str]:
    for name in [*root.glob("/etc/security/limits.conf"), *root.glob("/etc/security/limits.d/*.conf")]:
        if _CORE_LIMIT.search(root.read_text(name) or ""):
            yield f"{name} lets programs dump core"
    for name in [*root.glob("/etc/systemd/system.conf"), *root.glob("/etc/systemd/system.conf.d/*.conf")]:
        if _CORE_DEFAULT.search(root.read_text(name) or ""):
            yield f"{name} lets services dump core"
