"""The packages of an image with their versions, for its record."""

from __future__ import annotations

import re

from diskimage_create.validate.image import ImageView, Unavailable
from diskimage_create.validate.packages import DPKG_STATUS

_FIELD = re.compile(r"^(Package|Status|Architecture|Version): (.*)$", re.MULTILINE)


def package_versions(view: ImageView) -> list[dict[str, str]]:
    """Name, version and architecture of every installed package; empty where they cannot be read here."""
    try:
        status = view.root.read_text(DPKG_STATUS)
    except Unavailable:
        return []
    packages = []
    for paragraph in (status or "").split("\n\n"):
        fields = dict(_FIELD.findall(paragraph))
        if fields.get("Status", "").endswith(" installed"):
            names = ("Package", "Version", "Architecture")
            packages.append({name.lower(): fields.get(name, "") for name in names})
    return sorted(packages, key=lambda package: (package["package"], package["architecture"]))
