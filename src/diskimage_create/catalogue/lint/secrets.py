"""Rules about what must not be in an image that many boot: passwords, keys, tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diskimage_create.catalogue import Entry
from diskimage_create.catalogue.lint.content import Content
from diskimage_create.catalogue.lint.model import Context, Found, Severity, rule

_PASSWORD = re.compile(
    r"\bchpasswd\b|\bpasswd\s+(?:\S+\s+)*--stdin\b|\b(?:user(?:add|mod))\b.*\s(?:-p|--password)[\s=]|\bopenssl\s+passwd\b|\|\s*(?:sudo\s+)?passwd\b"
)
_USER_KEYS = re.compile(r"\b(?:authorized_keys2?|id_(?:rsa|dsa|ecdsa|ed25519))\b|\bssh-keygen(?:\s|$)")
#: Of those: what only takes keys away, looks at them, or names them in a configuration
_HARMLESS = re.compile(
    r"\brm\s|\bshred\s|\btest\s|\[\s|\bchmod\s|\bchown\s|\brestorecon\s|ssh-keygen\s+-[lRyF]|AuthorizedKeysFile|\becho\s+\"?ERROR"
)
_LITERALS = (
    (re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"), "a private key"),
    (re.compile(r"\bhttps?://[^/\s:@\"'$<{]+:[^/\s@\"'$<{]+@\w"), "a password in an address"),
    (re.compile(r"\bhttps://[A-Za-z0-9_-]{16,}@\w"), "a token in an address"),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), "an access key of AWS"),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|glpat-[\w-]{20})\b"), "a token of a code host"),
    (
        re.compile(
            r"\b\w*(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY)=(?![\"']?(?:[\s;$<]|$)|[\"']{2})[^\s$`(]+\s*(?:$|;|#)",
            re.IGNORECASE,
        ),
        "a secret in a variable",
    ),
)


@rule("EL501", "password in the image", Severity.WARNING)
def password(_entry: Entry, content: Content, _context: Context) -> Iterator[Found]:
    """A hook sets a password. Every machine that boots from the image has the same one, and whoever has the image can
    look at its hash.

    Credentials are configuration: per user through Nova and cloud-init, per service through Heat. Lock the password
    instead (`usermod --lock`, `passwd -l`). Where a password in the image is what the element is for, say so:
    `# lint: EL501 why`.
    """
    yield from _matches(content, _PASSWORD, "sets a password, the same one for all machines")


@rule("EL502", "keys of a user in the image", Severity.WARNING)
def user_keys(_entry: Entry, content: Content, _context: Context) -> Iterator[Found]:
    """A hook brings SSH keys into the image, or makes some there. Whoever builds the image can then log in to every
    machine that boots from it, and keys that are made during a build are the same on all of them.

    Users' keys come from Nova through cloud-init when an instance starts; host keys are made at the first boot
    (element runtime-ssh-host-keys). Where it is what the element is for, say so: `# lint: EL502 why`.
    """
    yield from _matches(content, _USER_KEYS, "brings SSH keys into the image, or makes some")


def _matches(content: Content, pattern: re.Pattern[str], message: str) -> Iterator[Found]:
    for file in content.files.values():
        if file.is_hook:
            for number, line in file.commands():
                if pattern.search(line) and not _HARMLESS.search(line):
                    yield Found(message, file.path, number)


@rule("EL503", "credentials in a file", Severity.ERROR)
def literal(_entry: Entry, content: Content, _context: Context) -> Iterator[Found]:
    """A file of the element holds a private key, a token or a password. Everyone who can read the element, or an image
    with it, has it too.

    Take it out, and change it where it is used. A build gets what it needs from variables of its environment, and
    must leave nothing of it in the image.
    """
    for file in content.code:
        for number, line in enumerate(file.lines, 1):
            if len(line) < 4096 and not line.lstrip().startswith("#"):
                for pattern, what in _LITERALS:
                    if pattern.search(line):
                        yield Found(f"holds {what}", file.path, number)
