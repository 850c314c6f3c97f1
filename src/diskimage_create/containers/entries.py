"""The entries of ``ContainerImagePrepare``: what they say, and what is wrong with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diskimage_create import yamlfile
from diskimage_create.containers import destinations, heat
from diskimage_create.containers.heat import Environment
from diskimage_create.containers.model import Modification
from diskimage_create.errors import InputError, Problem
from diskimage_create.registries import labels

PARAMETER = "ContainerImagePrepare"
#: What comes after the tag of a changed image; strftime(3)
APPEND_TAG = "-modified-%Y%m%d%H%M%S"


@dataclass(frozen=True)
class Entry:
    """An entry, all of it checked."""

    where: str
    """``FILE:LINE``"""
    values: Mapping[str, Any] = field(default_factory=dict)
    """``set``"""
    push_destination: str | None = None
    """``HOST[:PORT][/PREFIX]``; None: images stay where they are"""
    pull_source: str | None = None
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    tag_from_label: str | None = None
    modification: Modification | None = None
    multi_arch: bool = False


def read_defaults(path: Path) -> Environment:
    """The environment file with the defaults.

    :raises InputError: it is none, or sets nothing; with every problem
    """
    problems: list[Problem] = []
    environment = heat.read([path], problems)
    if problems:
        raise InputError(problems)
    first = (environment.get(PARAMETER) or [{}])[0]
    if not first.get("set"):
        hint = f"in parameter_defaults, the first entry of {PARAMETER} has the values"
        raise InputError([Problem("has no defaults", str(path), hint)])
    return environment


def read(
    environment: Environment, local: Callable[[], str], now: time.struct_time, problems: list[Problem]
) -> list[Entry]:
    """The entries that fit the schema: of the others, it has been told what is wrong.

    :param local: says which is the local registry, ``HOST:PORT``
    :param now: when tags say that images were changed
    :param problems: gets everything else that is wrong
    """
    many = bool(environment.get("AdditionalArchitectures"))
    entries = []
    given_entries = environment.get(PARAMETER)
    for number, given in enumerate(given_entries if isinstance(given_entries, list) else ()):
        if not yamlfile.fits(given, heat.SCHEMA, "entry"):
            continue
        entry = _entry(environment, number, given, local, now, many)
        problems += _wrong(environment, number, given, entry)
        entries.append(entry)
    return entries


def _entry(
    environment: Environment,
    number: int,
    given: Mapping[str, Any],
    local: Callable[[], str],
    now: time.struct_time,
    many: bool,
) -> Entry:
    multi_arch = given.get("multi_arch")
    return Entry(
        where=environment.where(PARAMETER, number) or "",
        values=environment.written(PARAMETER, number, "set") if given.get("set") else {},
        push_destination=_push_destination(given.get("push_destination"), local),
        pull_source=given.get("pull_source") or None,
        includes=tuple(given.get("includes") or ()),
        excludes=tuple(given.get("excludes") or ()),
        tag_from_label=given.get("tag_from_label") or None,
        modification=_modification(given, now),
        multi_arch=many if multi_arch is None else multi_arch,
    )


def _push_destination(given: str | bool | None, local: Callable[[], str]) -> str | None:
    if given is True:
        return local()
    return given.strip("/") if given else None


def _modification(given: Mapping[str, Any], now: time.struct_time) -> Modification | None:
    if not given.get("modify_role"):
        return None
    append_tag = given.get("modify_append_tag")
    return Modification(
        role=given["modify_role"],
        variables=given.get("modify_vars") or {},
        append_tag=time.strftime(APPEND_TAG if append_tag is None else append_tag, now),
        only_with_labels=tuple(given.get("modify_only_with_labels") or ()),
        only_with_source=tuple(given.get("modify_only_with_source") or ()),
    )


def _wrong(environment: Environment, number: int, given: Mapping[str, Any], entry: Entry) -> Iterator[Problem]:
    """What a schema cannot say."""

    def where(key: str) -> str | None:
        return environment.where(PARAMETER, number, key)

    if entry.push_destination is not None and (why := destinations.wrong_with(entry.push_destination)):
        yield Problem(f"push_destination {why}", where("push_destination"), "true, or HOST:PORT")
    if given.get("tag_from_label") is not None:
        yield from labels.problems(given["tag_from_label"], where("tag_from_label") or "")
    if entry.modification is None:
        return
    from diskimage_create.containers import modify

    if entry.push_destination is None:
        hint = "a changed image must go somewhere: push_destination: true, or HOST:PORT"
        yield Problem("modify_role needs a push_destination", where("modify_role"), hint)
    if entry.multi_arch:
        yield Problem("an image of several architectures cannot be changed", where("modify_role"), "multi_arch: false")
    place = where("modify_vars") if given.get("modify_vars") else where("modify_role")
    yield from modify.problems(entry.modification, place)
