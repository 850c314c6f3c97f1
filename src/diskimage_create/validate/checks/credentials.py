"""Checks of keys and credentials that stayed in an image: whoever has the image has them."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator

from diskimage_create.model import Expectation
from diskimage_create.validate.registry import Outcome, check, listed, verdict, warned
from diskimage_create.validate.root import Entry, ImageRoot
from diskimage_create.validate.system.leaks import LEAKS, leak_in
from diskimage_create.validate.system.users import read_users
from diskimage_create.validate.view import ImageView

#: No file of keys is larger; nor any file of credentials
_LARGEST = 2**18

_KEY_NAMES = re.compile(
    r"""\.(?:pem|key|p12|pfx|jks|keystore|ppk|priv|der)$|/(?:id_[a-z0-9]+|identity)$|/\.gnupg/.*key"""
)
_HOST_KEYS = "/etc/ssh/ssh_host_"
_PEM = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----|PuTTY-User-Key-File-")
_GNUPG = b"private-key"
_JAVA = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")

#: Keys that packages publish to test themselves: they open nothing
_TESTS = re.compile(r"^/(?:usr|opt)/.*/(?:tests?|testing|test_?data|examples?|fixtures)/")

#: Debian's ssl-cert makes it when it is installed, for services that have no certificate yet
_SNAKEOIL = "/etc/ssl/private/ssl-cert-snakeoil.key"

_SYSTEM_HOMES = ("/bin", "/dev", "/proc", "/sbin", "/sys", "/usr", "/nonexistent", "/run")


@check("private-keys", "No private key is in the image")
def private_keys(view: ImageView, expectation: Expectation) -> Outcome:
    """No file of any user holds a private key: of SSH, TLS, GnuPG, or in a key store.

    A key in an image is every instance's, and everybody's who can download the image. Keys
    come with the configuration drive, or are made at the first boot. Looked at are files
    whose name is that of a key, and files that only their owner may read. Keys with which
    packages test themselves are public and open nothing: those below a directory of tests in
    /usr or /opt do not count. SSH host keys have a check of their own (``ssh-host-keys``).
    """
    root = view.root
    found, tests = [], 0
    for entry in _candidates(root):
        if is_private_key(entry.name, root.read_bytes(entry.name, limit=_LARGEST) or b""):
            if _TESTS.match(entry.name):
                tests += 1
            else:
                found.append(entry.name)
    if found == [_SNAKEOIL]:
        return warned(f"{_SNAKEOIL} is the same in every instance: remove it, or the package ssl-cert")
    return verdict([listed(sorted(found))] if found else [], f"none but {tests} public ones, in the tests of packages")


def _candidates(root: ImageRoot) -> Iterator[Entry]:
    for entry in root.entries:
        possible = not entry.mode & 0o077 or _KEY_NAMES.search(entry.name)
        if not possible or not stat.S_ISREG(entry.mode) or not 0 < entry.size <= _LARGEST:
            continue
        if not entry.name.startswith(_HOST_KEYS):
            yield entry


def is_private_key(name: str, content: bytes) -> bool:
    """Whether a file holds a private key, or is a store for some."""
    if name.endswith((".p12", ".pfx")):
        return content[:1] == b"\x30"  # DER, all of whose stores begin with a sequence
    return bool(
        _PEM.search(content) or content.startswith(_JAVA) or ("/private-keys-v1.d/" in name and _GNUPG in content)
    )


@check("build-credentials", "No credentials and no history of whoever built the image are left")
def build_credentials(view: ImageView, expectation: Expectation) -> Outcome:
    """No tool's configuration holds a password, a token or a login; no shell's history is left.

    Looked at are the places where package managers (apt, dnf, pip, npm), git, registries and
    clouds keep them, in /etc and in all home directories, URLs with a password included, and the
    build's variables in /etc/dib-manifests. What a build needs to get at its sources belongs
    into a hook's environment, or is removed by the hook that put it there; it should be
    changed once it was in an image that anybody got.
    """
    root = view.root
    found = []
    homes = _homes(root)
    for leak in LEAKS:
        relative = [name for name in leak.names if not name.startswith("/")]
        patterns = [name for name in leak.names if name.startswith("/")]
        patterns += [f"{home}/{name}" for home in homes for name in relative]
        for name in dict.fromkeys(name for pattern in patterns for name in root.glob(pattern)):
            if leak_in(leak, (root.read_bytes(name, limit=_LARGEST) or b"").decode(errors="replace")):
                found.append(f"{name} holds {leak.what}")
    return verdict(found, "none")


def _homes(root: ImageRoot) -> list[str]:
    """The home directories in which somebody may have worked."""
    homes = {"/root", *root.glob("/home/*"), *(user.home.rstrip("/") for user in read_users(root).values())}
    return sorted(home for home in homes if home and not home.startswith(_SYSTEM_HOMES) and root.exists(home))
