"""``elements show``: all that is known of one element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from diskimage_create.catalogue import Catalogue, Entry, facts, packages, phases
from diskimage_create.catalogue.packages import Package

SCHEMA = 1


def as_json(catalogue: Catalogue, entry: Entry, distro: str | None, release: str | None) -> dict[str, Any]:
    """What ``elements show --format json`` prints.

    :param distro: packages are shown under the names that this distribution has for them
    """
    element = entry.element
    return {
        "schema": SCHEMA,
        "name": entry.name,
        "path": str(entry.path),
        "origin": entry.origin_as_json(),
        "description": facts.description(entry.path),
        "shadows": [str(other.path) for other in catalogue.shadows(entry)],
        "depends": sorted(element.depends),
        "provides": sorted(element.provides),
        "dependents": catalogue.dependents(entry.name),
        "hooks": [{**asdict(hook), "in_target": hook.phase in phases.IN_TARGET} for hook in facts.hooks(entry.path)],
        "variables": [
            {"name": each.name, "default": each.default, "files": list(each.files)}
            for each in facts.variables(entry.path)
        ],
        "distribution": distro,
        "packages": [
            {
                "name": package.name,
                "action": package.action,
                "phase": package.phase,
                "conditions": list(package.conditions),
                "mapped": None if package.mapped is None else list(package.mapped),
            }
            for package in packages.packages(entry.path, distro, release)
        ],
        "checks": [asdict(test) for test in facts.tests(entry.path)],
    }


def as_text(catalogue: Catalogue, entry: Entry, distro: str | None, release: str | None) -> str:
    """The same for people."""
    element = entry.element
    rows = [
        ("element", [entry.name]),
        ("what", [facts.description(entry.path) or "(no README)"]),
        ("origin", [entry.origin]),
        ("path", [str(entry.path)]),
        ("shadows", [f"{other.path} ({other.origin})" for other in catalogue.shadows(entry)]),
        ("provides", sorted(element.provides)),
        ("depends on", [_provided(catalogue, name) for name in sorted(element.depends)]),
        ("needed by", [", ".join(catalogue.dependents(entry.name))]),
        ("hooks", list(_hooks(entry))),
        ("variables", [_variable(each) for each in facts.variables(entry.path)]),
        ("packages", [_package(each) for each in packages.packages(entry.path, distro, release)]),
        ("checks", [f"{each.name}  ({each.title})" if each.title else each.name for each in facts.tests(entry.path)]),
    ]
    lines = []
    for title, values in rows:
        for number, value in enumerate(value for value in values if value):
            lines.append(f"{'' if number else title:<12}{value}")
    return "\n".join(lines)


def _provided(catalogue: Catalogue, name: str) -> str:
    if name in catalogue.elements:
        return name
    providers = catalogue.providers(name)
    return f"{name} (provided by {', '.join(providers)})" if providers else f"{name} (there is none)"


def _hooks(entry: Entry) -> Iterator[str]:
    for hook in facts.hooks(entry.path):
        remarks = ["sourced by every phase"] if hook.phase == phases.ENVIRONMENT else []
        remarks += ["in the image"] if hook.phase in phases.IN_TARGET else []
        remarks += [f"install type {hook.installtype}"] if hook.installtype else []
        yield f"{hook.path}  ({', '.join(remarks)})" if remarks else hook.path


def _variable(variable: facts.Variable) -> str:
    default = f"={variable.default}" if variable.default else ""
    return f"{variable.name}{default}  ({', '.join(variable.files)})"


def _package(package: Package) -> str:
    mapped = ""
    if package.mapped is not None and package.mapped != (package.name,):
        mapped = f" -> {' '.join(package.mapped) or 'nothing'}"
    remarks = [package.action] if package.action != "install" else []
    remarks += [f"in {package.phase}.d"] if package.phase != "install" else []
    remarks += package.conditions
    return f"{package.name}{mapped}  ({', '.join(remarks)})" if remarks else f"{package.name}{mapped}"
