"""CycloneDX 1.6 as JSON. Source: https://cyclonedx.org/docs/1.6/json/"""

from __future__ import annotations

from typing import Any

from diskimage_create.provenance.document import TOOL, Subject, identifier, is_url, name_and_address, tool_version
from diskimage_create.provenance.model import Component, Contents

#: Prefix of properties that have no place of their own in the format
_PROPERTY = f"{TOOL}:"


def cyclonedx(subject: Subject, contents: Contents) -> dict[str, Any]:
    """The bill of materials of an image, with its components in the order of their package URLs."""
    image = f"sha256:{subject.sha256}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{identifier(subject, contents, 'cyclonedx')}",
        "version": 1,
        "metadata": {
            "timestamp": subject.timestamp,
            "tools": {"components": [{"type": "application", "name": TOOL, "version": tool_version()}]},
            "component": {
                "bom-ref": image,
                "type": "operating-system",
                "name": subject.name,
                "version": contents.system.get("VERSION_ID", ""),
                "description": contents.system.get("PRETTY_NAME", ""),
                "hashes": [{"alg": "SHA-256", "content": subject.sha256}],
            },
        },
        "components": [_component(component) for component in contents.components],
        "dependencies": [{"ref": image, "dependsOn": [component.purl for component in contents.components]}],
    }


def _component(component: Component) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "bom-ref": component.purl,
        "type": "library",
        "supplier": _supplier(component.supplier),
        "name": component.name,
        "version": component.version,
        "licenses": [{"expression": component.licence}] if component.licence else None,
        "purl": component.purl,
        "externalReferences": _references(component),
        "properties": _properties(component),
    }
    return {key: value for key, value in facts.items() if value}


def _supplier(text: str) -> dict[str, Any] | None:
    name, address = name_and_address(text)
    if not name:
        return None
    return {"name": name, "contact": [{"email": address}]} if address else {"name": name}


def _references(component: Component) -> list[dict[str, str]]:
    return [{"type": "website", "url": component.homepage}] if is_url(component.homepage) else []


def _properties(component: Component) -> list[dict[str, str]]:
    facts = {"architecture": component.architecture, "source-package": component.source}
    return [{"name": _PROPERTY + name, "value": value} for name, value in facts.items() if value]
