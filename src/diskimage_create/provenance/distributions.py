"""The Python distributions of an image that no package of its own brought: those of virtual environments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser

from diskimage_create.provenance.licences import Licences, conjunction
from diskimage_create.provenance.model import Component
from diskimage_create.validate.root import ImageRoot

#: Below these are files of packages, data, or nothing that stays
_NOT_LOOKED_AT = frozenset("usr boot dev proc sys run tmp lost+found lib lib64 bin sbin".split())
_METADATA = re.compile(r"/[^/]+\.(dist-info/METADATA|egg-info/PKG-INFO)$")
_OSI_APPROVED = "License :: OSI Approved :: "
#: What says nothing
_NONE = ("", "UNKNOWN")


def python_distributions(root: ImageRoot, licences: Licences) -> Iterator[Component]:
    """Every distribution that has metadata outside of /usr, or in /usr/local, once for each version."""
    places = [f"/{name}" for name in root.listdir("/") if name not in _NOT_LOOKED_AT]
    for place in [*places, "/usr/local"]:
        for name in root.files_below(place):
            if _METADATA.search(name) and (text := root.read_text(name)):
                yield from _distribution(text, licences)


def _distribution(text: str, licences: Licences) -> Iterator[Component]:
    from packageurl import PackageURL

    fields = HeaderParser().parsestr(text.partition("\n\n")[0])  # what follows is the description
    name, version = _field(fields, "Name"), _field(fields, "Version")
    if not name:  # nothing that could be named
        return
    yield Component(
        PackageURL("pypi", None, name, version or None).to_string(),
        name,
        version,
        supplier=_supplier(fields),
        licence=_licence(fields, licences),
        homepage=_field(fields, "Home-page"),
    )


def _licence(fields: Message, licences: Licences) -> str:
    """By PEP 639's expression, else by the older field, else by classifiers."""
    for field in ("License-Expression", "License"):
        if expression := licences.of_expression(_field(fields, field)):
            return expression
    classifiers = [str(value) for value in fields.get_all("Classifier", [])]
    names = [value.removeprefix(_OSI_APPROVED) for value in classifiers if value.startswith(_OSI_APPROVED)]
    return conjunction(licences.of_expression(name) for name in names)


def _supplier(fields: Message) -> str:
    author, address = _field(fields, "Author"), _field(fields, "Author-email")
    if author and address and "<" not in address:
        return f"{author} <{address}>"
    return address if "<" in address else author or address


def _field(fields: Message, name: str) -> str:
    value = str(fields.get(name, "")).strip()
    return "" if value in _NONE else value
