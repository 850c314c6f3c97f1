"""The table of a deployment's images: a template that says of each what it is called, and who uses it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diskimage_create import yamlfile
from diskimage_create.errors import InputError, Problem

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_KEY = "container_images_template"


@dataclass(frozen=True)
class Row:
    """An image of the table."""

    imagename: str
    """``NAMESPACE/NAME:TAG``"""
    parameters: tuple[str, ...] = ()
    """Heat's, which name it"""
    services: frozenset[str] = frozenset()
    """Heat's types of the services that run it"""
    source: str = ""
    """Who makes it: ``tripleo``, ``ceph``, ..."""

    @property
    def name(self) -> str:
        """The last part of its name, for messages."""
        return self.imagename.rpartition("/")[2].partition("@")[0].partition(":")[0]


def values(given: Mapping[str, Any], defaults: Mapping[str, Any], mechanism_drivers: Any) -> dict[str, Any]:
    """What the template is evaluated with.

    :param given: ``set`` of one entry
    :param defaults: for what is missing there
    :param mechanism_drivers: ``NeutronMechanismDrivers``, a list or text with commas; None: there is none
    """
    made = {**defaults, **{key: value for key, value in given.items() if value is not None}}
    made["neutron_driver"] = given.get("neutron_driver") or _neutron_driver(mechanism_drivers)
    prefix, suffix = str(made.get("name_prefix") or ""), str(made.get("name_suffix") or "")
    made["name_prefix"] = f"{prefix}-" if prefix and not prefix.endswith("-") else prefix
    made["name_suffix"] = f"-{suffix}" if suffix and not suffix.startswith("-") else suffix
    return made


def _neutron_driver(mechanism_drivers: Any) -> str:
    if mechanism_drivers is None:
        return "ovn"
    names = mechanism_drivers.split(",") if isinstance(mechanism_drivers, str) else mechanism_drivers
    return "ovn" if "ovn" in [str(name).strip() for name in names] else "other"


@dataclass(frozen=True)
class Table:
    """A template of the table."""

    path: Path
    variables: frozenset[str]
    """The names of what it can be told"""
    _template: Template = field(repr=False)

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        """The images, as the template has them for some values.

        :raises InputError: it cannot be evaluated, or does not make such a table
        """
        with _errors(self.path):
            text = self._template.render(values)
        try:
            document = yamlfile.parse(self.path, text)
        except InputError as error:
            raise InputError([_of_what_it_makes(problem) for problem in error.problems]) from None
        if problems := document.problems("container-prepare", "table"):
            raise InputError([_of_what_it_makes(problem) for problem in problems])
        return [_row(entry) for entry in document.data[_KEY]]


def _row(entry: Mapping[str, Any]) -> Row:
    services = frozenset(entry.get("services") or ())
    return Row(entry["imagename"], tuple(entry.get("params") or ()), services, entry.get("image_source") or "")


def load(path: Path, *more: Path) -> Table:
    """Read a template. What it includes lies beside it.

    :param more: directories to look for that besides
    :raises InputError: it cannot be read, or is no template
    """
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    yamlfile.text_of(path)  # jinja2 would say of all that cannot be read that it is not there
    environment = SandboxedEnvironment(loader=FileSystemLoader([path.parent, *more]), undefined=StrictUndefined)
    environment.globals.pop("namespace")  # here it is the name of a value, and no function
    with _errors(path):
        return Table(path, frozenset(_variables(environment, path.name, set())), environment.get_template(path.name))


def _variables(environment: Environment, name: str, seen: set[str]) -> Iterator[str]:
    """What a template, and those that it includes, take from outside."""
    from jinja2 import meta

    seen.add(name)
    assert environment.loader is not None
    source, filename, _ = environment.loader.get_source(environment, name)
    tree = environment.parse(source, name, filename)
    yield from meta.find_undeclared_variables(tree)
    for included in meta.find_referenced_templates(tree):
        if included and included not in seen:
            yield from _variables(environment, included, seen)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Whatever is wrong with a template, with the file and the line."""
    from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError

    try:
        yield
    except TemplateSyntaxError as error:
        raise InputError([Problem(f"is no template: {error.message}", f"{error.filename}:{error.lineno}")]) from None
    except TemplateNotFound as error:
        raise InputError([Problem(f"includes {error.name}, which is not there", str(path))]) from None
    except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError([Problem(f"cannot be evaluated: {error}", _place(error, path))]) from None


def _place(error: Exception, path: Path) -> str:
    """Where in templates something went wrong: jinja2 makes frames of theirs."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if frame.line is not None and not frame.filename.endswith(".py")]
    return f"{inside[-1].filename}:{inside[-1].lineno}" if inside else str(path)


def _of_what_it_makes(problem: Problem) -> Problem:
    """The line is not one of the file."""
    path, _, line = (problem.where or "").rpartition(":")
    return Problem(f"makes no table: {problem.message}", f"{path}, line {line} of what it makes", problem.hint)
