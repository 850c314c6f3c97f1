"""The images that a YAML document names: values of charts, container lists, TripleO's files, lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diskimage_create.helm import placeholders
from diskimage_create.helm.model import Kind, Layout, Policy, Section, Used, Word
from diskimage_create.references import InvalidReference, Reference, parse
from diskimage_create.yamlfile import Document, Place

IMAGES = "images"
#: Keys of a section that name no image
PULL_POLICY = "pull_policy"
_LOCAL_REGISTRY = "local_registry"
#: What services read: an ``image`` there is most often something else
_CONFIGURATION = "conf"
#: Where TripleO's environment files have theirs
PARAMETERS = "parameter_defaults"
_PARAMETER = re.compile(r"(?:Container|Docker)\w*Image")
_CONTAINERS = re.compile(r"containers?|sidecars?", re.IGNORECASE)


def used(text: str, file: Path, line: int, kind: Kind, key: str, chart: str | None = None) -> Used:
    """A reference, or what should be one, of a file that has no keys."""
    reference, error = _parsed(text)
    return Used(text, reference, error, file, line, (), kind, key, chart)


def _parsed(text: str) -> tuple[Reference | None, str | None]:
    if placeholders.has(text):
        return None, None
    try:
        return parse(text), None
    except InvalidReference as error:
        return None, str(error)


class Reading:
    """What one document says of images."""

    def __init__(self, document: Document, chart: str | None, number: int = 0) -> None:
        """Read it.

        :param chart: the chart whose values these are, where the file's place says so
        :param number: which document of the file it is, from 0
        """
        self.images: list[Used] = []
        self.sections: list[Section] = []
        self.pull_policies: list[Policy] = []
        self._document, self._chart, self._number = document, chart, number
        data = document.data
        #: The file is a chart's own values, and none for several charts
        self._is_of_one = isinstance(data, dict) and isinstance(data.get(IMAGES), dict)
        if isinstance(data, dict):
            self._mapping(data, ())
        elif isinstance(data, list):
            self._list(data, ())

    def _mapping(self, data: dict[str, Any], place: Place) -> None:
        if "image" in data:
            self._container(data, place)
        for key, value in data.items():
            here = (*place, key)
            if key == IMAGES and isinstance(value, dict) and self._is_section(value, place):
                self._section(value, here)
            elif key in (IMAGES, "container_images") and not place and isinstance(value, list):
                self._list(value, here)
            elif isinstance(value, dict):
                self._mapping(value, here)
            elif isinstance(value, list):
                self._items(value, here)
            elif place in ((), (PARAMETERS,)) and _PARAMETER.fullmatch(key) and value:
                self._add(value, here, Kind.TRIPLEO, key)

    def _items(self, data: list[Any], place: Place) -> None:
        for index, item in enumerate(data):
            if isinstance(item, dict):
                self._mapping(item, (*place, index))
            elif isinstance(item, list):
                self._items(item, (*place, index))

    def _list(self, data: list[Any], place: Place, chart: str | None = None) -> None:
        """A list of references, or TripleO's of mappings that have an ``imagename``."""
        for index, item in enumerate(data):
            here = (*place, index)
            if isinstance(item, dict) and "imagename" in item:
                if item["imagename"] is not None:
                    self._add(item["imagename"], (*here, "imagename"), Kind.TRIPLEO, str(index))
            elif isinstance(item, dict):
                self._mapping(item, here)
            elif isinstance(item, str):
                self._add(item, here, Kind.LIST, str(index), chart)

    def _is_section(self, value: dict[str, Any], place: Place) -> bool:
        """Whether these are images of a chart: at the top, or in a chart's part of a file for several."""
        if not place:
            return True
        if place[0] == _CONFIGURATION:
            return False
        if isinstance(value.get("tags"), dict) or PULL_POLICY in value:
            return True
        texts = [each for each in value.values() if isinstance(each, str)]
        return len(place) == 1 and not self._is_of_one and any("/" in each or ":" in each for each in texts)

    def _section(self, value: dict[str, Any], place: Place) -> None:
        chart = placeholders.unmask(str(place[-2])) if len(place) > 1 else self._chart
        layout = Layout.TAGS if "tags" in value and isinstance(value["tags"], dict | None) else Layout.FLAT
        within = (*place, "tags") if layout is Layout.TAGS else place
        keys = []
        for key, entry in ((value["tags"] or {}) if layout is Layout.TAGS else value).items():
            here = (*within, key)
            if layout is Layout.FLAT and key in (PULL_POLICY, _LOCAL_REGISTRY):
                continue
            if layout is Layout.TAGS or not isinstance(entry, dict | list):
                keys.append(self._word(key, here))
            if layout is Layout.FLAT and isinstance(entry, dict):
                self._mapping(entry, here)
            elif layout is Layout.FLAT and isinstance(entry, list):
                self._list(entry, here, chart)
            elif entry is not None:
                self._add(entry, here, Kind.VALUES, key, chart)
        policy = self._policy(value, (*place, PULL_POLICY), chart)
        excluded = self._excluded(value.get(_LOCAL_REGISTRY), (*place, _LOCAL_REGISTRY))
        file, line = self._document.path, self._document.line(place)
        self.sections.append(
            Section(file, line, _real(place), layout, chart, tuple(keys), policy, tuple(excluded), self._number)
        )

    def _excluded(self, local: Any, place: Place) -> Iterator[Word]:
        keys = local.get("exclude") if isinstance(local, dict) else None
        for index, key in enumerate(keys if isinstance(keys, list) else []):
            if isinstance(key, str):
                yield self._word(key, (*place, "exclude", index))

    def _policy(self, holder: dict[str, Any], place: Place, chart: str | None) -> Policy | None:
        value = holder.get(str(place[-1]))
        if value is None:
            return None
        word = self._word(value if isinstance(value, str) else self._written(place), place)
        policy = Policy(word.text, word.line, word.place, self._document.path, chart)
        self.pull_policies.append(policy)
        return policy

    def _container(self, data: dict[str, Any], place: Place) -> None:
        """A mapping that has an ``image``: a container of a list, or something else that runs one."""
        value, here = data["image"], (*place, "image")
        listed = len(place) > 1 and isinstance(place[-1], int) and _CONTAINERS.search(str(place[-2])) is not None
        if value is None or not (listed or _is_reference(value, strict=_CONFIGURATION in place)):
            return
        name = data.get("name")
        self._add(value, here, Kind.CONTAINER, name if isinstance(name, str) else str(place[-1] if place else "image"))
        self._policy(data, (*place, "imagePullPolicy"), self._chart)

    def _add(self, value: Any, place: Place, kind: Kind, key: str, chart: str | None = None) -> None:
        line, file = self._document.line(place), self._document.path
        text = placeholders.unmask(value if isinstance(value, str) else self._written(place))
        reference, error = _parsed(text)
        if not isinstance(value, str):
            reference, error = None, "it is no text: put it in quotation marks" if text else "it is no text"
        key, chart = placeholders.unmask(key), chart or self._chart
        self.images.append(Used(text, reference, error, file, line, _real(place), kind, key, chart, self._number))

    def _written(self, place: Place) -> str:
        return self._document.texts.get(place, "")

    def _word(self, text: str, place: Place) -> Word:
        return Word(placeholders.unmask(text), self._document.line(place), _real(place))


def _real(place: Place) -> Place:
    return tuple(placeholders.unmask(part) if isinstance(part, str) else part for part in place)


def _is_reference(value: Any, *, strict: bool) -> bool:
    """Whether an ``image`` is one of a container: it has a registry, or at least a tag.

    :param strict: only if it has both
    """
    if not isinstance(value, str):
        return False
    reference = placeholders.stand_in(placeholders.unmask(value))
    if reference is None or "{{" in value:
        return False
    version = reference.tag or reference.digest
    return bool(reference.registry and version) if strict else bool(reference.registry or version)
