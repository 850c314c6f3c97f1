"""What Glance is told of an image: attributes and properties, from its record and from the user."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from diskimage_create.errors import Problem
from diskimage_create.publish.model import Glance
from diskimage_create.publish.source import Source
from diskimage_create.releases import RELEASES

#: Type of an image -> what Glance calls its format. It has no archives.
FORMATS = MappingProxyType({"qcow2": "qcow2", "raw": "raw", "vhd": "vhd", "kernel": "aki", "initramfs": "ari"})
#: Profile -> the tag by which a service finds its images: Octavia's ``amp_image_tag``
TAGS = MappingProxyType({"amphora": ("amphora",)})
#: The digest of the image's file, by which a later run knows what is there
SHA256 = "diskimage_create_sha256"
FINGERPRINT = "diskimage_create_fingerprint"
#: The process that uploads; only there until the image is complete
PUBLISHER = "diskimage_create_publisher"
_OURS = "diskimage_create_"
#: What users may set that is a number
_NUMBERS = frozenset({"min_disk", "min_ram"})
#: Attributes that are no properties (Image service API v2), and are not set as such
_ATTRIBUTES = frozenset(
    {
        *("id", "name", "status", "visibility", "protected", "owner", "tags", "disk_format", "container_format"),
        *("size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "os_hidden", "created_at", "updated_at"),
        *("self", "file", "schema", "stores", "locations", "direct_url", "members", "base_image_ref"),
    }
)
#: Glance's names of architectures (hw_architecture) where they are not ours
_ARCHITECTURES = MappingProxyType(
    {"amd64": "x86_64", "arm64": "aarch64", "i386": "i686", "armhf": "armv7l", "ppc64el": "ppc64le"}
)
_OPTION = {"visibility": "--visibility", "tags": "--tag", "name": "glance:NAME"}


def problems(source: Source, settings: Glance) -> list[Problem]:
    """What is wrong with publishing this image, or with what the user said of it."""
    found = []
    if source.type not in FORMATS:
        what = f"Glance has no images of type {source.type}"
        found.append(Problem(what, str(source.path), f"publish one of type {', '.join(FORMATS)}"))
    for name, value in settings.properties.items():
        if name in _ATTRIBUTES or name.startswith((_OURS, "os_glance_")):
            hint = f"use {_OPTION[name]}" if name in _OPTION else "leave it out"
            found.append(Problem(f"{name} is not for users to set", "--property", hint))
        elif name in _NUMBERS and not (value.isascii() and value.isdecimal()):
            unit = "GiB" if name == "min_disk" else "MiB"
            found.append(Problem(f"{name}={value} is no number of {unit}", "--property", f"write {name}=1024"))
        elif len(name) > 255:
            found.append(Problem(f"a property's name has more than 255 characters: {name[:20]}...", "--property"))
    for tag in settings.tags:
        if not tag or len(tag) > 255 or "/" in tag:
            found.append(Problem(f"{tag!r} cannot be a tag of Glance", "--tag", "it has 1 to 255 characters, no slash"))
    return found


def tags(source: Source, settings: Glance) -> tuple[str, ...]:
    """The tags that the image takes over: those the user names, or else its profile's."""
    return tuple(dict.fromkeys(settings.tags)) or TAGS.get(source.record["image"].get("profile"), ())


def attributes(source: Source, settings: Glance) -> dict[str, Any]:
    """All that is said of an image, but its name and tags. What the user says wins."""
    said: dict[str, Any] = {name: int(text) if name in _NUMBERS else text for name, text in settings.properties.items()}
    if settings.visibility:
        said["visibility"] = settings.visibility
    disk_format = FORMATS[source.type]
    container = disk_format if disk_format in ("aki", "ari") else "bare"
    known = {"disk_format": disk_format, "container_format": container, **_properties(source), SHA256: source.sha256}
    if fingerprint := source.record.get("fingerprint"):
        known[FINGERPRINT] = fingerprint
    return {**known, **said}


def architecture(record: Mapping[str, Any]) -> str:
    """What Glance calls the image's architecture."""
    name: str = record["image"]["arch"]
    return _ARCHITECTURES.get(name, name)


def _properties(source: Source) -> dict[str, Any]:
    """What the record tells (the metadata definitions of Glance and Nova: CIM, libosinfo)."""
    record = source.record
    expectation = record.get("expectation") or {}
    properties: dict[str, Any] = {"hw_architecture": architecture(record), "os_type": "linux"}
    distribution, release = (
        expectation.get("distribution"),
        expectation.get("release") or record["image"].get("release"),
    )
    if distribution:
        properties["os_distro"] = distribution
    if release:
        properties["os_version"] = RELEASES[release][1] if release in RELEASES else release.removesuffix("-stream")
    if source.type not in ("kernel", "initramfs"):
        properties["hw_firmware_type"] = "uefi" if _needs_uefi(record) else "bios"
        properties["min_disk"] = expectation.get("size_gib") or record["image"].get("size_gib") or 0
        if source.type != "vhd":  # which is for hypervisors without virtio
            properties["hw_disk_bus"] = "virtio"
    return properties


def _needs_uefi(record: Mapping[str, Any]) -> bool:
    """ARM machines have no other firmware; elsewhere an EFI system partition says so (``EF00``, sgdisk(8))."""
    elements = (record.get("expectation") or {}).get("elements") or record.get("elements") or ()
    layout = str((record.get("environment") or {}).get("DIB_BLOCK_DEVICE_CONFIG", ""))
    arm = architecture(record) in ("aarch64", "armv7l")
    return arm or "EF00" in layout.upper() or any(name.startswith("block-device-efi") for name in elements)
