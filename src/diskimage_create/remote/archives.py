"""The apt archives that an image installs from, as the elements of its distribution configure them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from diskimage_create.host import AptSource, one_line_sources


@dataclass(frozen=True)
class Archive:
    """A suite of an archive."""

    uri: str = field(repr=False)
    """Without a slash at its end; may hold credentials"""
    suite: str
    phase: str = "root"
    """The first stage that installs from it"""

    @property
    def base(self) -> str:
        """Where its ``InRelease`` is. A flat archive's suite is a path and ends with a slash (sources.list(5))."""
        if self.suite.endswith("/"):
            return f"{self.uri}/{self.suite}".rstrip("/.")
        return f"{self.uri}/dists/{self.suite}"

    @property
    def title(self) -> str:
        """The suite as names show it."""
        return self.suite.strip("/.") or "flat archive"


def find(variables: Mapping[str, str], elements: Collection[str]) -> list[Archive]:
    """Every suite that an image installs from, each once.

    :param variables: the effective environment
    :param elements: the names of the image's closure
    """
    found: dict[tuple[str, str], Archive] = {}
    for archive in _all(variables, elements):
        found.setdefault((archive.uri, archive.suite), archive)
    return list(found.values())


def configured(text: str) -> Iterator[AptSource]:
    """What the ``NAME:LINE`` lines of ``DIB_APT_SOURCES_CONF`` name."""
    for line in text.splitlines():
        yield from one_line_sources(line.partition(":")[2])


def _all(variables: Mapping[str, str], elements: Collection[str]) -> Iterator[Archive]:
    mirror = variables.get("DIB_DISTRIBUTION_MIRROR", "").rstrip("/")
    release = variables.get("DIB_RELEASE", "")
    if not mirror or not release:
        return
    if "debian-minimal" in elements:
        # The bootstrap knows the mirror alone; root.d/75-debian-minimal-baseinstall goes on with the others.
        yield Archive(mirror, release)
        for source in configured(variables.get("DIB_APT_SOURCES_CONF", "")):
            yield Archive(source.uri.rstrip("/"), source.suite)
    elif "ubuntu-minimal" in elements:
        yield Archive(mirror, release)
        for pocket in re.split(r"[\s,]+", variables.get("DIB_UBUNTU_MIRROR_DISTS", "")):
            if pocket:
                yield Archive(mirror, f"{release}-{pocket}")
    elif "ubuntu" in elements:
        # The cloud image's own configuration, with the mirror in it (pre-install.d/01-set-ubuntu-mirror).
        for pocket in ("", "-updates", "-backports", "-security"):
            yield Archive(mirror, f"{release}{pocket}", "pre-install")
    if "apt-sources" in elements:
        yield from _sources_list(variables.get("DIB_APT_SOURCES", ""))


def _sources_list(path: str) -> Iterator[Archive]:
    """The user's sources.list, which the element apt-sources copies in extra-data.d."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace") if path else ""
    except OSError:
        return
    for source in one_line_sources(text):
        yield Archive(source.uri.rstrip("/"), source.suite, "pre-install")
