"""The Debian packages of an image, from dpkg's status file and the copyright files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from diskimage_create.provenance.licences import Licences
from diskimage_create.provenance.model import Component
from diskimage_create.validate.root import ImageRoot

_FIELD = re.compile(r"^(Package|Status|Architecture|Version|Source|Maintainer|Homepage): (.*)$", re.MULTILINE)
_SOURCE = re.compile(r"(\S+)(?: \((.*)\))?")


def debian_packages(root: ImageRoot, status: str, system: Mapping[str, str], licences: Licences) -> Iterator[Component]:
    """Every installed package.

    :param status: content of dpkg's status file
    :param system: what os-release says
    """
    from packageurl import PackageURL

    namespace = system.get("ID") or "debian"
    distro = f"{namespace}-{system.get('VERSION_ID') or system.get('VERSION_CODENAME') or 'unknown'}"
    for paragraph in status.split("\n\n"):
        fields = _fields(paragraph)
        if not _is_installed(fields):
            continue
        name, version, architecture = (fields.get(key, "") for key in ("Package", "Version", "Architecture"))
        source = source_of(fields)
        qualifiers = {"arch": architecture, "distro": distro, "upstream": _upstream(source, name, version)}
        yield Component(
            PackageURL("deb", namespace, name, version, qualifiers).to_string(),
            name,
            version,
            architecture,
            supplier=fields.get("Maintainer", ""),
            source=" ".join(source),
            licence=_licence(root, name, licences),
            homepage=fields.get("Homepage", ""),
        )


def source_versions(status: str) -> dict[str, str]:
    """``name:architecture`` of every installed package -> version of its source package, which its changelog is of.

    :param status: content of dpkg's status file
    """
    return {
        f"{fields.get('Package', '')}:{fields.get('Architecture', '')}": source_of(fields)[1]
        for fields in map(_fields, status.split("\n\n"))
        if _is_installed(fields)
    }


def source_of(fields: Mapping[str, str]) -> tuple[str, str]:
    """Name and version of the source package: those of the package itself, where the field says nothing else."""
    match = _SOURCE.match(fields.get("Source", ""))
    name, version = (match[1], match[2]) if match else (None, None)
    return name or fields.get("Package", ""), version or fields.get("Version", "")


def _fields(paragraph: str) -> dict[str, str]:
    return {name: value.strip() for name, value in _FIELD.findall(paragraph)}


def _is_installed(fields: Mapping[str, str]) -> bool:
    return fields.get("Status", "").endswith(" installed") and bool(fields.get("Package"))


def _upstream(source: tuple[str, str], name: str, version: str) -> str:
    """What a scanner for vulnerabilities has to know of a source package, which is what advisories name."""
    if source == (name, version):
        return ""
    return source[0] if source[1] == version else f"{source[0]}@{source[1]}"


def _licence(root: ImageRoot, package: str, licences: Licences) -> str:
    text = root.read_text(f"/usr/share/doc/{package}/copyright")
    return licences.of_copyright(text) if text else ""
