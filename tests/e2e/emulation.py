"""Programs of another architecture on this machine: enabled for the tests where they are not, and disabled after."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from diskimage_create.architectures import BINFMT_MISC, emulated, emulator

#: Programs that must be there, and the packages that have them
_TOOLS = {"update-binfmts": "binfmt-support", "qemu-arm-static": "qemu-user-static", "arch-test": "arch-test"}


@contextmanager
def emulation(arch: str) -> Iterator[None]:
    """Let programs of an architecture run, or skip the test where that cannot be; what was done is undone."""
    if missing := [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]:
        pytest.skip(f"emulating {arch} needs the packages {', '.join(missing)}")
    with ExitStack() as undo:
        if not (BINFMT_MISC / "status").exists():
            _do_or_skip("mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT_MISC))
            undo.callback(subprocess.run, ["umount", str(BINFMT_MISC)], check=True)
        if arch not in emulated():
            handler = f"qemu-{emulator(arch)}"
            _do_or_skip("update-binfmts", "--enable", handler)
            undo.callback(subprocess.run, ["update-binfmts", "--disable", handler], check=True)
        if arch not in emulated():
            pytest.skip(f"binfmt_misc has no handler for {arch} that works in a chroot")
        yield


def _do_or_skip(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().splitlines()
        pytest.skip(f"binfmt_misc cannot be used here: {' '.join(command)}: {why[0] if why else done.returncode}")
