"""What is set up in two images: their packages, services and kernel command lines, as names and values."""

from __future__ import annotations

import re
from collections import Counter

from diskimage_create.diff.ignore import IgnoreList
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.grub import boot_entries, grub_config

# What grub-mkconfig makes the command line from.
_GRUB_DEFAULTS = ("/etc/default/grub", "/etc/default/grub.d/*.cfg")


def kernel_command_lines(root: ImageRoot, ignore: IgnoreList) -> dict[str, str]:
    """The arguments of every kernel that the boot loader offers, by the kernel's name.

    They come from GRUB's configuration, the boot loader specification's entries included; an
    image without any boots with what /etc/default/grub will make.
    """
    config = grub_config(root)
    if config is None:
        return _grub_defaults(root)
    lines: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for entry in boot_entries(root, config):
        seen[entry.kernel] += 1
        # The second one of a kernel is mostly that for recovery.
        name = entry.kernel if seen[entry.kernel] == 1 else f"{entry.kernel} ({seen[entry.kernel]})"
        lines[name] = ignore.blank(config, entry.arguments)
    return lines


def _grub_defaults(root: ImageRoot) -> dict[str, str]:
    """The variables of /etc/default/grub that hold arguments; the last assignment wins."""
    lines: dict[str, str] = {}
    for pattern in _GRUB_DEFAULTS:
        for name in root.glob(pattern):
            lines |= dict(
                re.findall(r"^\s*(GRUB_CMDLINE_LINUX\w*)=(.*?)\s*$", root.read_text(name) or "", re.MULTILINE)
            )
    return lines
