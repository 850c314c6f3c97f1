"""The CVE identifiers that Debian's changelogs name between two versions of a package: what an upgrade is good for."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from diskimage_create.diff.model import Change, Kind
from diskimage_create.diff.packages import is_older
from diskimage_create.provenance.debian import source_versions
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.packages import DPKG_STATUS

#: Of packages that are Debian's own the second one; of others it is upstream's, which looks otherwise
_NAMES = ("changelog.Debian.gz", "changelog.gz", "changelog.Debian", "changelog")
#: deb-changelog(5): source (version) distributions; keys
_ENTRY = re.compile(rb"^\S+ \(([^()\s]+)\)[^;]*;")
_CVE = re.compile(rb"CVE-([0-9]{4})-([0-9]{4,})", re.IGNORECASE)
#: The largest one that is read, in bytes when unpacked; the kernel's has a few millions
_LARGEST = 64 * 2**20


def with_cves(changes: Iterable[Change], a: ImageRoot, b: ImageRoot) -> tuple[tuple[Change, ...], list[str]]:
    """Changes of packages with the identifiers that the newer version's changelog names, and notes on missing ones.

    Of a package that was downgraded it is what is not fixed any more.

    :param a: the first image; only one of Debian's family has such changelogs
    :param b: the second one
    """
    old, new = (source_versions(root.read_text(DPKG_STATUS) or "") for root in (a, b))
    found, missing = [], []
    for change in changes:
        cves: tuple[str, ...] | None = ()
        if change.kind is Kind.UPGRADED and change.name in new:
            cves = _between(b, change.name, old.get(change.name, ""), new[change.name])
        elif change.kind is Kind.DOWNGRADED and change.name in old:
            cves = _between(a, change.name, new.get(change.name, ""), old[change.name])
        if cves is None:
            missing.append(change.name.partition(":")[0])
        found.append(replace(change, cves=cves or ()))
    return tuple(found), _note(missing)


def _note(missing: list[str]) -> list[str]:
    if not missing:
        return []
    some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return [f"CVE identifiers: the images hold no changelog of {len(missing)} of the packages that changed ({some})"]


def _between(root: ImageRoot, package: str, old: str, new: str) -> tuple[str, ...] | None:
    """What the changelog names after one version, up to another; None where there is no changelog.

    :param package: ``name:architecture``
    """
    directory = f"/usr/share/doc/{package.partition(':')[0]}"
    for name in _NAMES:
        lines = _lines(root.read_bytes(f"{directory}/{name}") or b"")
        if any(map(_ENTRY.match, lines[:1])):
            found = {
                (int(year), int(number)) for line in _after(lines, old, new) for year, number in _CVE.findall(line)
            }
            return tuple(f"CVE-{year}-{number:04}" for year, number in sorted(found))
    return None


def _after(lines: Iterable[bytes], old: str, new: str) -> Iterator[bytes]:
    """The lines of all entries after one version, up to another: the newest are first."""
    wanted = False
    for line in lines:
        if match := _ENTRY.match(line):
            version = match[1].decode(errors="replace")
            if not is_older(old, version):
                return
            wanted = not is_older(new, version)
        if wanted:
            yield line


def _lines(content: bytes) -> list[bytes]:
    """The lines of a changelog, compressed or not; as far as it can be unpacked."""
    if content.startswith(b"\x1f\x8b"):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            content = unpacker.decompress(content, _LARGEST)
        except zlib.error:
            return []
    return content.splitlines()
