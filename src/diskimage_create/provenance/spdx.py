"""SPDX 2.3 as JSON. Source: https://spdx.github.io/spdx-spec/v2.3/"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from diskimage_create.provenance.document import TOOL, Subject, identifier, is_url, name_and_address, tool_version
from diskimage_create.provenance.model import Component, Contents

_IMAGE = "SPDXRef-Image"
_UNKNOWN = "NOASSERTION"


def spdx(subject: Subject, contents: Contents) -> dict[str, Any]:
    """The document for an image, with its packages in the order of their package URLs."""
    packages = [_package(component) for component in contents.components]
    name = f"{subject.name}-{identifier(subject, contents, 'spdx')}"
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject.name,
        # Where whoever writes a document has no site of his own, the specification offers this one
        "documentNamespace": f"https://spdx.org/spdxdocs/{re.sub(r'[^A-Za-z0-9._-]', '-', name)}",
        "creationInfo": {"created": subject.timestamp, "creators": [f"Tool: {TOOL}-{tool_version()}"]},
        "packages": [_image(subject, contents), *packages],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", _IMAGE),
            *(_relationship(_IMAGE, "CONTAINS", package["SPDXID"]) for package in packages),
        ],
        "hasExtractedLicensingInfos": [
            {
                "licenseId": reference,
                "name": name,
                "extractedText": f"The package calls it {name!r}; what it says is in the package's own files.",
            }
            for reference, name in contents.licences.items()
        ],
    }


def _image(subject: Subject, contents: Contents) -> dict[str, Any]:
    return {
        "SPDXID": _IMAGE,
        "name": subject.name,
        "versionInfo": subject.sha256,
        "packageFileName": subject.name,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "summary": contents.system.get("PRETTY_NAME", "an operating system"),
        "checksums": [{"algorithm": "SHA256", "checksumValue": subject.sha256}],
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
    }


def _package(component: Component) -> dict[str, Any]:
    optional = {
        "sourceInfo": component.source and f"built from: {component.source}",
        "homepage": component.homepage if is_url(component.homepage) else "",
    }
    return {
        "SPDXID": _identifier(component),
        "name": component.name,
        "versionInfo": component.version,
        **{key: value for key, value in optional.items() if value},
        "supplier": _supplier(component.supplier),
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": component.licence or _UNKNOWN,
        "copyrightText": _UNKNOWN,
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": component.purl}
        ],
    }


def _identifier(component: Component) -> str:
    """Letters, digits, dots and hyphens are allowed: the digest keeps apart what differs in others."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", component.name).strip("-")
    return f"SPDXRef-Package-{name}-{hashlib.sha256(component.purl.encode()).hexdigest()[:12]}"


def _supplier(text: str) -> str:
    """``Organization: Name (address)``: what maintains a package is a team, as often as not."""
    name, address = name_and_address(text.replace("(", "[").replace(")", "]"))
    if not name:
        return _UNKNOWN
    return f"Organization: {name} ({address})" if address else f"Organization: {name}"


def _relationship(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
