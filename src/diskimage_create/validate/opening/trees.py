"""The tree of a disk, as the booted image sees it: the root file system, and what its fstab mounts."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.validate.formats.disk import EFI_SYSTEM, Disk, Partition
from diskimage_create.validate.opening import Mounter, fat
from diskimage_create.validate.root import ImageRoot, Tree
from diskimage_create.validate.system import fstab
from diskimage_create.validate.view import ImageView

# One of them is in every root file system, and in no other.
_OF_A_SYSTEM = ("/etc/os-release", "/usr/lib/os-release", "/etc/fstab", "/etc/passwd")
# Where distributions have the root on a Btrfs whose default subvolume it is not.
_SUBVOLUMES = ("root", "@", "@rootfs")
# No image has as many; an fstab of a hostile one could.
_MOST_MOUNTS = 16


class DiskTrees:
    """The file systems of an opened disk, mounted while ``stack`` lasts."""

    def __init__(self, view: ImageView, stack: ExitStack, mount: Mounter) -> None:
        self._view = view
        self._disk: Disk = view.disk
        self._stack = stack
        self._mount = mount
        self._count = 0
        self._shown: dict[tuple[int, str], Tree] = {}

    def open(self) -> None:
        """Give the view its root, or the reason why it has none.

        :raises NotThisWay: this way of mounting cannot read the root file system
        :raises HostError: nothing can be mounted here
        """
        if not (candidates := self._disk.linux_partitions):
            self._view.mount_error = "no partition holds an ext, XFS or Btrfs file system"
            return
        try:
            found = self._with_a_system(candidates) or (candidates[0], self._tree(candidates[0]))
        except CommandFailed as error:  # of the largest: whatever else there is, it is not the root
            self._view.mount_error = error.output.strip() or error.message
            return
        partition, tree = found
        self._view._disk = replace(self._disk, root_number=partition.number)
        self._view._root = self._with_mounts(tree)

    def _with_a_system(self, candidates: list[Partition]) -> tuple[Partition, Tree] | None:
        for partition in candidates:
            for subvolume in ("", *(_SUBVOLUMES if _type(partition) == "btrfs" else ())):
                try:
                    tree = self._tree(partition, subvolume)
                except CommandFailed:
                    if partition == candidates[0] and not subvolume:
                        raise
                    continue
                if _holds_a_system(ImageRoot(tree)):
                    return partition, tree
        return None

    def _with_mounts(self, tree: Tree) -> ImageRoot:
        """The root with what its fstab mounts, outermost first; what is not on this disk is left out."""
        root = ImageRoot(tree)
        try:
            lines = fstab.parse_fstab(root.read_text("/etc/fstab") or "")
        except OSError:  # the checks will say so
            return root
        mounts = [mount for mount in lines if mount.place.startswith("/")]
        for mount in sorted(mounts, key=lambda each: each.place.count("/"))[:_MOST_MOUNTS]:
            partition = fstab.partition_of(mount, self._disk)
            try:
                place = root.canonical(mount.place)
            except OSError:  # no such directory
                continue
            if partition and place != "/" and (below := self._further(partition, mount)):
                root = ImageRoot(tree, {**root.mounted, place: below})
        return root

    def _further(self, partition: Partition, mount: fstab.Mount) -> Tree | None:
        """What a line of fstab mounts; None, and a finding, where that cannot be read."""
        if partition.filesystem is None and partition.type != EFI_SYSTEM:
            return None
        try:
            return self._tree(partition, mount.subvolume)
        except CommandFailed as error:
            said = error.output.strip() or error.message
            self._view.mount_error = f"what is to be mounted at {mount.place}: {said}"
        except HostError as error:
            self._view.notes.append(f"what is mounted at {mount.place} was not looked into: {error.message}")
        return None

    def _tree(self, partition: Partition, subvolume: str = "") -> Tree:
        """A partition's tree; mounted once, however often it is asked for.

        :raises CommandFailed: it cannot be read
        """
        key = (partition.number, subvolume)
        if key not in self._shown:
            self._count += 1
            target = self._view.workspace / (f"root.{self._count}" if self._count > 1 else "root")
            target.mkdir(exist_ok=True)
            raw, filesystem = self._view.raw, partition.filesystem
            if filesystem is None:
                shown = fat.copied(raw, partition, target)
            else:
                place = (raw, filesystem, partition.start, partition.size, target, subvolume)
                shown = self._stack.enter_context(self._mount(*place))
            self._shown[key] = shown
        return self._shown[key]


def _holds_a_system(root: ImageRoot) -> bool:
    try:
        return any(root.exists(name) for name in _OF_A_SYSTEM)
    except OSError:  # damaged, where a system has its files
        return True


def _type(partition: Partition) -> str:
    return partition.filesystem.type if partition.filesystem else ""
