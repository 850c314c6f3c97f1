"""The packages that an element installs or removes, under the names that a distribution has for them.

The rules are those of diskimage-builder's elements package-installs and pkg-map; a test compares with the latter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LISTS = ("package-installs.json", "package-installs.yaml")
MAP = "pkg-map"
_FAMILIES = {
    "redhat": ("almalinux", "fedora", "rhel", "centos", "openeuler", "rocky"),
    "debian": ("debian", "ubuntu"),
    "suse": ("opensuse",),
    "gentoo": ("gentoo",),
}
#: What ``--os`` can be: a distribution of pkg-map
DISTRIBUTIONS = tuple(sorted(name for names in _FAMILIES.values() for name in names))
#: What reading a list may raise; PyYAML lets the errors of its constructors through (a tag says that a text is a date).
UNREADABLE = (
    *(OSError, ValueError, RecursionError, yaml.YAMLError),
    *(AttributeError, IndexError, KeyError, TypeError),
)
_CONDITIONS = ("arch", "not-arch", "dib_python_version", "when")


@dataclass(frozen=True)
class Package:
    """A package of an element's list."""

    name: str
    action: str
    """``install``, ``uninstall``, or ``build-only``: installed, and removed at the end of the phase"""
    phase: str
    conditions: tuple[str, ...] = ()
    mapped: tuple[str, ...] | None = None
    """Its names in a distribution, which may be none; None: no distribution was asked for"""


def distribution(operating_system: str) -> str:
    """The distribution of an element of one: ``debian`` of ``debian-minimal``."""
    return re.sub(r"-(minimal|container|systemd|upstart)$", "", operating_system)


def load(path: Path) -> Any:
    """The content of a list of packages, which is JSON or YAML whatever the file's name says.

    :raises: one of UNREADABLE
    """
    text = path.read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except ValueError:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (both are safe loaders)


def packages(directory: Path, distro: str | None = None, release: str | None = None) -> list[Package]:
    """What an element's lists name, by phase and name. What cannot be read is left to ``elements lint``."""
    found: list[Package] = []
    for name in LISTS:
        if (directory / name).is_file():
            found += _of_list(_mapping(directory / name))
    found += _of_old_lists(directory)
    if distro is not None:
        names = mapping(_mapping(directory / MAP), distro, release) if (directory / MAP).is_file() else {}
        found = [_mapped(package, names) for package in found]
    return sorted(found, key=lambda package: (package.phase, package.name))


def _mapping(path: Path) -> Mapping[str, Any]:
    try:
        return _dict(load(path))
    except UNREADABLE:
        return {}


def _dict(data: Any) -> dict[Any, Any]:
    return data if isinstance(data, dict) else {}


def _of_list(data: Mapping[str, Any]) -> Iterable[Package]:
    for name, given in data.items():
        for entry in (given if isinstance(given, list) else [given]) or [None]:
            options = entry if isinstance(entry, dict) else {}
            action = next((word for word in ("build-only", "uninstall") if word in options), "install")
            phase = str(options.get("phase", "install.d")).removesuffix(".d")
            conditions = [f"{key} {_text(options[key])}" for key in _CONDITIONS if options.get(key) is not None]
            if options.get("installtype") is not None:
                conditions.insert(0, f"install type {options['installtype']}")
            yield Package(str(name), action, phase, tuple(conditions))


def _text(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _of_old_lists(directory: Path) -> Iterable[Package]:
    """``PHASE.d/package-installs-X`` and ``package-uninstalls-X``: a name on each line."""
    for path in sorted(directory.glob("*.d/**/package-*installs-*")):
        action = path.name.split("-")[1].removesuffix("s")
        if action in ("install", "uninstall") and path.is_file():
            phase = path.relative_to(directory).parts[0].removesuffix(".d")
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.strip() and not line.startswith("#"):
                    yield Package(line.strip(), action, phase)


def _mapped(package: Package, names: Mapping[str, str]) -> Package:
    mapped = tuple(names.get(package.name, package.name).split())
    return Package(package.name, package.action, package.phase, package.conditions, mapped)


def mapping(data: Mapping[str, Any], distro: str, release: str | None = None) -> dict[str, str]:
    """A pkg-map for one distribution: the release's names go over its own, those over its family's and the defaults."""
    family = next((name for name, members in _FAMILIES.items() if distro in members), None)
    major = "8" if release == "8-stream" else release
    layers = (
        data.get("default"),
        _dict(data.get("family")).get(family),
        _dict(data.get("distro")).get(distro),
        _dict(_dict(data.get("release")).get(distro)).get(major),
    )
    return {str(name): str(value or "") for layer in layers for name, value in _dict(layer).items()}
