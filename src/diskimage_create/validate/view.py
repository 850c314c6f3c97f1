"""What an opened image is to the checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from diskimage_create.validate.formats.disk import Disk
from diskimage_create.validate.root import ImageRoot


class Damaged(Exception):
    """The image cannot be opened; ``check`` is the check that this fails."""

    def __init__(self, check: str, message: str) -> None:
        super().__init__(message)
        self.check = check
        self.message = message


class Unavailable(Exception):
    """Something that a check needs is not there to be looked at; the check is skipped with this reason."""


@dataclass
class ImageView:
    """An opened image. What it does not have raises :class:`Unavailable` when a check asks for it."""

    path: Path
    kind: str
    """``qcow2``, ``raw``, ``vhd``, ``tar``, ``squashfs``, ``initramfs`` or ``kernel``."""
    workspace: Path
    notes: list[str] = field(default_factory=list)
    """How the opening differed from the usual way, to the user's disadvantage."""
    access: str = ""
    """How the image is looked into where that is not the usual way, but shows all the same."""
    mount_error: str | None = None
    no_root: str = "the root file system could not be mounted"
    """Why there is none to be looked at"""
    _raw: Path | None = None
    _disk: Disk | None = None
    _root: ImageRoot | None = None

    @property
    def disk(self) -> Disk:
        """The disk; a tar archive or a bare file system has none."""
        if self._disk is None:
            raise Unavailable(f"a {self.kind} image has no disk")
        return self._disk

    @property
    def raw(self) -> Path:
        """The content of the disk, as one file."""
        if self._raw is None:
            raise Unavailable(f"a {self.kind} image has no disk")
        return self._raw

    @property
    def root(self) -> ImageRoot:
        """The mounted, or unpacked, tree."""
        if self._root is None:
            raise Unavailable(self.no_root)
        return self._root

    @property
    def tree(self) -> Path | None:
        """Where the tree of the root file system is on this host; None where there is none to be looked at."""
        return self._root.path if self._root else None
