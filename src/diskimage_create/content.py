"""Digests of what an image's content depends on besides its elements: tools, and files that the user named."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from diskimage_create import process
from diskimage_create.digests import sha256
from diskimage_create.elements import are_unchanged, builtin
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import IMAGE, STEPS, BuildPlan, ImageSpec, Inputs, ResolvedElement
from diskimage_create.once import once

#: Of variables that name a file of this host, those whose content is no input: caches, what builds leave, and the
#: layout, whose text takes the place of the file's name
_PLACES = frozenset(
    {"DIB_BLOCK_DEVICE_CONFIG", "DIB_IMAGE_CACHE", "DIB_LOCKFILES", "DIB_MANIFEST_SAVE_DIR", "DIB_PYTHON_EXEC"}
)
#: What finds out by itself what a repository holds, local ones too
_REPOSITORIES = "DIB_REPOLOCATION_"
#: Output type -> programs that make it
_CONVERTERS: Mapping[str, Sequence[str]] = {
    "qcow2": ("qemu-img",),
    "vhd": ("qemu-img",),
    "squashfs": ("mksquashfs",),
    "initramfs": ("cpio",),
}
#: Element -> files of the user's home directory that its hooks copy into the image, in pre-install
_HOME_FILES: Mapping[str, Sequence[str]] = {
    "devuser": (".ssh/id_rsa.pub", ".ssh/id_dsa.pub"),
    "local-config": (".ssh/authorized_keys",),
}
#: Directories of every host: a variable whose value is one of them, or below a file system of the kernel's, says
#: something about the image
_SYSTEM_DIRECTORIES = frozenset(
    map(Path, "/ /bin /boot /etc /home /lib /media /mnt /opt /root /run /sbin /srv /tmp /usr /var".split())
)
_KERNEL_FILES = ("/dev", "/proc", "/sys")
_MAKE_FILE_SYSTEMS = ("mkfs.btrfs", "mkfs.ext4", "mkfs.vfat", "mkfs.xfs")
_MKE2FS = Path("/etc/mke2fs.conf")
_OURS = Path(__file__).parent
#: What of ours has a part in stages
_BUILDS = ("build.py", "process.py", "store/stages.py")
_DEBOOTSTRAP_SCRIPTS = Path("/usr/share/debootstrap")


def files(spec: ImageSpec, resolved: Sequence[ResolvedElement], environ: Mapping[str, str]) -> Inputs:
    """Step -> name -> digest. Tools are told by their files: no program is run.

    :raises InputError: a file that the user named cannot be read
    """
    first: dict[str, str] = {"tool:diskimage-builder": _diskimage_builder(environ)}
    first |= {f"tool:diskimage-create {name}": _own_digest(name) for name in _BUILDS}
    if spec.family == "debian":
        first |= _bootstrap()
    install = {}
    if any(element.name == "lend-uv" for element in resolved):
        install["tool:uv"] = _version("uv")
    image = {"tool:diskimage-create": f"{_version('diskimage-create')} {tree_digest(_OURS, skip=('elements',))}"}
    image["tool:mke2fs.conf"] = file_digest(_MKE2FS) if _MKE2FS.is_file() else "none"
    programs = {*_MAKE_FILE_SYSTEMS, *(name for kind in spec.types for name in _CONVERTERS.get(kind, ()))}
    image |= {f"tool:{name}": _program(name) for name in sorted(programs)}
    return {
        STEPS[0]: {**first, **_named_files(spec)},
        "pre-install": _home_files(resolved, Path(environ.get("HOME", "/root"))),
        "install": install,
        IMAGE: image,
    }


@once
def _own_digest(name: str) -> str:
    return file_digest(_OURS / name)


@once
def _version(package: str) -> str:
    return version(package)


def _diskimage_builder(environ: Mapping[str, str]) -> str:
    """Its version, and all its files but the elements, each of which is an input of its own."""
    if checkout := environ.get("DIB_REPO_PATH"):
        return f"checkout {tree_digest(Path(checkout), skip=('elements', '.git'))}"
    return f"{_version('diskimage-builder')} {tree_digest(builtin().parent, skip=('elements',))}"


def _bootstrap() -> dict[str, str]:
    """diskimage-builder takes mmdebstrap where it is installed, and debootstrap elsewhere."""
    if process.which("mmdebstrap"):
        return {"tool:mmdebstrap": _program("mmdebstrap")}
    scripts = {"tool:debootstrap scripts": tree_digest(_DEBOOTSTRAP_SCRIPTS)} if _DEBOOTSTRAP_SCRIPTS.is_dir() else {}
    return {"tool:debootstrap": _program("debootstrap"), **scripts}


@once
def _program(name: str) -> str:
    path = process.which(name)
    return file_digest(Path(path)) if path else "not installed"


def is_current(plan: BuildPlan) -> bool:
    """Whether the elements of a plan, and the files that its variables name, are still what the plan says.

    Of a file that a secret names only the keyed digest is known: it is not compared.
    """
    planned = plan.inputs[STEPS[0]]
    try:
        named = _named_files(plan.spec)
    except InputError:
        return False
    keyed = {name for name, value in planned.items() if value.startswith("hmac-")}
    before = {name: value for name, value in planned.items() if name.startswith("file:") and name not in keyed}
    now = {name: value for name, value in named.items() if name not in keyed}
    return before == now and are_unchanged(plan.resolved)


def _named_files(spec: ImageSpec) -> dict[str, str]:
    """Another file, or keyring, or base image, at the same path is another input."""
    found = {}
    problems = []
    for name, setting in spec.environment.items():
        path = Path(setting.value.removeprefix("file://"))
        if name in _PLACES or name.startswith(_REPOSITORIES) or not path.is_absolute() or "\n" in setting.value:
            continue
        try:
            if digest := _named_file(path):
                found[f"file:{name}"] = digest
        except (FileNotFoundError, NotADirectoryError):
            if name == "DIB_APT_KEYRING":  # any other may be a path in the image
                problems.append(Problem(f"{path}: no such file", name, "name the file with the mirror's keys"))
        except OSError as error:
            problems.append(Problem(f"{path}: {error.strerror}", name, "name a file that can be read"))
    if problems:
        raise InputError(problems)
    return found


def _named_file(path: Path) -> str | None:
    """The digest of a file, or of all below a directory; None for what is no content of an image."""
    mode = path.stat().st_mode
    if any(path.is_relative_to(place) for place in _KERNEL_FILES):
        return None
    if stat.S_ISDIR(mode):
        return None if path in _SYSTEM_DIRECTORIES else tree_digest(path)
    return file_digest(path) if stat.S_ISREG(mode) else None


def _home_files(resolved: Sequence[ResolvedElement], home: Path) -> dict[str, str]:
    names = (name for element in resolved for name in _HOME_FILES.get(element.name, ()))
    return {f"file:~/{name}": file_digest(home / name) for name in names if (home / name).is_file()}


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    return f"sha256:{sha256(path)}"


@once
def tree_digest(directory: Path, skip: tuple[str, ...] = ()) -> str:
    """SHA-256 over names and contents of the files below a directory, and whether they are executable.

    :param skip: names of directories that are left out; Python's caches always are
    """
    total = hashlib.sha256()
    for path in _walk(directory, {*skip, "__pycache__"}):
        executable = bool(path.stat().st_mode & stat.S_IXUSR)
        total.update(os.fsencode(f"{path.relative_to(directory)}\0{executable}\0{file_digest(path)}\0"))
    return f"sha256:{total.hexdigest()}"


def _walk(directory: Path, skip: set[str]) -> Iterator[Path]:
    for root, directories, names in os.walk(directory):
        directories[:] = sorted(set(directories) - skip)
        yield from (path for name in sorted(names) if (path := Path(root, name)).is_file())
