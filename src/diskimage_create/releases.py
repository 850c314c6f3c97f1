"""Releases of distributions by the codenames that users say."""

from __future__ import annotations

from types import MappingProxyType

#: Codename -> the distribution, and its version as os-release(5) gives it
RELEASES = MappingProxyType(
    {
        "xenial": ("ubuntu", "16.04"),
        "bionic": ("ubuntu", "18.04"),
        "focal": ("ubuntu", "20.04"),
        "jammy": ("ubuntu", "22.04"),
        "noble": ("ubuntu", "24.04"),
        "resolute": ("ubuntu", "26.04"),
        "stretch": ("debian", "9"),
        "buster": ("debian", "10"),
        "bullseye": ("debian", "11"),
        "bookworm": ("debian", "12"),
        "trixie": ("debian", "13"),
    }
)
