"""What an image's /etc/fstab says: which file system of its disk belongs where (fstab(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from diskimage_create.validate.formats.disk import EFI_SYSTEM, Disk, Partition

_OCTAL = re.compile(r"\\([0-7]{3})")
# The first disk of a machine, whatever it is attached by.
_DEVICE = re.compile(r"/dev/(?:[shv]da|xvda|nvme0n1p|mmcblk0p)(\d+)")


@dataclass(frozen=True)
class Mount:
    """A line of fstab."""

    device: str
    place: str
    type: str
    options: tuple[str, ...]

    @property
    def subvolume(self) -> str:
        """Which subvolume of a Btrfs is mounted; empty where the options do not say."""
        return next((option.partition("=")[2] for option in self.options if option.startswith("subvol=")), "")


def parse_fstab(text: str) -> Iterator[Mount]:
    """The lines that mount something, in their order."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 3 and not fields[0].startswith("#"):
            place = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[1])
            yield Mount(fields[0], place, fields[2], tuple((fields[3:4] or [""])[0].split(",")))


def partition_of(mount: Mount, disk: Disk) -> Partition | None:
    """The partition that a line means; None where it is not on this disk."""
    key, _, value = mount.device.replace('"', "").partition("=")
    for partition in disk.partitions:
        filesystem = partition.filesystem
        known = {
            "LABEL": filesystem.label if filesystem else "",
            "UUID": filesystem.uuid if filesystem else "",
            "PARTLABEL": partition.name,
            # A partition of an MBR has none of its own: libblkid makes one of the disk's.
            "PARTUUID": partition.uuid.lower() or f"{disk.identifier.removeprefix('0x')}-{partition.number:02x}",
        }
        sought = value.lower() if key.endswith("UUID") else value
        if sought and known.get(key) == sought:
            return partition
        if (device := _DEVICE.fullmatch(mount.device)) and int(device[1]) == partition.number:
            return partition
    efi = [partition for partition in disk.partitions if partition.type == EFI_SYSTEM]
    # Its label and number are FAT's; but there is only one.
    return efi[0] if mount.type == "vfat" and len(efi) == 1 and key in ("LABEL", "UUID") else None
