"""The packages of an image with their versions, for its record and for comparing images."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from diskimage_create.validate.image import ImageView, Unavailable
from diskimage_create.validate.packages import DPKG_STATUS, no_database, rpm_database, rpm_rows

_FIELD = re.compile(r"^(Package|Status|Architecture|Version): (.*)$", re.MULTILINE)

# Tags of an rpm header, and the types of their values (rpm's rpmtag.h).
_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH = 1000, 1001, 1002, 1003, 1022
_INT32, _STRING = 4, 6


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
    status = view.root.read_text(DPKG_STATUS)
    if status is not None:
        packages = list(_dpkg(status))
    elif database := rpm_database(view.root):
        (rows,) = rpm_rows(database, view.workspace, "SELECT blob FROM Packages")
        packages = list(_rpm(row[0] for row in rows))
    else:
        raise Unavailable(no_database(view.root))
    return sorted(packages, key=lambda package: (package["package"], package["architecture"], package["version"]))


def _dpkg(status: str) -> Iterator[dict[str, str]]:
    for paragraph in status.split("\n\n"):
        fields = dict(_FIELD.findall(paragraph))
        if fields.get("Status", "").endswith(" installed"):
            names = ("Package", "Version", "Architecture")
            yield {name.lower(): fields.get(name, "") for name in names}


def _rpm(headers: Iterator[bytes]) -> Iterator[dict[str, str]]:
    for header in headers:
        try:
            tags = parse_rpm_header(header)
        except (struct.error, ValueError, TypeError):
            raise Unavailable("the rpm database holds a header that makes no sense") from None
        epoch = f"{tags[_EPOCH]}:" if tags.get(_EPOCH) else ""
        if (name := tags.get(_NAME, "")) != "gpg-pubkey":  # a key, which rpm keeps as a package
            version = f"{epoch}{tags.get(_VERSION, '')}-{tags.get(_RELEASE, '')}"
            yield {"package": name, "version": version, "architecture": tags.get(_ARCH, "")}


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
        elif kind == _INT32 and count == 1:
            tags[tag] = str(struct.unpack_from(">I", header, data + offset)[0])
    return tags
