"""The request for a dated state of the archives: ``--snapshot`` and what belongs to it, checked without the network.

A snapshot service serves every past state of an archive under an address with a time in it.
apt calls that time the snapshot's id, and has a variable for it (sources.list(5), apt.conf(5)).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from diskimage_create.errors import Problem

#: The time, as apt and snapshot services write it. Hooks see it too.
TIMESTAMP = "DISKIMAGE_CREATE_SNAPSHOT"
#: Where the dated states of the archive, and of the security archive, are
MIRROR = "DISKIMAGE_CREATE_SNAPSHOT_MIRROR"
SECURITY_MIRROR = "DISKIMAGE_CREATE_SNAPSHOT_SECURITY_MIRROR"

_FORMAT = "%Y%m%dT%H%M%SZ"
_PLACEHOLDERS = ("@SNAPSHOTID@", "@TIMESTAMP@")
#: The distributions' elements that a snapshot can be built of
_AVAILABLE = ("debian-minimal", "ubuntu-minimal")
#: Variables that bring in packages of another time
_UNDATED = ("DIB_APT_SOURCES", "DIB_DEBIAN_USE_DEBOOTSTRAP_CACHE", "DIB_OFFLINE")


def timestamp(text: str) -> str:
    """A point in time of ISO 8601, in UTC, as snapshot services write it. A date means its first second.

    :raises ValueError: it is none, or still to come
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no point in time") from None
    if moment > datetime.now(UTC):
        raise ValueError(f"{text!r} is still to come")
    return moment.isoformat(timespec="seconds").removesuffix("+00:00").replace("-", "").replace(":", "") + "Z"


def moment(snapshot_id: str) -> datetime:
    """The point in time that :func:`timestamp` has written."""
    return datetime.strptime(snapshot_id, _FORMAT).replace(tzinfo=UTC)


def dated(template: str, snapshot_id: str, uri: str) -> str:
    """The address of a dated archive: apt's variables in a template, filled in.

    :param uri: the archive's own, for ``@PATH@``
    """
    for placeholder in _PLACEHOLDERS:
        template = template.replace(placeholder, snapshot_id)
    return template.replace("@PATH@", urlsplit(uri).path.strip("/")).rstrip("/")


def is_template(text: str) -> bool:
    """Whether it is an address with a place for the time."""
    scheme, _, rest = text.partition("://")
    return (
        scheme in ("http", "https", "file")
        and not set(rest) & set(" \t\r\n\"'$`\\")
        and any(placeholder in rest for placeholder in _PLACEHOLDERS)
    )


def read(
    text: str | None, where: str, environ: Mapping[str, str], os_element: str
) -> tuple[dict[str, str], list[Problem]]:
    """The variables that ask the build for a snapshot, and everything that is wrong with the request.

    :param text: the time as the user gave it; None asks for no snapshot
    :param where: how the user spelled the option
    :param os_element: the element of the distribution
    """
    if text is None:
        return {}, []
    variables, problems = {}, list(_conflicts(where, environ, os_element))
    try:
        variables[TIMESTAMP] = timestamp(text)
    except ValueError as error:
        problems.append(Problem(str(error), where, "e.g. 20261101T000000Z, 2026-11-01 or 2026-11-01T12:00:00+02:00"))
    for name in (MIRROR, SECURITY_MIRROR):
        if template := environ.get(name):
            variables[name] = template
            if not is_template(template):
                hint = "e.g. https://mirror.example/debian/@SNAPSHOTID@"
                problems.append(Problem("it is no address with a place for the time", name, hint))
    return variables, problems


def _conflicts(where: str, environ: Mapping[str, str], os_element: str) -> Iterator[Problem]:
    if os_element not in _AVAILABLE:
        hint = f"it is for {' and '.join(name.removesuffix('-minimal') for name in _AVAILABLE)}"
        yield Problem(f"snapshots are not available for {os_element.removesuffix('-minimal')}", where, hint)
    for name in _UNDATED:
        if environ.get(name):
            yield Problem(f"{name} brings in packages of another time than the snapshot's", name, "unset it")
