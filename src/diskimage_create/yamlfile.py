"""YAML files that users write, checked against a JSON Schema; what is wrong is told by file and line, all at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from diskimage_create.errors import InputError, Problem

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCHEMAS = Path(__file__).parent / "schemas"


class YamlFile:
    """The content of a YAML file, and where in it each part stands.

    :raises InputError: it cannot be read, or is no YAML
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
            self._root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
            self.data: Any = yaml.load(text, Loader=_Loader)  # noqa: S506  (a safe loader)
        except (OSError, UnicodeDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise InputError([Problem(f"the file cannot be read: {what}", str(path))]) from None
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            raise InputError([Problem(f"it is no YAML: {error.problem}", f"{path}{line}")]) from None
        except (yaml.YAMLError, ValueError) as error:  # e.g. the 30th of February
            raise InputError([Problem(f"it is no YAML: {error}", str(path))]) from None

    def where(self, *keys: str | int) -> str:
        """``FILE:LINE`` of a part of the content, or of the innermost part around it that there is."""
        node, line = self._root, 1
        for key in (None, *keys):
            if key is not None:
                found = _child(node, key)
                if found is None:
                    break
                node, line = found[1], found[0].start_mark.line + 1
            elif node is not None:
                line = node.start_mark.line + 1
        return f"{self.path}:{line}"

    def problems(self, schema: str) -> list[Problem]:
        """Everything that the schema of this name says is wrong, in the order of the file."""
        from jsonschema import Draft202012Validator  # slow to import

        validator = Draft202012Validator(json.loads((_SCHEMAS / f"{schema}.schema.json").read_text(encoding="utf-8")))
        twice = [Problem(f"{key} is there twice", f"{self.path}:{line}") for key, line in _repeated(self._root)]
        wrong = [problem for error in validator.iter_errors(self.data) for problem in self._explained(error)]
        return sorted((*twice, *wrong), key=lambda problem: int((problem.where or ":0").rpartition(":")[2]))

    def _explained(self, error: Any) -> Iterator[Problem]:
        path: Sequence[str | int] = list(error.absolute_path)
        # Of alternatives, the one that is of the right type was meant.
        if meant := [inner for inner in error.context if inner.path or inner.validator != "type"]:
            for inner in meant:
                yield from self._explained(inner)
            return
        inside = f"{'.'.join(str(part) for part in path)}: " if path else ""
        if error.validator == "additionalProperties" and isinstance(error.validator_value, bool):
            known = error.schema.get("properties", {})
            for key in (key for key in error.instance if key not in known):
                close = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
                yield Problem(f"{inside}unknown key {key!r}", self.where(*path, key), hint)
        elif error.validator == "required":
            for key in error.validator_value:
                if key not in error.instance and error.message.startswith(repr(key)):
                    yield Problem(f"{inside}{key} is missing", self.where(*path))
        else:
            hint = error.schema.get("description")
            yield Problem(f"{inside}{error.message}", self.where(*path), hint)


def _child(node: yaml.Node | None, key: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Where a key stands, and its value."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key]
    if isinstance(node, yaml.MappingNode):
        return next(((name, value) for name, value in node.value if name.value == str(key)), None)
    return None


def _repeated(node: yaml.Node | None) -> Iterator[tuple[str, int]]:
    """Keys that a mapping has twice, where YAML would silently take the last one."""
    seen: set[str] = set()
    for child in node.value if isinstance(node, yaml.CollectionNode) else ():
        if isinstance(node, yaml.MappingNode):
            key, child = child
            if str(key.value) in seen:
                yield str(key.value), key.start_mark.line + 1
            seen.add(str(key.value))
        yield from _repeated(child)
