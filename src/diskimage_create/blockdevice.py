"""A diskimage-builder plugin that partitions a loop device without device-mapper.

diskimage-builder's own ``partitioning`` plugin maps partitions with ``kpartx``, which
needs device-mapper. Containers, micro-VMs and most CI machines have none. This one writes
the same partition table through its parent, then makes the kernel's own partition devices
(``/dev/loop0p1``) with ``partx``, which works on a kernel that has neither device-mapper
nor partition table parsing.

It runs inside diskimage-builder's process, found through the entry point group
``diskimage_builder.block_device.plugin`` and chosen by the key ``loop_partitioning`` in
``DIB_BLOCK_DEVICE_CONFIG``.
"""

from __future__ import annotations

import os
from pathlib import Path

from diskimage_builder.block_device.level1.partitioning import Partitioning
from diskimage_builder.block_device.utils import exec_sudo


class LoopPartitioning(Partitioning):  # type: ignore[misc]
    """``partitioning`` with partx in place of kpartx."""

    def create(self) -> None:
        """Write the table and make the partition devices; called once for every partition."""
        self.number_of_partitions += 1
        if self.number_of_partitions > 1:
            return
        base = self.state["blockdev"][self.base]
        self.image_path = base["image"]
        self.device_path = base["device"]
        self.disk_size = os.path.getsize(self.image_path)
        write_table = {"mbr": self._create_mbr, "gpt": self._create_gpt}[self.label]
        write_table()
        exec_sudo(["sync", self.image_path])
        exec_sudo(["partx", "--update", self.device_path])
        for partition in self.partitions:
            block = self.state["blockdev"][partition.get_name()]
            block["device"] = _device_node(os.path.basename(block["device"]))

    def umount(self) -> None:
        """Remove the partition devices; called once for every partition, acts on the last."""
        self.number_of_partitions -= 1
        if self.number_of_partitions == 0:
            exec_sudo(["partx", "--delete", self.state["blockdev"][self.base]["device"]])


def _device_node(name: str) -> str:
    """The path of a partition's device, made from what the kernel says where nothing else makes it."""
    node = f"/dev/{name}"
    if not os.path.exists(node):  # a container without devtmpfs
        major, minor = Path(f"/sys/class/block/{name}/dev").read_text().strip().split(":")
        exec_sudo(["mknod", "--mode=0660", node, "b", major, minor])
    return node
