"""YAML files that users write: what is wrong with them is told by file and line, all at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from diskimage_create.errors import InputError, Problem

#: A place in a document: keys and indexes from the top
Place = tuple[str | int, ...]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Aliases of aliases can mean more than any memory holds.
_MOST_NODES = 1_000_000
_MOST_BYTES = 16 * 2**20
_DEEPEST = 100
_MERGE = "tag:yaml.org,2002:merge"
#: YAML 1.1's types of ``=`` and of ``!``, ``&``, ``*``: PyYAML resolves them, and has no constructor for them
_ONLY_TEXT = frozenset({"tag:yaml.org,2002:value", "tag:yaml.org,2002:yaml"})
_SCHEMAS = Path(__file__).parent / "schemas"
#: JSON Schema's names of types, for people
_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


@dataclass(frozen=True)
class Document:
    """The content of a YAML file, with the line of everything in it."""

    path: Path
    data: Any
    lines: Mapping[Place, int] = field(repr=False)
    texts: Mapping[Place, str] = field(repr=False)
    """Scalars as they are written: ``DIB_RELEASE: 9.0`` is ``9.0``"""
    repeated: tuple[tuple[int, str, str | None], ...] = ()
    """Keys that are there twice, or are no text: line, message, hint"""
    node: yaml.Node | None = field(default=None, repr=False, compare=False)
    """The same as YAML's nodes, for who writes it again as it was written; merge keys are resolved, aliases are not"""

    def where(self, *place: str | int) -> str:
        """``FILE:LINE`` of a place; of what is not there, that of what it would be in."""
        return f"{self.path}:{self.line(place)}"

    def line(self, place: Place) -> int:
        """The line of a place, from 1; of what is not there, that of what it would be in."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def problems(self, schema: str, definition: str = "") -> list[Problem]:
        """Everything that a schema says is wrong with the content, in the order of the lines.

        :param schema: ``schemas/NAME.schema.json``
        :param definition: the part of it that the content is to fit
        """
        found = [*self.repeated]
        errors = _validator(schema, definition).iter_errors(self.data)
        for error in (meant for each in errors for meant in _meant(each)):
            top: Place = tuple(error.absolute_path)
            found += [(self.line((*top, *more)), message, hint) for more, message, hint in _explained(error)]
        order = sorted(found, key=lambda entry: entry[:2])
        return [Problem(message, f"{self.path}:{line}", hint) for line, message, hint in order]


def fits(data: Any, schema: str, definition: str) -> bool:
    """Whether a part of a document's content is as a definition of a schema says."""
    return bool(_validator(schema, definition).is_valid(data))


@cache
def _validator(schema: str, definition: str) -> Any:
    from jsonschema import Draft202012Validator  # slow to import

    whole = json.loads(schema_text(schema))
    part = {"$ref": f"#/$defs/{definition}", "$defs": whole["$defs"]} if definition else whole
    return Draft202012Validator(part)


def schema_text(name: str) -> str:
    """A JSON Schema of ours."""
    return (_SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")


def _meant(error: Any) -> Iterator[Any]:
    """Of alternatives, what is wrong with the one that is of the right type."""
    inner = [each for each in error.context if each.path or each.validator != "type"]
    if not inner:
        yield error
    for each in inner:
        yield from _meant(each)


def _explained(error: Any) -> Iterator[tuple[Place, str, str | None]]:
    """What an error of jsonschema means: a place below its own, a message, a hint."""
    path = ".".join(str(part) for part in error.absolute_path)
    inside = f"{path}: " if path else ""
    if error.validator == "additionalProperties" and isinstance(error.validator_value, bool):
        known = error.schema.get("properties", {})
        for key in sorted(error.instance.keys() - known.keys()):
            close = difflib.get_close_matches(key, known, n=1)
            yield (key,), f"{inside}unknown key {key}", _guess(close, known)
    elif error.validator == "required":
        (key,) = [key for key in error.validator_value if error.message.startswith(repr(key))]
        yield (), f"{inside}there is no {key}", error.schema.get("properties", {}).get(key, {}).get("description")
    else:
        yield (), f"{path or 'the file'} {_complaint(error)}", error.schema.get("description")


def _guess(close: list[str], known: Mapping[str, Any]) -> str:
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def _complaint(error: Any) -> str:
    wanted = error.validator_value
    match error.validator:
        case "type":
            return f"must be {' or '.join(_TYPES[name] for name in ([wanted] if isinstance(wanted, str) else wanted))}"
        case "not" if "type" in wanted:
            return f"must not be {' or '.join(_TYPES[name] for name in wanted['type'])}"
        case "enum":
            return f"must be one of {', '.join(dict.fromkeys(str(value).lower() for value in wanted))}"
        case "minLength" | "minItems" | "minProperties":
            return "is empty"
        case "oneOf" | "anyOf":
            return "has none of the forms that it can have"
        case "pattern":
            return f"cannot be {error.instance!r}"
        case _:
            return f"is wrong: {error.message}"


def read(path: Path) -> Document:
    """Read a file of one YAML document. Keys are always text.

    :raises InputError: it cannot be read, or is no YAML
    """
    (document,) = _documents(path, text_of(path), single=True)
    return document


def parse(path: Path, text: str) -> Document:
    """The same of a text that was made of a file.

    :raises InputError: it is no YAML
    """
    (document,) = _documents(path, text, single=True)
    return document


def parse_all(path: Path, text: str) -> list[Document]:
    """The YAML documents in a file's text, any number; of those that are empty, nothing.

    :raises InputError: it is no YAML
    """
    return [each for each in _documents(path, text, single=False) if each.data is not None]


def text_of(path: Path) -> str:
    """The text of a file.

    :raises InputError: it cannot be read, is too large, or is no UTF-8
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InputError([Problem(f"is larger than {_MOST_BYTES >> 20} MiB", str(path))])
        return content.decode("utf-8-sig")  # without the mark that some editors begin a file with
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError([Problem(f"cannot be read: {reason}", str(path))]) from None


def _documents(path: Path, text: str, *, single: bool) -> list[Document]:
    try:
        _refuse_depth(text)
        loader = _Loader(text)
        try:
            nodes = [loader.get_single_node()] if single else _nodes(loader)
            return [_document(path, loader, node) for node in nodes]
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise InputError([Problem(f"is no YAML: {what}", f"{path}{line}")]) from None
    except (yaml.YAMLError, ValueError) as error:  # e.g. the 30th of February
        raise InputError([Problem(f"is no YAML: {' '.join(str(error).split())}", str(path))]) from None
    except RecursionError:  # an alias of what it is in
        raise InputError([Problem("is nested too deeply, or contains itself", str(path))]) from None


def _nodes(loader: Any) -> Iterator[yaml.Node]:
    while loader.check_node():
        yield loader.get_node()


def _document(path: Path, loader: Any, node: yaml.Node | None) -> Document:
    reader = _Reader()
    data = None if node is None else reader.value(loader, node, ())
    return Document(path, data, reader.lines, reader.texts, tuple(dict.fromkeys(reader.repeated)), node)


def _refuse_depth(text: str) -> None:
    """PyYAML follows what is nested on the stack of the C library, which has an end."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise yaml.YAMLError("it is nested too deeply")


def _merge(loader: Any, node: yaml.MappingNode) -> None:
    """Put what ``<<`` merges in before the mapping's own keys, which win.

    Each key is kept once, so that merging the same mapping again and again makes nothing larger.
    """
    if not any(key.tag == _MERGE for key, _ in node.value):
        return
    for each in _merged_by(node):
        _merge(loader, each)
    loader.flatten_mapping(node)
    last = {key.value if isinstance(key, yaml.ScalarNode) else id(key): (key, value) for key, value in node.value}
    node.value = list(last.values())


def _merged_by(node: yaml.MappingNode) -> Iterator[yaml.MappingNode]:
    """The mappings that ``<<`` brings into a mapping."""
    for key, value in node.value:
        if key.tag == _MERGE:
            several = value.value if isinstance(value, yaml.SequenceNode) else [value]
            yield from (each for each in several if isinstance(each, yaml.MappingNode))


class _Reader:
    """Makes values of YAML's nodes, and remembers where they were."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.texts: dict[Place, str] = {}
        self.repeated: list[tuple[int, str, str | None]] = []

    def value(self, loader: Any, node: yaml.Node, place: Place) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        if len(self.lines) > _MOST_NODES:
            raise yaml.YAMLError(f"more than {_MOST_NODES} values")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(loader, item, (*place, index)) for index, item in enumerate(node.value)]
        self.texts[place] = node.value
        if node.tag in _ONLY_TEXT:
            return node.value
        try:
            return loader.construct_object(node)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            what = f"{node.value!r} is not what its tag says"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark) from None

    def _mapping(self, loader: Any, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        self._complain_of_doubles(node)
        for merged in _merged_by(node):
            self._complain_of_doubles(merged)
        _merge(loader, node)
        made: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.repeated.append((key.start_mark.line + 1, "a key is no text", None))
                continue
            here = (*place, key.value)
            self.lines[here] = key.start_mark.line + 1
            made[key.value] = self.value(loader, value, here)
        return made

    def _complain_of_doubles(self, node: yaml.MappingNode) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in seen:
                    hint = f"it is also on line {seen[key.value]}; YAML would silently take the last one"
                    self.repeated.append((line, f"key {key.value!r} is there twice", hint))
                seen.setdefault(key.value, line)
