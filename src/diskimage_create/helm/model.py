"""What readers find in files of Helm's and TripleO's: references to images, and where they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from diskimage_create.errors import Problem
from diskimage_create.references import Reference
from diskimage_create.yamlfile import Place


class Kind(StrEnum):
    """Where a reference is, which says how it can be changed."""

    VALUES = "values"
    """An entry of an ``images`` section: an override replaces it"""
    CONTAINER = "container list"
    """``image`` of a container: an override would have to repeat the whole list"""
    TRIPLEO = "tripleo"
    """An entry of ``container_images``, or a parameter such as ``ContainerHeatApiImage``"""
    LIST = "list"
    """A line of a list"""
    TEMPLATE = "template"
    """Written into a chart's template"""


@dataclass(frozen=True)
class Used:
    """An image that a file names."""

    text: str
    """As it is written"""
    reference: Reference | None
    """None: the text is no reference, or a part of it is filled in later"""
    error: str | None
    """Why the text is no reference"""
    file: Path
    line: int
    """From 1"""
    place: Place
    """Keys and indexes from the document's top; in a text file, nothing"""
    kind: Kind
    key: str
    """What the file calls the image: ``db_init``, ``ContainerHeatApiImage``, a container's name"""
    chart: str | None = None
    """The chart whose values these are"""
    document: int = 0
    """Which document of the file it is in, from 0"""

    @property
    def unfinished(self) -> bool:
        """Whether a part is filled in later: by a template, or in place of ``%%%REPLACE_...%%%``."""
        return self.reference is None and self.error is None


class Layout(StrEnum):
    """How an ``images`` section is laid out."""

    FLAT = "images"
    """OpenStack-Helm of 2017: ``images: {KEY: REFERENCE, pull_policy: ...}``"""
    TAGS = "images.tags"
    """Today's: ``images: {tags: {KEY: REFERENCE}, pull_policy: ..., local_registry: ...}``"""


@dataclass(frozen=True)
class Word:
    """A word of a section that is no reference."""

    text: str
    line: int
    place: Place


@dataclass(frozen=True)
class Policy(Word):
    """When an image is pulled: of a section, or of a container."""

    file: Path
    chart: str | None


@dataclass(frozen=True)
class Section:
    """An ``images`` section of values."""

    file: Path
    line: int
    place: Place
    """``("images",)``, or in a file for several charts ``(CHART, "images")``"""
    layout: Layout
    chart: str | None
    keys: tuple[Word, ...]
    """The names of the images, those that have none (null) too"""
    pull_policy: Policy | None = None
    excluded: tuple[Word, ...] = ()
    """``local_registry.exclude``: the names of images that a local registry does not have"""
    document: int = 0


@dataclass(frozen=True)
class Template:
    """A file of a chart's templates, which is scanned, and not parsed."""

    path: Path
    partial: bool
    """Its name begins with an underscore: Helm makes no manifest of it"""
    code: str = field(repr=False)
    """Its text; comments are blank"""


@dataclass(frozen=True)
class Chart:
    """A directory with a ``Chart.yaml``."""

    name: str
    directory: Path
    sections: tuple[Section, ...]
    """The ``images`` sections of its ``values.yaml``: its own, and those of its sub-charts"""
    templates: tuple[Template, ...] = ()
    """Of a chart that was asked for as a whole"""
    complete: bool = False
    """Whether all of its files were read"""

    @property
    def images(self) -> Section | None:
        """The chart's own ``images`` section."""
        return next((each for each in self.sections if each.place == ("images",)), None)


@dataclass(frozen=True)
class Found:
    """All that the files under some paths say of images, in a stable order."""

    images: tuple[Used, ...]
    sections: tuple[Section, ...]
    pull_policies: tuple[Policy, ...]
    """Those of sections, and those of containers"""
    charts: tuple[Chart, ...]
    """Charts that were asked for, and those that files which were asked for belong to"""
    files: tuple[Path, ...]
    """Absolute paths of all that was read, whether it names images or not"""
    problems: tuple[Problem, ...]
    """Files that cannot be read, and keys that are there twice"""
