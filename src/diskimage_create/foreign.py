"""Images of other architectures than the host's: what their builds need, and what is to be told of them."""

from __future__ import annotations

from diskimage_create.architectures import BINFMT_MISC, Runs, emulator
from diskimage_create.host import HostFacts, how_it_runs
from diskimage_create.model import ImageSpec


def missing(spec: ImageSpec, host: HostFacts) -> list[str]:
    """What keeps programs of the image from running here while it is built, each with what to do."""
    runs = how_it_runs(spec.arch, host)
    if runs is Runs.NATIVE:
        return []
    problems = []
    if spec.family == "debian" and "mmdebstrap" in host.tools and "arch-test" not in host.tools:
        problems.append("arch-test is missing: mmdebstrap asks it about other architectures; package arch-test")
    if runs is None:
        # Without systemd (in containers) the packages alone register nothing.
        enable = f"mount -t binfmt_misc binfmt_misc {BINFMT_MISC}; update-binfmts --enable qemu-{emulator(spec.arch)}"
        problems.append(
            f"programs of {spec.arch} do not run on this {host.arch} host; packages qemu-user-static, binfmt-support; "
            f"if these are installed, as root: {enable}"
        )
    return problems


def notes(spec: ImageSpec, host: HostFacts) -> list[str]:
    """What the plan of an image says of its architecture."""
    lacking = [f"cannot be built here: {problem}" for problem in missing(spec, host)]
    if how_it_runs(spec.arch, host) is Runs.EMULATED:
        return [f"programs of {spec.arch} are emulated on this {host.arch} host: the build takes longer", *lacking]
    return lacking
