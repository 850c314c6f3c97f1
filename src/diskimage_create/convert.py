"""From the raw image to every type of output."""

from __future__ import annotations

from pathlib import Path

from diskimage_create import process, reproducible
from diskimage_create.errors import BuildError
from diskimage_create.model import EXTENSIONS, RAMDISK, ImageSpec


def convert(raw: Path, image_type: str, target: Path, spec: ImageSpec, root: Path | None) -> None:
    """Write the image in another type; for ``docker``, the archive that is imported.

    :param raw: the raw disk; or the ramdisk, beside which its kernel lies
    :param root: the raw image's root file system, mounted read-only, for the types that hold files and no disk
    """
    if image_type in ("raw", *RAMDISK):
        made = raw.with_suffix(EXTENSIONS[image_type])
        process.run(["cp", "--sparse=always", "--reflink=auto", made, target])
    elif image_type in ("qcow2", "vhd"):
        process.run(["qemu-img", "convert", "-f", "raw", *_qemu_options(image_type, spec), raw, target])
    elif root is None:
        raise BuildError(f"no root file system to make {image_type} from")
    elif image_type == "squashfs":
        _as_root(_squashfs(root, target, spec), target)
    else:
        _as_root(_tar(image_type, root, target), target)


def pack(root: Path, target: Path) -> None:
    """Write a tar archive of a root file system, of which the same tree always makes the same.

    :raises CommandFailed: it cannot be read, or there is no room
    """
    process.run(_tar("tar", root, target))


def _qemu_options(image_type: str, spec: ImageSpec) -> list[str]:
    if image_type == "vhd":
        return ["-O", "vpc", "-o", "force_size=on"]
    options = ["-O", "qcow2"]
    if spec.compressed:
        # Out of order (-W) all cores compress; zstd is also smaller than zlib here, and faster to read.
        method = "zlib" if spec.compat_compression else "zstd"
        options += ["-c", "-W", "-o", f"compression_type={method}"]
    if spec.qemu_img_options:
        options += ["-o", spec.qemu_img_options]
    return options


def _squashfs(root: Path, target: Path, spec: ImageSpec) -> list[str | Path]:
    """The root file system, made at ``SOURCE_DATE_EPOCH`` when that is set.

    Of its own accord mksquashfs would also set back the times of all files that are later, those of
    packages included, and Python would then take the byte code beside them for outdated.
    """
    command: list[str | Path] = ["env", f"--unset={reproducible.VARIABLE}", "mksquashfs", root, target]
    command += ["-comp", "xz", "-noappend", "-no-progress"]
    if epoch := spec.environment.get(reproducible.VARIABLE):
        command += ["-mkfs-time", epoch.value]
    return command


def _tar(image_type: str, root: Path, target: Path) -> list[str | Path]:
    """All files with their attributes; what the kernel mounts over in a container is left empty."""
    command: list[str | Path] = ["tar", "--create", "--numeric-owner", "--sort=name", "--xattrs", "--xattrs-include=*"]
    # Of its own accord tar names the headers after its process, and keeps when files were read.
    command += ["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"]
    command += ["--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./lost+found"]
    if image_type == "tgz":
        command += ["--use-compress-program=pigz" if process.which("pigz") else "--gzip"]
    return [*command, "--file", target, "--directory", root, "."]


def _as_root(command: list[str | Path], target: Path) -> None:
    """Run as root, who alone can read every file; the result is the user's."""
    target.touch()
    process.run(process.privileged(command))
