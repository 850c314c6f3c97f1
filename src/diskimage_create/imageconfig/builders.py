"""diskimage-builder's own format: a list of images (``diskimage_builder/diskimage_builder.py``)."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from diskimage_create.errors import InputError, Problem
from diskimage_create.imageconfig.image import ConfiguredImage, as_written
from diskimage_create.imageconfig.merging import merge_builders
from diskimage_create.yamlfile import Document

#: Keys that are flags of disk-image-create
_FLAGS: Mapping[str, str] = {
    "uncompressed": "-u",
    "clear": "-c",
    "checksum": "--checksum",
    "no-tmpfs": "--no-tmpfs",
    "offline": "--offline",
}
#: Keys that are options of it
_OPTIONS = (
    *("logfile", "image-size", "image-extra-size", "image-cache", "max-online-resize", "min-tmpfs"),
    *("mkfs-journal-size", "mkfs-options", "root-label", "ramdisk-element", "install-type"),
)


def merge(documents: Iterable[Document]) -> list[ConfiguredImage]:
    """The images of such files.

    :raises InputError: one of them is a ramdisk
    """
    entries: list[dict[str, Any]] = []
    places: dict[str, dict[str, str]] = {}
    name = "image"
    for document in documents:
        for number, entry in enumerate(document.data):
            entries.append(as_written(entry, document, (number,)))
            name = entry.get("imagename", name)
            known = places.setdefault(name, {"": document.where(number)})
            known |= {key: document.where(number, key) for key in entry}
    images = merge_builders(entries)
    if ramdisks := [
        Problem(
            f"image {name} is a ramdisk", places[name]["ramdisk"], "disk images alone can be built from such a file"
        )
        for name, image in images.items()
        if image.get("ramdisk")
    ]:
        raise InputError(ramdisks)
    return [ConfiguredImage(name, _translated(image), places[name]) for name, image in images.items()]


def _translated(image: Mapping[str, Any]) -> dict[str, Any]:
    """An image in the words of TripleO's format."""
    values = {key: image[key] for key in ("imagename", "arch", "environment", "packages", "elements") if key in image}
    values["type"] = ",".join(image.get("types", ["qcow2"]))
    values["skip_base"] = image.get("skip-base", False)
    if "docker-target" in image:
        values["docker_target"] = image["docker-target"]
    options = [flag for key, flag in _FLAGS.items() if image.get(key)]
    options += ["-x"] * int(image.get("debug-trace", 0))
    options += [f"--{key} {shlex.quote(str(image[key]))}" for key in _OPTIONS if image.get(key) not in (None, "")]
    if qemu := image.get("qemu-img-options"):
        text = ",".join(f"{name}={value}" for name, value in qemu.items())
        options.append(f"--qemu-img-options {shlex.quote(text)}")
    return {**values, "options": options}
