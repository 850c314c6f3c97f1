"""The kernel's parameters, as systemd-sysctl will set them (sysctl.d(5))."""

from __future__ import annotations

from collections.abc import Iterator

from diskimage_create.validate.root import ImageRoot

#: A file hides those of its name in later directories; all are read by name, then sysctl.conf
_DIRECTORIES = ("/etc/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
_LAST = "/etc/sysctl.conf"


def read_sysctl(root: ImageRoot) -> dict[str, tuple[str, str]]:
    """Parameter -> its value, and the file that sets it last."""
    files: dict[str, str] = {}
    for directory in _DIRECTORIES:
        for name in root.glob(f"{directory}/*.conf"):
            files.setdefault(name.rpartition("/")[2], name)
    found = {}
    for name in [*(files[base] for base in sorted(files)), _LAST]:
        for parameter, value in parse_sysctl(root.read_text(name) or ""):
            found[parameter] = (value, name)
    return found


def parse_sysctl(text: str) -> Iterator[tuple[str, str]]:
    """Parameter, its parts joined by dots, and value of each setting."""
    for line in text.splitlines():
        parameter, sign, value = line.strip().partition("=")
        if sign and not parameter.startswith(("#", ";")):
            name = parameter.strip().removeprefix("-")
            # With a slash first, dots are part of names.
            yield name.replace("/", ".") if "/" in name.partition(".")[0] else name, " ".join(value.split())
