"""Releases of OpenStack and of distributions, as file names and tags say them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diskimage_create.releases import RELEASES

_CODENAMES = (
    *("austin", "bexar", "cactus", "diablo", "essex", "folsom", "grizzly", "havana", "icehouse", "juno", "kilo"),
    *("liberty", "mitaka", "newton", "ocata", "pike", "queens", "rocky", "stein", "train", "ussuri", "victoria"),
    *("wallaby", "xena", "yoga", "zed"),
)
#: From 2023 on, releases have a number, and a name besides (https://releases.openstack.org/).
_NUMBERED = {
    "antelope": "2023.1",
    "bobcat": "2023.2",
    "caracal": "2024.1",
    "dalmatian": "2024.2",
    "epoxy": "2025.1",
    "flamingo": "2025.2",
    "gazpacho": "2026.1",
}
_NUMBER = re.compile(r"20\d\d\.[12]")

#: ``rocky`` alone is a release of OpenStack.
_FAMILY = re.compile(
    r"(?P<name>ubuntu|debian|centos|rhel|ubi|rocky|fedora|opensuse|leap)(?:[_-]?leap)?[_-]?(?P<version>\d+(?:\.\d+)?)(?![\d.])"
)
_WORD = re.compile(r"[a-z]+|\d[\d.]*")


def releases(text: str) -> set[str]:
    """The releases of OpenStack that a text names: ``{"2025.1"}`` for ``2025.1-ubuntu_noble``."""
    words = _WORD.findall(_FAMILY.sub(" ", text.lower()))
    return set(_releases(words))


def _releases(words: list[str]) -> Iterator[str]:
    for word in words:
        if word in _CODENAMES or _NUMBER.fullmatch(word):
            yield word
        elif word in _NUMBERED:
            yield _NUMBERED[word]


def distributions(text: str) -> set[str]:
    """The distributions that a text names with their release: ``{"ubuntu 24.04"}`` for ``2025.1-ubuntu_noble``."""
    lower = text.lower()
    found = {" ".join(RELEASES[word]) for word in _WORD.findall(lower) if word in RELEASES}
    return found | {f"{match['name']} {match['version']}" for match in _FAMILY.finditer(lower)}
