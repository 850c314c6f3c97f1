"""The packages of an image with their versions and sizes, for its record and for comparing images."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator

from diskimage_create.model import SizedPackage
from diskimage_create.validate.system.packages import DPKG_STATUS, no_database, rpm_database, rpm_rows
from diskimage_create.validate.view import ImageView, Unavailable

_FIELD = re.compile(r"^(Package|Status|Architecture|Version|Installed-Size): (.*)$", re.MULTILINE)

# Tags of an rpm header, and the types of their values (rpm's rpmtag.h).
_NAME, _VERSION, _RELEASE, _EPOCH, _SIZE, _ARCH, _LONG_SIZE = 1000, 1001, 1002, 1003, 1009, 1022, 5009
_INT32, _INT64, _STRING = 4, 5, 6
_NUMBERS = {_INT32: ">I", _INT64: ">Q"}


def package_versions(view: ImageView) -> list[dict[str, str]]:
    """Name, version and architecture of every installed package; empty where they cannot be read here."""
    try:
        return read_inventory(view)
    except Unavailable:
        return []


def read_inventory(view: ImageView) -> list[dict[str, str]]:
    """Name, version and architecture of every installed package.

    :raises Unavailable: there is no package database that can be read here
    """
    return [
        {"package": each.name, "version": each.version, "architecture": each.architecture}
        for each in sized_packages(view)
    ]


def sized_packages(view: ImageView) -> list[SizedPackage]:
    """Every installed package, with its size.

    :raises Unavailable: there is no package database that can be read here
    """
    status = view.root.read_text(DPKG_STATUS)
    if status is not None:
        packages = list(_dpkg(status))
    elif database := rpm_database(view.root):
        (rows,) = rpm_rows(database, view.workspace, "SELECT blob FROM Packages")
        packages = list(_rpm(row[0] for row in rows))
    else:
        raise Unavailable(no_database(view.root))
    return sorted(packages, key=lambda package: (package.name, package.architecture, package.version))


def _dpkg(status: str) -> Iterator[SizedPackage]:
    """Sizes are in KiB there: Debian Policy 5.6.20."""
    for paragraph in status.split("\n\n"):
        fields = dict(_FIELD.findall(paragraph))
        if fields.get("Status", "").endswith(" installed"):
            name, version, architecture = (fields.get(key, "") for key in ("Package", "Version", "Architecture"))
            kib = _number(fields.get("Installed-Size"))
            yield SizedPackage(name, version, architecture, None if kib is None else kib * 1024)


def _number(text: str | None) -> int | None:
    """None for what is none; no number of bytes on a disk is longer."""
    return int(text) if text and len(text) < 19 and text.isascii() and text.isdigit() else None


def _rpm(headers: Iterable[bytes]) -> Iterator[SizedPackage]:
    for tags in rpm_packages(headers):
        epoch = f"{tags[_EPOCH]}:" if tags.get(_EPOCH) else ""
        version = f"{epoch}{tags.get(_VERSION, '')}-{tags.get(_RELEASE, '')}"
        size = _number(tags.get(_LONG_SIZE, tags.get(_SIZE)))
        yield SizedPackage(tags.get(_NAME, ""), version, tags.get(_ARCH, ""), size)


def rpm_packages(headers: Iterable[bytes]) -> Iterator[dict[int, str]]:
    """The tags of every package in rpm's database; keys, which it keeps as packages too, are left out.

    :param headers: as the database holds them
    :raises Unavailable: a header makes no sense
    """
    for header in headers:
        try:
            tags = parse_rpm_header(header)
        except (struct.error, ValueError, TypeError):
            raise Unavailable("the rpm database holds a header that makes no sense") from None
        if tags.get(_NAME) != "gpg-pubkey":
            yield tags


def parse_rpm_header(header: bytes) -> dict[int, str]:
    """Tag -> value of the single strings and numbers in a header, as rpm keeps it in its database.

    Two counts, that many index entries (tag, type, offset, count), and the data that the offsets are of.

    :raises ValueError: the header is damaged
    """
    entries, _ = struct.unpack_from(">II", header)
    data = 8 + entries * 16
    if data > len(header):
        raise ValueError("the header is cut short")
    tags = {}
    for tag, kind, offset, count in struct.iter_unpack(">IIiI", header[8:data]):
        if kind == _STRING:
            tags[tag] = header[data + offset : header.index(b"\0", data + offset)].decode(errors="replace")
        elif kind in _NUMBERS and count == 1:
            tags[tag] = str(struct.unpack_from(_NUMBERS[kind], header, data + offset)[0])
    return tags
