"""A changelog of packages: added, removed, upgraded, downgraded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from diskimage_create.diff.model import Change, Kind

Versions = Mapping[str, frozenset[str]]

_SEGMENT = re.compile(r"[0-9]+|[A-Za-z]+|[~^]")
_END = (1, 0, "")


def compare_packages(a: Iterable[Mapping[str, str]], b: Iterable[Mapping[str, str]]) -> tuple[Change, ...]:
    """What became of the packages.

    :param a: package, version and architecture of each, as in a record
    :param b: those of the second image
    """
    old, new = _versions(a), _versions(b)
    return tuple(change for name in sorted(old.keys() | new.keys()) for change in _changes(name, old, new))


def _versions(packages: Iterable[Mapping[str, str]]) -> dict[str, frozenset[str]]:
    """``name:architecture`` -> the versions; a kernel of the redhat family is there in several."""
    found: dict[str, frozenset[str]] = {}
    for package in packages:
        name = f"{package['package']}:{package['architecture']}"
        found[name] = found.get(name, frozenset()) | {package["version"]}
    return found


def _changes(name: str, a: Versions, b: Versions) -> list[Change]:
    old, new = a.get(name, frozenset()), b.get(name, frozenset())
    gone, come = sorted(old - new), sorted(new - old)
    if len(old) == len(new) == 1 and gone:
        kind = Kind.UPGRADED if is_older(gone[0], come[0]) else Kind.DOWNGRADED
        return [Change(name, kind, gone[0], come[0])]
    removed = [Change(name, Kind.REMOVED, version, None) for version in gone]
    return removed + [Change(name, Kind.ADDED, None, version) for version in come]


def is_older(a: str, b: str) -> bool:
    """Whether a version comes before another, in Debian's order; in rpm's where one cannot be a Debian version.

    They agree on what both can read. rpm's versions have underscores (``el9_4``) and carets.
    """
    from debian.debian_support import Version  # slow to import, and most packages are equal

    try:
        older: bool = Version(a) < Version(b)
    except ValueError:
        return _rpm_key(a) < _rpm_key(b)
    return older


def _rpm_key(version: str) -> list[list[tuple[int, int, str]]]:
    """rpm's order of ``epoch:version-release``: a tilde, the end, a caret, letters, numbers (rpm-version(7))."""
    epoch, _, rest = version.rpartition(":")
    version, _, release = rest.partition("-")
    return [[*map(_segment_key, _SEGMENT.findall(part)), _END] for part in (epoch or "0", version, release)]


def _segment_key(segment: str) -> tuple[int, int, str]:
    if segment.isdigit():
        number = segment.lstrip("0")
        return 4, len(number), number
    return {"~": (0, 0, ""), "^": (2, 0, "")}.get(segment, (3, 0, segment))
