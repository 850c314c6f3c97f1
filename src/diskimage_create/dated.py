"""Finds the dated archives that a snapshot is built of, when the build starts.

An archive's own Release file says where its dated states are, or the user does, or apt knows
it of the distribution's. Nothing here is trusted: the dated archives are signed as all are,
and apt checks them when it installs from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from diskimage_create import snapshot
from diskimage_create.errors import BuildError, InputError, Problem, RemoteError
from diskimage_create.model import BuildPlan, Source
from diskimage_create.remote import archives, effective, fetch
from diskimage_create.remote.archives import Archive
from diskimage_create.remote.fetch import Missing, Unanswered
from diskimage_create.settings import setting

#: What apt knows without being told, the first that matches: Acquire::Snapshots::URI of apt 3 (apt-config dump)
_KNOWN = (
    ("Label", "Debian-Security", "https://snapshot.debian.org/archive/debian-security/@SNAPSHOTID@/"),
    ("Origin", "Debian", "https://snapshot.debian.org/archive/debian/@SNAPSHOTID@/"),
    ("Origin", "Ubuntu", "https://snapshot.ubuntu.com/ubuntu/@SNAPSHOTID@/"),
)
#: Tells build-host which addresses to put back into the image: lines "DATED UNDATED"
_PUT_BACK = "DISKIMAGE_CREATE_SNAPSHOT_SOURCES"


def resolve_snapshot(plan: BuildPlan) -> BuildPlan:
    """The same plan, from the dated archives where it asks for a snapshot. Asks the network.

    :raises InputError: no element of the image installs from archives that have snapshots
    :raises RemoteError: an archive has none, or not of that time; names every suite
    """
    if (wanted := plan.environment.get(snapshot.TIMESTAMP)) is None:
        return plan
    values = {name: setting.value for name, setting in plan.environment.items()}
    known = effective.read(values, plan.resolved, plan.spec)
    if known.problem:
        raise BuildError(f"where packages come from cannot be known: {known.problem}")
    suites = archives.find(known.variables, {element.name for element in plan.resolved})
    if not suites:
        raise InputError([Problem("no element of this image can be built of a snapshot", "--snapshot")])
    found = _find(suites, known.variables, wanted.value)
    changed = _environment(known.variables, found)
    source = plan.spec.sources.get("snapshot", Source.FLAG)
    settings = {name: setting(name, value, source) for name, value in changed.items()}
    return replace(plan, environment=dict(sorted({**plan.environment, **settings}.items())))


def _find(suites: list[Archive], variables: Mapping[str, str], wanted: str) -> dict[str, str]:
    """The address of each archive -> that of its dated state."""
    found: dict[str, str] = {}
    problems = []
    for archive in suites:
        try:
            uri = found.get(archive.uri) or _dated(archive, variables, wanted)
            _check(replace(archive, uri=uri), variables, wanted)
            found[archive.uri] = uri
        except Unanswered as problem:
            problems.append(f"  {archive.title}: {problem}")
    if problems:
        lines = "\n".join(problems)
        hint = f"name a mirror that has them in {snapshot.MIRROR} and {snapshot.SECURITY_MIRROR}, or another time"
        raise RemoteError(f"there is no snapshot {wanted} of every suite:\n{lines}", hint)
    return found


def _dated(archive: Archive, variables: Mapping[str, str], wanted: str) -> str:
    """Where the dated state of an archive should be."""
    template = _named(archive, variables)
    if template is None:
        release = _release(archive, variables)
        template = release.get("Snapshots") or next(
            (template for field, value, template in _KNOWN if release.get(field) == value), "no"
        )
    if template == "no":
        raise Unanswered("its archive says nothing of snapshots")
    if not snapshot.is_template(template):
        raise Unanswered("its archive says where snapshots are, but not how they are named")
    return _with_credentials(snapshot.dated(template, wanted, archive.uri), archive.uri)


def _named(archive: Archive, variables: Mapping[str, str]) -> str | None:
    """The template that the user gave; one with ``@PATH@`` in it does for every archive."""
    main = variables.get(snapshot.MIRROR)
    security = variables.get(snapshot.SECURITY_MIRROR)
    if security and archive.suite.endswith(("-security", "/updates")):
        return security
    if main and ("@PATH@" in main or archive.uri == variables.get("DIB_DISTRIBUTION_MIRROR", "").rstrip("/")):
        return main
    return None


def _check(archive: Archive, variables: Mapping[str, str], wanted: str) -> None:
    """Whether the dated archive is there, and is of that time or before: a mirror may not look at the time at all."""
    try:
        date = parsedate_to_datetime(_release(archive, variables)["Date"])
    except Missing:
        raise Unanswered("it was not there at that time, or its snapshots are not") from None
    except Unanswered as reason:
        raise Unanswered(f"of its snapshots: {reason}") from None
    except (KeyError, ValueError):
        raise Unanswered("its dated Release file has no date") from None
    if date > snapshot.moment(wanted):
        raise Unanswered("what is served as its snapshot is younger than that")


def _release(archive: Archive, variables: Mapping[str, str]) -> dict[str, str]:
    """The fields of one line of a suite's Release file."""
    try:
        content = fetch.content(f"{archive.base}/InRelease", variables)
    except Missing:
        content = fetch.content(f"{archive.base}/Release", variables)
    lines = content.decode(errors="replace").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line[:1].isspace())
    return {name: value.strip() for name, value in pairs}


def _with_credentials(uri: str, archive: str) -> str:
    """The address with the archive's own credentials, where it is of the same server."""
    theirs, ours = urlsplit(uri), urlsplit(archive)
    user, at, host = ours.netloc.rpartition("@")
    if at and (theirs.scheme, theirs.netloc) == (ours.scheme, host):
        return theirs._replace(netloc=f"{user}@{host}").geturl()
    return uri


def _environment(variables: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """The variables that name archives, with the dated ones."""
    changed = {_PUT_BACK: "\n".join(f"{dated} {uri}" for uri, dated in found.items())}
    for name in ("DIB_DISTRIBUTION_MIRROR", "DIB_DEBIAN_DISTRIBUTION_MIRROR", "DIB_DEBIAN_SECURITY_MIRROR"):
        if (uri := variables.get(name, "").rstrip("/")) in found:
            changed[name] = found[uri]
    if sources := variables.get("DIB_APT_SOURCES_CONF"):
        changed["DIB_APT_SOURCES_CONF"] = "\n".join(_dated_line(line, found) for line in sources.splitlines())
    return changed


def _dated_line(line: str, found: Mapping[str, str]) -> str:
    """A line of ``DIB_APT_SOURCES_CONF`` with the dated archive in it."""
    source = next(archives.configured(line), None)
    if source is None:
        return line
    address = f" {found[source.uri.rstrip('/')]} "
    return re.sub(rf"\s+{re.escape(source.uri)}\s+", lambda _: address, line, count=1)
