"""What two records of builds say that differs: what went in, with what, and how large the results are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diskimage_create.diff.model import Change, compare_values
from diskimage_create.diff.packages import compare_packages
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import RECORD_SCHEMA

Record = Mapping[str, Any]

# What of the inputs has a group of its own.
_GROUPED_INPUTS = ("element:", "environment:", "option:", "tool:")

_PACKAGE_FIELDS = ("package", "version", "architecture")


def is_record(path: Path) -> bool:
    """Whether a file is JSON, as no image is."""
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"{")


def read_record(path: Path) -> Record:
    """Read a record.

    :raises InputError: it is none, or of a version that is not known here
    """
    return parse_record(path.read_bytes(), str(path))


def parse_record(content: bytes, where: str) -> Record:
    """A record that was read.

    :param where: what holds it
    :raises InputError: it is none, or of a version that is not known here
    """
    try:
        record = json.loads(content)
        _require_shape(record)
    except (ValueError, RecursionError) as error:
        raise InputError([Problem(f"this is no record of a build: {error}", where=where)]) from None
    found: Record = record
    return found


def compare_records(a: Record, b: Record) -> dict[str, tuple[Change, ...]]:
    """The differences between two records, by group."""
    groups = {"packages": compare_packages(a["packages"], b["packages"])}
    return groups | {name: compare_values(values(a), values(b)) for name, values in _GROUPS.items()}


def _require_shape(record: Any) -> None:
    """Only what is read here: the JSON Schema says more, and a record may say less.

    :raises ValueError: names the first thing that is not as it should be
    """
    if not isinstance(record, dict):
        raise ValueError("it is no object")
    if record.get("schema") != RECORD_SCHEMA:
        raise ValueError(f"schema is {record.get('schema')!r} instead of {RECORD_SCHEMA}")
    for key, fields in {
        "packages": _PACKAGE_FIELDS,
        "resolved_elements": ("name", "digest"),
        "artifacts": ("type",),
    }.items():
        entries = record.get(key)
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) and all(isinstance(entry.get(field), str) for field in fields) for entry in entries
        ):
            raise ValueError(f"{key} is no list of objects with {', '.join(fields)}")
    for key in ("inputs", "environment", "tools"):
        if not isinstance(record.get(key), dict):
            raise ValueError(f"{key} is no object")


def _elements(record: Record) -> dict[str, str]:
    return {element["name"]: element["digest"] for element in record["resolved_elements"]}


def _options(record: Record) -> dict[str, str]:
    return {name.removeprefix("option:"): str(v) for name, v in record["inputs"].items() if name.startswith("option:")}


def _environment(record: Record) -> dict[str, str]:
    return {name: str(value) for name, value in record["environment"].items()}


def _inputs(record: Record) -> dict[str, str]:
    return {name: str(value) for name, value in record["inputs"].items() if not name.startswith(_GROUPED_INPUTS)}


def _tools(record: Record) -> dict[str, str]:
    inputs = {name.removeprefix("tool:"): v for name, v in record["inputs"].items() if name.startswith("tool:")}
    return {name: str(version) for name, version in {**inputs, **record["tools"]}.items()}


def _sizes(record: Record) -> dict[str, str]:
    return {artifact["type"]: f"{artifact.get('bytes')} bytes" for artifact in record["artifacts"]}


_GROUPS: Mapping[str, Callable[[Record], dict[str, str]]] = {
    "elements": _elements,
    "options": _options,
    "environment": _environment,
    "inputs": _inputs,
    "tools": _tools,
    "sizes": _sizes,
}
