"""Checks of a ramdisk: the kernel and the initramfs that a machine boots over the network."""

from __future__ import annotations

from diskimage_create.model import Expectation
from diskimage_create.validate.formats.executables import HEADER_BYTES
from diskimage_create.validate.formats.kernels import is_kernel, missing_bytes
from diskimage_create.validate.registry import Outcome, check, skipped, verdict
from diskimage_create.validate.view import ImageView

_INIT = "/init"


@check("ramdisk", "The kernel is whole, the initramfs has what it starts", element="no-final-image")
def ramdisk(view: ImageView, expectation: Expectation) -> Outcome:
    """The kernel is one, and not cut short; the initramfs unpacks, and ``/init`` in it can be executed.

    Without ``/init`` the kernel looks for a disk to mount, and panics.
    """
    if view.kind == "kernel":
        with view.path.open("rb") as file:
            missing = missing_bytes(start := file.read(HEADER_BYTES), view.path.stat().st_size)
        problems = [] if is_kernel(start) else ["it is no kernel"]
        return verdict([*problems, *([f"{missing} bytes are missing at its end"] if missing else [])], "a kernel")
    if view.kind != "initramfs":
        return skipped(f"a {view.kind} image is no ramdisk")
    problems = [] if view.root.is_executable(_INIT) else [f"there is no {_INIT} that could be executed"]
    return verdict(problems, f"{_INIT} is there")
