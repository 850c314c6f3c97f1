"""Several architectures of an image under one tag (OCI Image Specification 1.1, "Image Index")."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def of_architecture(index: Mapping[str, Any], architecture: str) -> str | None:
    """The digest of the manifest for an architecture; None where there is none."""
    for entry in index.get("manifests", []):
        platform = entry.get("platform") or {}
        if platform.get("architecture") == architecture and platform.get("os") == "linux":
            return str(entry["digest"])
    return None


def descriptor(manifest: bytes, platform: Mapping[str, str]) -> dict[str, Any]:
    """How an index names a manifest."""
    said = json.loads(manifest)
    kind = {"artifactType": said["artifactType"]} if "artifactType" in said else {}
    return {
        "mediaType": said.get("mediaType", MANIFEST),
        **kind,
        "digest": f"sha256:{hashlib.sha256(manifest).hexdigest()}",
        "size": len(manifest),
        "platform": dict(platform),
    }


def merged(index: Mapping[str, Any], descriptor: Mapping[str, Any]) -> bytes:
    """An index with one more manifest, which takes the place of the one for the same platform.

    All else stays as it is. The order depends on what is in it alone, so that the same manifests always make the same
    index, whichever came first.
    """
    taken = _platform(descriptor)
    kept = [entry for entry in index.get("manifests", []) if _platform(entry) != taken]
    entries = sorted([*kept, descriptor], key=lambda entry: (_platform(entry), entry["digest"]))
    more = {name: value for name, value in index.items() if name not in ("schemaVersion", "mediaType", "manifests")}
    made = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, **more}
    return json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode()


def _platform(entry: Mapping[str, Any]) -> tuple[str, ...]:
    platform = entry.get("platform") or {}
    return tuple(str(platform.get(name, "")) for name in ("os", "architecture", "variant", "os.version"))
