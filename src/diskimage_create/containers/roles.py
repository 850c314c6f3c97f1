"""The services that a deployment runs, by its roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diskimage_create import yamlfile
from diskimage_create.containers.heat import Environment
from diskimage_create.errors import InputError, Problem
from diskimage_create.yamlfile import Document

#: What a service is mapped to that is switched off
_NOTHING = "OS::Heat::None"


def read(path: Path) -> Document:
    """Read a roles file.

    :raises InputError: it cannot be read, or is none; with every problem
    """
    document = yamlfile.read(path)
    if problems := document.problems("container-prepare", "roles"):
        raise InputError(problems)
    return document


def services(roles: Document, environment: Environment) -> frozenset[str]:
    """The services of all roles that have a node.

    :raises InputError: a role's count is no number, or its services are no list; with every problem
    """
    problems: list[Problem] = []
    found: set[str] = set()
    for number, role in enumerate(roles.data):
        if _count(role, environment, problems, roles.where(number)) > 0:
            found.update(_services(role, environment, problems))
    if problems:
        raise InputError(problems)
    return frozenset(service for service in found if environment.resources.get(service) != _NOTHING)


def _count(role: Mapping[str, Any], environment: Environment, problems: list[Problem], where: str) -> int:
    """How many nodes a role has."""
    name = f"{role['name']}Count"
    given = environment.get(name)
    try:
        return int(role.get("CountDefault", 0) if given is None else given)
    except (TypeError, ValueError):
        problems.append(Problem(f"{name} must be a whole number", environment.where(name) or where))
        return 0


def _services(role: Mapping[str, Any], environment: Environment, problems: list[Problem]) -> Sequence[str]:
    name = f"{role['name']}Services"
    given = environment.get(name)
    if given is None:
        return role.get("ServicesDefault") or []
    if isinstance(given, list) and all(isinstance(service, str) for service in given):
        return given
    problems.append(Problem(f"{name} must be a list of services", environment.where(name)))
    return []
