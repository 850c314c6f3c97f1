"""Mark a loop device to go away with its last user, or take the mark back.

    python -m diskimage_create.autoclear on|off /dev/loop0

Hooks of the element build-host call it. A build that is killed while its disk is mounted
takes the mounts with it, because they are in its own namespace; loop devices are in none,
and this makes them follow. The mark is taken back before diskimage-builder detaches the
device itself. Source of the structure: linux/loop.h, ``struct loop_info64``.
"""

from __future__ import annotations

import fcntl
import struct
import sys
from pathlib import Path

_LOOP_SET_STATUS64 = 0x4C04
_LOOP_GET_STATUS64 = 0x4C05
_LO_FLAGS_AUTOCLEAR = 4
_SIZE_OF_LOOP_INFO64 = 232
_OFFSET_OF_FLAGS = 52


def set_autoclear(device: Path, wanted: bool) -> None:
    """Set or clear the flag.

    :raises OSError: not a loop device, or not ours to change
    """
    with device.open("rb") as file:
        info = bytearray(_SIZE_OF_LOOP_INFO64)
        fcntl.ioctl(file, _LOOP_GET_STATUS64, info)
        (flags,) = struct.unpack_from("=I", info, _OFFSET_OF_FLAGS)
        flags = flags | _LO_FLAGS_AUTOCLEAR if wanted else flags & ~_LO_FLAGS_AUTOCLEAR
        struct.pack_into("=I", info, _OFFSET_OF_FLAGS, flags)
        fcntl.ioctl(file, _LOOP_SET_STATUS64, bytes(info))


if __name__ == "__main__":
    set_autoclear(Path(sys.argv[2]), wanted={"on": True, "off": False}[sys.argv[1]])
