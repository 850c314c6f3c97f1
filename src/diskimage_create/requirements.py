"""What a host needs for each type of output, what of it is missing, and which package has it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diskimage_create import foreign, process
from diskimage_create.errors import HostError, InputError, Problem
from diskimage_create.files import existing
from diskimage_create.host import HostFacts
from diskimage_create.model import BuildPlan, ImageSpec, ResolvedElement


@dataclass(frozen=True)
class Requirement:
    """A program, or something of the kernel, that a kind of work needs."""

    name: str
    package: str
    """The package (Debian's name, and the redhat family's where it differs) or what else provides it."""
    purpose: str
    programs: tuple[str, ...] = ()
    """One of these is enough."""

    def met(self) -> bool:
        """Whether this host has it."""
        if self.programs:
            return any(process.which(program) for program in self.programs)
        return _KERNEL_PROBES[self.name]()


def _tool(name: str, package: str, purpose: str, *alternatives: str) -> Requirement:
    return Requirement(name, package, purpose, (name, *alternatives))


def _sudo_works() -> bool:
    if process.is_root():
        return True
    return process.run(["sudo", "--non-interactive", "true"], expect=range(256)).returncode == 0


_KERNEL_PROBES = {
    "loop devices": lambda: Path("/dev/loop-control").exists(),
    "root, or sudo without a password": lambda: process.which("sudo") is not None and _sudo_works(),
    "PID and mount namespaces": lambda: Path("/proc/self/ns/pid").exists() and Path("/proc/self/ns/mnt").exists(),
}

#: debootstrap's script of each release that it knows
_DEBOOTSTRAP = Path("/usr/share/debootstrap/scripts")

#: What every build needs
BASE = (
    _tool("sudo", "sudo", "diskimage-builder calls it, as root too"),
    Requirement("root, or sudo without a password", "an administrator", "mounts, loop devices, chroot"),
    Requirement("loop devices", "the kernel (modprobe loop)", "the disk of the image"),
    Requirement("PID and mount namespaces", "the kernel", "a build that leaves nothing behind"),
    _tool("disk-image-create", "pip install diskimage-builder", "builds the image"),
    _tool("unshare", "util-linux", "namespaces"),
    _tool("setpriv", "util-linux", "a build that dies with its parent"),
    _tool("losetup", "mount (util-linux)", "loop devices"),
    _tool("partx", "util-linux", "partitions without device-mapper"),
    _tool("sfdisk", "fdisk (util-linux)", "partition tables"),
    _tool("sgdisk", "gdisk", "GPT partition tables"),
    _tool("mkfs.ext4", "e2fsprogs", "the root file system"),
    _tool("openssl", "openssl", "hashes the root password"),
    _tool("git", "git", "elements that come from repositories"),
    _tool("tar", "tar", "base images and archives"),
    _tool("qemu-img", "qemu-utils (qemu-img)", "qcow2, vhd"),
    _tool("ps", "procps", "diskimage-builder's clean-up"),
    _tool("zstd", "zstd", "stages that a build can be resumed from"),
)
#: What a distribution's family needs besides
BY_FAMILY = {
    "debian": (
        _tool("mmdebstrap", "mmdebstrap (or debootstrap)", "Debian's and Ubuntu's root file system", "debootstrap"),
    ),
    "redhat": (_tool("dnf", "dnf (or yum)", "CentOS' and Rocky's root file system", "yum", "podman", "docker"),),
}
DEVICE_MAPPER = (_tool("kpartx", "kpartx", "partitions with device-mapper"),)
#: What an output type needs besides
BY_TYPE = {
    "qcow2": (),
    "raw": (),
    "vhd": (),
    "tar": (),
    "tgz": (_tool("gzip", "gzip", "tgz", "pigz"),),
    "squashfs": (_tool("mksquashfs", "squashfs-tools", "squashfs"),),
    "docker": (_tool("docker", "docker.io (docker-cli)", "docker import"),),
    "initramfs": (
        _tool("cpio", "cpio", "packs a ramdisk"),
        _tool("bsdtar", "libarchive-tools (bsdtar)", "looks into a ramdisk"),
    ),
    "kernel": (),
}
#: What booting an image needs, besides the emulator of its architecture
BOOT = (
    _tool("setpriv", "util-linux", "a machine that dies with its parent"),
    _tool("qemu-img", "qemu-utils (qemu-img)", "a disk of its own for the machine"),
    _tool("xorriso", "xorriso", "the config drive"),
    _tool("sfdisk", "fdisk (util-linux)", "tells whether the disk boots with BIOS or UEFI"),
)
#: What the machines of each architecture are run by, for what this host has: only what is needed has to be there
EMULATORS = (
    _tool("qemu-system-x86_64", "qemu-system-x86", "boots images of amd64"),
    _tool("qemu-system-aarch64", "qemu-system-arm, qemu-efi-aarch64", "boots images of arm64"),
    _tool("qemu-system-ppc64", "qemu-system-ppc", "boots images of ppc64le"),
)
#: What images of other architectures need, besides a handler in binfmt_misc
FOREIGN = (
    _tool("qemu-arm-static", "qemu-user-static, binfmt-support", "runs programs of other architectures", "qemu-arm"),
    _tool("arch-test", "arch-test", "mmdebstrap asks it about other architectures"),
)
#: What looking into an image needs, by ``validate --backend``: one of them is enough for most images
BACKENDS = {
    "loop": (
        Requirement("root, or sudo without a password", "an administrator", "mounts the image"),
        Requirement("loop devices", "the kernel (modprobe loop)", "mounts the image"),
        _tool("qemu-storage-daemon", "qemu-system-common (qemu-img)", "looks into a qcow2 without converting it"),
    ),
    "fuse": (
        _tool("qemu-storage-daemon", "qemu-system-common (qemu-img)", "looks into a qcow2 without root"),
        _tool("fuse2fs", "fuse2fs", "looks into ext4 without root"),
        _tool("debugfs", "e2fsprogs", "lists the files of ext4 without root"),
        _tool("fusermount3", "fuse3", "lets a user mount"),
    ),
    "guestfs": (
        _tool("guestmount", "guestmount (libguestfs-tools)", "logical volumes, and what the kernel cannot read"),
    ),
}
#: What makes things better, and can be done without
OPTIONAL = (
    _tool("mmdebstrap", "mmdebstrap", "bootstraps Debian faster than debootstrap"),
    _tool("mcopy", "mtools", "reads EFI system partitions"),
    _tool("bwrap", "bubblewrap", "runs the checks that elements bring"),
    _tool("podman", "podman", "gets images from 'publish'"),
    _tool("squashfuse", "squashfuse", "looks into squashfs without root"),
    _tool("rsync", "rsync", "source repositories that are archives"),
    _tool("gpg", "gpg, gpg-agent (gnupg2)", "signs with keys of GnuPG"),
    _tool("dot", "graphviz", "draws what elements depend on"),
    _tool("shellcheck", "shellcheck (ShellCheck)", "checks the scripts of elements"),
    _tool("skopeo", "skopeo", "copies images of containers"),
    _tool("buildah", "buildah", "changes images of containers"),
)


def needed(types: Iterable[str], family: str, device_mapper: bool) -> list[Requirement]:
    """Everything that images of these types and of this family need."""
    wanted = [*BASE, *BY_FAMILY.get(family, ()), *(DEVICE_MAPPER if device_mapper else ())]
    for name in types:
        wanted += BY_TYPE[name]
    return wanted


def require_all(wanted: Iterable[Requirement], what: str) -> None:
    """Refuse work that cannot be done here.

    :param what: is to be done
    :raises HostError: names everything that is missing, with the package that has it
    """
    missing = [f"  {each.name} is missing: {each.purpose}; package {each.package}" for each in wanted if not each.met()]
    if missing:
        lines = "\n".join([f"this host cannot {what}:", *missing])
        raise HostError(lines, "'diskimage-create doctor' shows what this host has")


def survey(host: HostFacts) -> dict[str, Any]:
    """What this host has and lacks, by kind of work; ``ok`` when it can build anything at all."""
    groups = {"every build": [*BASE, *(DEVICE_MAPPER if host.device_mapper else ())]}
    groups |= {f"{family} family": list(wanted) for family, wanted in BY_FAMILY.items()}
    groups |= {f"type {name}": list(wanted) for name, wanted in BY_TYPE.items()}
    groups["build, other architectures"] = list(FOREIGN)
    groups["boot"] = [*BOOT, EMULATORS[0]]
    groups["boot, other architectures"] = list(EMULATORS[1:])
    groups |= {f"validate, backend {name}": list(wanted) for name, wanted in BACKENDS.items()}
    groups["better with"] = list(OPTIONAL)
    shown = {
        group: [{"name": r.name, "present": r.met(), "package": r.package, "purpose": r.purpose} for r in requirements]
        for group, requirements in groups.items()
    }
    return {
        "ok": all(entry["present"] for entry in shown["every build"]),
        "groups": shown,
        "host": {
            "architecture": host.arch,
            "distribution": f"{host.distribution} {host.codename}".strip(),
            "device-mapper": "yes"
            if host.device_mapper
            else "no: partitions are made with the plugin loop_partitioning",
            "vfat": "yes" if host.vfat else "no: EFI images cannot be built",
            "architectures": ", ".join(f"{name} ({runs})" for name, runs in host.architectures.items()),
            "memory": f"{host.memory_bytes / 2**30:.1f} GiB",
            "CA certificates lent": len(host.ca_certificates),
        },
    }


def refuse(spec: ImageSpec, resolved: Iterable[ResolvedElement]) -> None:
    """Refuse what no host could build.

    :raises InputError: says why
    """
    names = {element.name for element in resolved}
    problems = []
    if "amphora-fips" in names and spec.family == "debian":
        hint = "leave it out, or build an image of the redhat family"
        problems.append(Problem(f"{spec.distribution} has no FIPS mode", "--fips", hint))
    makes_no_disk = "no-final-image" in names
    if makes_no_disk and spec.built_type == "raw":
        problems.append(Problem("with no-final-image no disk is made", "elements", "leave out what depends on it"))
    if not makes_no_disk and spec.built_type != "raw":
        problems.append(Problem("none of the elements makes a ramdisk", "elements", "e.g. ironic-ramdisk-base does"))
    if problems:
        raise InputError(problems)


def require(plan: BuildPlan, host: HostFacts, work_parent: Path) -> None:
    """Refuse a build that cannot succeed here, before it has done anything.

    :raises HostError: names everything that is missing, with the package that has it
    """
    spec = plan.spec
    problems = [
        f"{requirement.name} is missing: {requirement.purpose}; package {requirement.package}"
        for requirement in needed(spec.types, spec.family, host.device_mapper)
        if not requirement.met()
    ]
    if spec.family == "debian" and not process.which("mmdebstrap") and not (_DEBOOTSTRAP / spec.release).exists():
        problems.append(f"debootstrap does not know the release {spec.release}; package mmdebstrap needs not to")
    problems += foreign.missing(spec, host)
    layout = plan.environment["DIB_BLOCK_DEVICE_CONFIG"].value
    if "type: vfat" in layout and not host.vfat:
        problems.append("the kernel has no vfat: the EFI system partition cannot be mounted; load the module vfat")
    if re.search(r"^- lvm:", layout, re.MULTILINE) and not host.device_mapper:
        problems.append("the kernel has no device-mapper: no logical volumes can be made; load the module dm_mod")
    problems += _space(plan, work_parent)
    if problems:
        hint = "'diskimage-create doctor' shows what this host has"
        raise HostError("this host cannot build the image:\n" + "\n".join(f"  {p}" for p in problems), hint)


def _space(plan: BuildPlan, work_parent: Path) -> list[str]:
    """Rough lower bounds: the image's content once (twice without a tmpfs), and what is made of it."""
    gib = 2**30
    places = {work_parent: gib * (2 if plan.spec.tmpfs else 4), plan.spec.output.parent: gib}
    by_device: dict[int, tuple[Path, int]] = {}
    for path, size in places.items():
        there = existing(path)
        known = by_device.get(os.stat(there).st_dev, (there, 0))
        by_device[os.stat(there).st_dev] = (known[0], known[1] + size)
    return [
        f"{path} has {shutil.disk_usage(path).free / gib:.1f} GiB free, the build needs about {size // gib}"
        for path, size in by_device.values()
        if shutil.disk_usage(path).free < size
    ]
