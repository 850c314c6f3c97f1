"""A small signed archive on loopback that looks like Ubuntu's, made of this host's own Debian packages.

Ubuntu's element of diskimage-builder knows suites, components, a keyring and the names of packages; none of that
needs Ubuntu's own archive. Debian's packages come from wherever this host installs its own; what only Ubuntu has
is made here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from diskimage_create import host

#: What this host must have to make a mirror; all of it is in Debian's apt-utils, dpkg and gnupg
TOOLS = ("apt-get", "apt-ftparchive", "dpkg-deb", "gpg", "gpgconf")

_VERSION = "24.04"
_POCKETS = ("", "-updates", "-security", "-backports")
#: Ubuntu's name for what Debian's package of the kernel for virtual machines is
_KERNEL = "linux-image-cloud-amd64"

#: What the bootstrap installs. Those after it come with what they recommend: root.d/75-ubuntu-minimal-baseinstall
#: runs before recommendations are turned off.
_BOOTSTRAP = ("?essential", "?priority(required)", "apt", "gnupg", "tzdata")
_BASE_INSTALL = ("busybox", "python3", "sudo", "systemd-sysv")

#: Packages of the amphora (amphora-agent's list) that Debian and Ubuntu share
AGENT_PACKAGES = tuple(
    """acl acpid apparmor apt-transport-https at bash-completion cloud-guest-utils cloud-init cron curl dbus dmeventd
    ethtool gawk ifenslave ifupdown iptables iputils-tracepath irqbalance isc-dhcp-client less logrotate lsof net-tools
    netbase netcat-openbsd nftables open-vm-tools openssh-client openssh-server procps psmisc python3 rsyslog socat
    tcpdump tmux uuid-runtime vim-tiny vlan""".split()
)
#: Those of the amphora's other elements
ROLE_PACKAGES = ("cryptsetup", "haproxy", "iputils-ping", "ipvsadm", "keepalived")
#: What diskimage-builder's elements ask for
_TOOL_PACKAGES = tuple(
    "adduser ca-certificates grub-pc initramfs-tools locales lsb-release open-iscsi python3-yaml rsync".split()
)

#: A few that stand in the second component, so that a build that knows main alone fails
_UNIVERSE = frozenset({"ifenslave", "ifupdown", "ipvsadm", "isc-dhcp-client", "tmux", "vlan"})


def skip_where_none_can_be_made() -> None:
    """Skip the test on a host whose apt and tools make no mirror."""
    facts = host.detect({})
    if (facts.distribution, facts.codename, facts.arch) != ("debian", "bookworm", "amd64"):
        pytest.skip("the mirror is made of the packages of Debian 12 on amd64, as this host's own apt finds them")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"making a mirror needs {', '.join(missing)}")


@dataclass(frozen=True)
class Mirror:
    """A mirror that answers while its context lasts."""

    url: str
    unsigned_url: str
    """The same packages under a Release file that nobody signed"""
    keyring: Path
    wrong_keyring: Path
    """Holds a key, but not the one that signed"""


@contextmanager
def ubuntu_mirror(directory: Path, cache: Path) -> Iterator[Mirror]:
    """Make an archive of noble and serve it on loopback.

    :param directory: an empty directory for the archive
    :param cache: keeps downloaded packages from one run to the next
    """
    root = directory / "www"
    archive = root / "ubuntu"
    bootstrap = [*_BOOTSTRAP, *_BASE_INSTALL]
    wanted = [*bootstrap, *AGENT_PACKAGES, *ROLE_PACKAGES, *_TOOL_PACKAGES, _KERNEL]
    # Two answers, since alternatives are chosen with what is there already: first little, then all.
    fill_pool(archive, download(cache, ("yes", bootstrap), ("no", wanted)))
    for pocket in _POCKETS:
        index(archive, f"noble{pocket}")
    _copy_unsigned(archive, root / "unsigned")
    with signing_home() as home:
        keyring = make_key(home, "mirror of the tests", directory / "mirror.gpg")
        wrong_keyring = make_key(home, "somebody else", directory / "stranger.gpg")
        for pocket in _POCKETS:
            sign(home, "mirror of the tests", archive / f"dists/noble{pocket}")
    with served(root) as address:
        yield Mirror(f"{address}/ubuntu", f"{address}/unsigned", keyring, wrong_keyring)


def download(cache: Path, *answers: tuple[str, Sequence[str]]) -> list[Path]:
    """Debian's packages and all that they depend on, as apt finds them by this host's configuration.

    The system's own state is not touched: apt gets a state, a cache and an empty list of installed packages here.

    :param cache: keeps downloaded packages from one run to the next
    :param answers: whether to follow recommendations (``yes`` or ``no``), and the names
    """
    for name in ("lists/partial", "archives/partial"):
        (cache / name).mkdir(parents=True, exist_ok=True)
    (cache / "status").touch()
    configuration = cache / "apt.conf"
    configuration.write_text(_apt_configuration(cache))
    apt = ("apt-get", "--config-file", str(configuration), "--yes", "--quiet")
    _run(*apt, "update")
    # What earlier runs kept, and the archive has replaced since
    _run(*apt, "autoclean")
    found: set[Path] = set()
    for recommends, names in answers:
        install = (*apt, "--option", f"APT::Install-Recommends={recommends}", "install")
        _run(*install, "--download-only", *names)
        found |= {cache / "archives" / name for name in _simulated_files(_run(*install, "--simulate", *names))}
    return sorted(found)


def _apt_configuration(cache: Path) -> str:
    """apt's options for a private root; those of the host that act on the host itself are taken away."""
    return f"""
        Dir::State "{cache}"; Dir::State::lists "lists"; Dir::State::status "{cache}/status";
        Dir::Cache "{cache}"; Dir::Cache::archives "archives";
        #clear APT::Architectures; APT::Architectures "amd64"; APT::Architecture "amd64";
        APT::Sandbox::User "root"; APT::Keep-Downloaded-Packages "true";
        #clear APT::Update::Pre-Invoke; #clear APT::Update::Post-Invoke; #clear APT::Update::Post-Invoke-Success;
        #clear DPkg::Pre-Invoke; #clear DPkg::Post-Invoke; #clear DPkg::Pre-Install-Pkgs;
    """


def _simulated_files(output: str) -> Iterator[str]:
    """The names that apt gives the files of ``Inst NAME (VERSION ORIGIN [ARCH])``."""
    for name, version, arch in re.findall(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", output, flags=re.MULTILINE):
        yield f"{name}_{version.replace(':', '%3a')}_{arch}.deb"


def fill_pool(archive: Path, debian: Iterable[Path]) -> None:
    """One directory for each suite and component, with what makes Debian's packages Ubuntu's."""
    main, universe = archive / "pool/noble/main", archive / "pool/noble/universe"
    for pocket in _POCKETS:
        for component in ("main", "universe"):
            (archive / f"pool/noble{pocket}" / component).mkdir(parents=True)
    changes = {"base-files": _name_ubuntu, "rsyslog": _confine_rsyslog}
    for package in debian:
        name = package.name.partition("_")[0]
        if change := changes.get(name):
            repack(package, main, change)
        else:
            link(package, (universe if name in _UNIVERSE else main) / without_epoch(package.name))
    for kernel in ("linux-image-virtual", "linux-image-generic"):
        make_package(main, kernel, "6.8.0", depends=_KERNEL)
    for name in ("pollinate", "ubuntu-cloudimage-keyring"):
        make_package(main, name, "1.0")
    # What a suite is for shows in the version that gets installed.
    make_package(archive / "pool/noble-updates/main", "pollinate", "1.1")
    make_package(archive / "pool/noble-security/universe", "ubuntu-cloudimage-keyring", "1.2")
    make_package(archive / "pool/noble-backports/main", "pollinate", "2.0")


def repack(package: Path, directory: Path, change: Callable[[Path], None]) -> None:
    """Pack a package anew after a change to its files."""
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work, "tree")
        _run("dpkg-deb", "--raw-extract", str(package), str(tree))
        change(tree)
        # It holds the sums of the files as they were.
        (tree / "DEBIAN/md5sums").unlink()
        _run("dpkg-deb", "--build", "--root-owner-group", "-Zgzip", str(tree), str(directory))


def _name_ubuntu(tree: Path) -> None:
    """base-files: what tells programs, and the validation, which distribution this is."""
    (tree / "usr/lib/os-release").write_text(
        f'PRETTY_NAME="Ubuntu {_VERSION} (the tests\' own)"\nNAME="Ubuntu"\nVERSION_ID="{_VERSION}"\n'
        f'VERSION="{_VERSION}"\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n'
    )


def _confine_rsyslog(tree: Path) -> None:
    """rsyslog: Ubuntu's comes with a profile for AppArmor, and Debian 12's does not."""
    profile = tree / "etc/apparmor.d/usr.sbin.rsyslogd"
    profile.parent.mkdir(parents=True, exist_ok=True)
    profile.write_text("profile rsyslogd /usr/sbin/rsyslogd {\n  include if exists <rsyslog.d>\n}\n")


def make_package(directory: Path, name: str, version: str, depends: str = "", priority: str = "optional") -> None:
    """An empty package that may depend on others."""
    with tempfile.TemporaryDirectory() as work:
        # It becomes the mode of the package's root directory.
        Path(work).chmod(0o755)
        control = Path(work, "DEBIAN/control")
        control.parent.mkdir()
        control.write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n"
            f"Priority: {priority}\n"
            + (f"Depends: {depends}\n" if depends else "")
            + "Description: stands in for a package of the distribution\n"
        )
        _run("dpkg-deb", "--build", "--root-owner-group", work, str(directory))


def index(archive: Path, suite: str) -> None:
    """Write the Packages and Release files of a suite of Ubuntu's."""
    fields = {"Origin": "Ubuntu", "Label": "Ubuntu", "Codename": "noble", "Version": _VERSION}
    if suite.endswith("-backports"):
        fields |= {"NotAutomatic": "yes", "ButAutomaticUpgrades": "yes"}
    index_suite(archive, suite, ("main", "universe"), fields)


def index_suite(archive: Path, suite: str, components: Sequence[str], fields: Mapping[str, str]) -> None:
    """Write the Packages and Release files of a suite, of the packages in ``pool/SUITE/COMPONENT``.

    :param fields: of the Release file
    """
    dist = archive / "dists" / suite
    # One digest is enough, and the slowest part of all this.
    only_sha256 = [f"APT::FTPArchive::{digest}=false" for digest in ("MD5", "SHA1", "SHA512")]
    for component in components:
        packages = dist / component / "binary-amd64/Packages"
        packages.parent.mkdir(parents=True)
        packages.write_text(_ftparchive(archive, "packages", f"pool/{suite}/{component}", only_sha256))
        _run("gzip", "--keep", "--no-name", "-1", str(packages))
    given = {"Suite": suite, "Architectures": "amd64", "Components": " ".join(components), **fields}
    options = [f"APT::FTPArchive::Release::{name}={value}" for name, value in given.items()]
    release = _ftparchive(archive, "release", str(dist.relative_to(archive)), options)
    (dist / "Release").write_text(release)


def _ftparchive(archive: Path, command: str, path: str, options: Sequence[str]) -> str:
    flags = [part for option in options for part in ("--option", option)]
    return _run("apt-ftparchive", *flags, command, path, cwd=archive)


@contextmanager
def signing_home() -> Iterator[Path]:
    """A home for GnuPG that goes away with its agent."""
    # Not below pytest's directories: the path of the agent's socket may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="gnupg-") as directory:
        try:
            yield Path(directory)
        finally:
            _run("gpgconf", "--homedir", directory, "--kill", "all")


def make_key(home: Path, owner: str, keyring: Path) -> Path:
    """Make a key for signatures and export its public half."""
    _gpg(home, "--quick-generate-key", owner, "ed25519", "sign", "1d")
    _gpg(home, "--output", str(keyring), "--export", f"={owner}")
    return keyring


def sign(home: Path, owner: str, dist: Path) -> None:
    """Sign a Release file in both ways that apt knows."""
    signer = ("--local-user", f"={owner}")
    _gpg(home, *signer, "--output", str(dist / "InRelease"), "--clearsign", str(dist / "Release"))
    _gpg(home, *signer, "--armor", "--output", str(dist / "Release.gpg"), "--detach-sign", str(dist / "Release"))


def _gpg(home: Path, *arguments: str) -> None:
    _run("gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", "", *arguments)


def _copy_unsigned(archive: Path, copy: Path) -> None:
    """Another archive, of the same packages, before anything was signed."""
    shutil.copytree(archive / "dists", copy / "dists")
    (copy / "pool").symlink_to(archive / "pool")


class _Handler(SimpleHTTPRequestHandler):
    # apt asks for many files on one connection.
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: pytest's output is not the place."""


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory on a free port of 127.0.0.1; yields the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(directory))) as server:
        # A client that keeps its connection must not keep the test run.
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def without_epoch(name: str) -> str:
    """A package's file as archives name it: debootstrap cannot fetch a name with a "%"."""
    return re.sub(r"_\d+%3a", "_", name)


def link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the two are on different file systems."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _run(*command: str, cwd: Path | None = None) -> str:
    """Run a program; its output, or an error that shows what it said."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)[:300]}: {done.stderr[-2000:]}"
    return done.stdout
