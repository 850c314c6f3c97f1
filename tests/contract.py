"""The JSON contracts that the project ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

import diskimage_create


def schema_errors(document: Any, name: str) -> list[str]:
    """What is wrong with a document, by the schema of that name that the project ships."""
    shipped = Path(diskimage_create.__file__).parent / "schemas"
    registry: Registry[Any] = Registry().with_resources(
        (path.name, Resource.from_contents(json.loads(path.read_text()))) for path in shipped.glob("*.schema.json")
    )
    schema = registry.contents(f"{name}.schema.json")
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, registry=registry)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
