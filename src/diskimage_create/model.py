"""The data that flows through a build, from the request to the record. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

PLAN_SCHEMA = 1
RECORD_SCHEMA = 1

#: What a build makes one after the other, and can be resumed from: the root file system after the hook phases
#: of these names, and at last the image
STAGES = ("root", "pre-install", "install")
IMAGE = "image"
STEPS = (*STAGES, IMAGE)

#: Inputs that matter to the steps alone whose files mention one of these words (diskimage_builder/lib):
#: the list of elements, the image's size, the layout of its disk, and how it boots
ELEMENT_WORDS = frozenset({"IMAGE_ELEMENT", "get_image_element_array"})
SIZE_WORDS = frozenset({"DIB_IMAGE_SIZE"})
DISK_VARIABLES = {
    "DIB_BLOCK_DEVICE_CONFIG": frozenset(
        {"DIB_BLOCK_DEVICE_CONFIG", "DIB_ROOT_LABEL", "DIB_ROOT_FSTYPE", "DIB_BOOT_LABEL", "DIB_MOUNTPOINTS"}
    ),
    **{
        name: frozenset({name})
        for name in (
            *("DIB_IMAGE_EXTRA_SIZE", "DIB_JOURNAL_SIZE", "DIB_GRUB_TIMEOUT", "DIB_BOOTLOADER_DEFAULT_CMDLINE"),
            *("DIB_BOOTLOADER_SERIAL_CONSOLE", "DIB_BOOTLOADER_VIRTUAL_TERMINAL", "DIB_BOOTLOADER_USE_SERIAL_CONSOLE"),
        )
    },
}
WATCHED = ELEMENT_WORDS | SIZE_WORDS | frozenset().union(*DISK_VARIABLES.values())

#: Output type -> file name extension. ``docker`` goes to a daemon, not to a file. The last two are the parts of a
#: ramdisk.
EXTENSIONS: Mapping[str, str] = {
    "qcow2": ".qcow2",
    "raw": ".raw",
    "vhd": ".vhd",
    "tar": ".tar",
    "tgz": ".tgz",
    "squashfs": ".squashfs",
    "docker": ".docker",
    "initramfs": ".initramfs",
    "kernel": ".kernel",
}
#: What a ramdisk is made of: files that belong together
RAMDISK = ("initramfs", "kernel")
#: Types that are made of the disk that disk-image-create makes
DISK_TYPES = tuple(name for name in EXTENSIONS if name not in RAMDISK)
#: Those of them that hold the files of the image alone: nothing boots them
ARCHIVE_TYPES = frozenset({"tar", "tgz", "squashfs", "docker"})


class Source(StrEnum):
    """Where the value of an option or a variable came from."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    CONFIG = "config"
    PROFILE = "profile"
    HOST = "host"


@dataclass(frozen=True)
class Setting:
    """A value and where it came from. A secret one is never shown."""

    value: str
    source: Source
    secret: bool = False

    def __repr__(self) -> str:
        return f"Setting({self.shown!r}, {self.source!r}, secret={self.secret})"

    @property
    def shown(self) -> str:
        """The value as it may be printed."""
        return "***" if self.secret else self.value


@dataclass(frozen=True)
class Authority:
    """A CA certificate that an image is to trust."""

    name: str
    """Of its file, without an extension"""
    pem: str
    sha256: str
    """Of its DER form, hexadecimal"""


@dataclass(frozen=True)
class ImageSpec:
    """One image, as the user asked for it, every default filled in."""

    profile: str
    arch: str
    os: str
    """The distribution element, e.g. ``ubuntu-minimal``."""
    distribution: str
    """``ID`` of the image's /etc/os-release, e.g. ``ubuntu``."""
    family: str
    """``debian`` or ``redhat``."""
    release: str
    backend: str
    size_gib: int | None
    """None: as large as the content needs."""
    types: tuple[str, ...]
    output: Path
    """Absolute path of the image without the extension of its type."""
    cache_dir: Path
    elements: tuple[str, ...]
    """As handed to disk-image-create, in order."""
    environment: Mapping[str, Setting]
    """What is set for the build beyond what the host lends."""
    sources: Mapping[str, Source]
    """Option name -> where its value came from."""
    kernel: str | None = None
    work_dir: Path | None = None
    logfile: Path | None = None
    packages: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    """More arguments of disk-image-create."""
    ca_certificates: tuple[Authority, ...] = ()
    """What the image trusts besides the distribution's, for good."""
    notes: tuple[str, ...] = ()
    """What the user should know of what was asked for."""
    requires_elements: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What pip can install -> names of elements that come with it."""
    expected: Sequence[Mapping[str, Any]] = ()
    """What the image must be where its closure holds an element, as profiles say it; conditions are met."""
    docker_target: str | None = None
    root_password: str | None = field(default=None, repr=False)
    enforce_mac: bool = False
    sshd: bool = True
    fips: bool = False
    cpu_pinning: bool = False
    tmpfs: bool = True
    compressed: bool = True
    compat_compression: bool = False
    trace: int = 0
    skip_base: bool = False
    """Without the element ``base``, which disk-image-create adds otherwise."""
    qemu_img_options: str | None = None
    """More of them, comma separated, for qcow2."""

    @property
    def built_type(self) -> str:
        """What disk-image-create makes, and all types are made of: a raw disk, or a ramdisk."""
        return self.types[0] if self.types[0] in RAMDISK else "raw"

    def path_of(self, image_type: str) -> Path:
        """Where the finished image of this type goes."""
        return self.output.with_name(self.output.name + EXTENSIONS[image_type])


@dataclass(frozen=True)
class Element:
    """A diskimage-builder element: a directory of hooks and data."""

    name: str
    path: Path
    depends: frozenset[str] = frozenset()
    provides: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ElementFile:
    """A file, a directory or a symbolic link of an element."""

    path: str
    """Relative to the element"""
    value: str
    """Digest of the content and the mode; of a link, where it leads"""
    mentions: frozenset[str] = frozenset()
    """Those of WATCHED that are in it"""


@dataclass(frozen=True)
class ResolvedElement:
    """An element of an image's closure, with all that is in it."""

    name: str
    path: Path
    digest: str
    files: tuple[ElementFile, ...] = ()
    shadowed: tuple[ElementFile, ...] = ()
    """Lists of packages of other elements of this name: package-installs merges them all"""


#: Step -> name -> value of everything that the content of the step, and of no earlier one, depends on
Inputs = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class RemoteInput:
    """Something outside of this host that an image is made of, and the state that it is in."""

    name: str
    """Unique among those of an image; no credentials, no address."""
    phase: str
    """The step of a build that can feel it first, one of STEPS"""
    value: str | None
    """A digest or a commit; None where nobody can tell."""
    detail: str
    """What it is, and why its state is not known."""


@dataclass(frozen=True)
class BuildPlan:
    """Everything that a build will do, worked out before it does anything."""

    spec: ImageSpec
    elements: tuple[str, ...]
    resolved: tuple[ResolvedElement, ...]
    environment: Mapping[str, Setting]
    command: tuple[str, ...]
    inputs: Inputs
    """What can be known without asking the network"""
    fingerprint: str
    """One digest over these inputs"""
    notes: tuple[str, ...] = ()


class Status(StrEnum):
    """The outcome of one check."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"


class Severity(StrEnum):
    """What it means that a check finds a problem."""

    ERROR = "error"
    """The image is rejected."""
    WARNING = "warning"
    """The image works, but someone should look."""


@dataclass(frozen=True)
class Finding:
    """What one check saw."""

    id: str
    title: str
    status: Status
    message: str
    seconds: float = 0.0
    severity: Severity = Severity.ERROR
    """What a problem means that the check finds"""

    def as_json(self) -> dict[str, Any]:
        """The finding as ``validate --format json`` prints it."""
        return {
            "id": self.id,
            "title": self.title,
            "status": self.status.value,
            "message": self.message,
            "seconds": round(self.seconds, 3),
            "severity": self.severity.value,
        }


@dataclass(frozen=True)
class Suite:
    """Tests for pytest-testinfra that say something of an image."""

    owner: str
    """The element that brings them, or the name of their directory"""
    path: Path
    element: bool
    """Whether they are run for images with this element only"""


@dataclass(frozen=True)
class SizedPackage:
    """An installed package."""

    name: str
    version: str
    architecture: str
    bytes: int | None
    """Installed, as its maker says; None where that is not known"""


@dataclass(frozen=True)
class Heavy:
    """A file, and the bytes of its content."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Node:
    """A directory or file of a tree that is shown in part."""

    name: str
    """The last part of it; empty for what is put together"""
    parent: int
    """Its place in the list; -1 for the top"""
    bytes: int
    """Of it and all below it"""
    files: int
    kind: str
    """``directory``, ``file``, or ``rest``: what is too small to be named"""


@dataclass(frozen=True)
class Content:
    """What an image holds."""

    kind: str
    """Type of the image"""
    file_bytes: int
    """Of the image file"""
    disk_bytes: int | None
    """As a machine sees the disk; None where it is none"""
    system: str
    """What the image calls itself; empty where it does not"""
    packages: tuple[SizedPackage, ...]
    tree: tuple[Node, ...]
    """Parents before their children"""
    largest: tuple[Heavy, ...]
    """Files, largest first"""


@dataclass(frozen=True)
class Expectation:
    """What an image should be; None where nothing is known. Validation compares with it."""

    arch: str | None = None
    distribution: str | None = None
    family: str | None = None
    release: str | None = None
    size_gib: int | None = None
    elements: frozenset[str] = frozenset()
    """The whole closure: a check that belongs to an element runs when the element is here."""
    packages: tuple[str, ...] = ()
    """Names of packages that must be installed, as the distribution names them."""
    datasources: tuple[str, ...] | None = None
    sshd: bool | None = None
    root_password: bool = False
    key_user: str | None = None
    """The user whom SSH keys of the build host let in; nobody else may have any."""
    password_users: tuple[str, ...] = ()
    """Users besides root for whom a password was asked for."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Name -> text that no file of the image may hold (only known while building)."""
    lent_certificates: tuple[str, ...] = ()
    """SHA-256 (hex) of the DER form of CA certificates that the host lent to the build."""
    ca_certificates: tuple[str, ...] = ()
    """The same of those that the image trusts for good because the user asked for it."""
    suites: tuple[Suite, ...] = ()
    """Tests that are to be run in the image; a record does not tell of them."""


@dataclass(frozen=True)
class Report:
    """The result of validating one image."""

    image: Path
    findings: tuple[Finding, ...]
    seconds: float
    content: Content | None = field(default=None, kw_only=True, compare=False)
    """Where it was asked for"""

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Those that make the image a bad one."""
        return tuple(finding for finding in self.findings if finding.status is Status.FAIL)

    def amended(self, other: Report) -> Report:
        """With the findings of another report of the image, which stand in for those of the same checks."""
        newer = {finding.id: finding for finding in other.findings}
        findings = [newer.pop(finding.id, finding) for finding in self.findings]
        return replace(self, findings=(*findings, *newer.values()), seconds=self.seconds + other.seconds)

    def why(self) -> str:
        """What failed, for an error."""
        lines = [f"  {finding.id}: {finding.message}" for finding in self.failed]
        return "\n".join([f"the image failed {len(lines)} of {len(self.findings)} checks", *lines])

    def as_json(self) -> dict[str, Any]:
        """The report as ``validate --format json`` prints it."""
        return {
            "image": str(self.image),
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "checks": [finding.as_json() for finding in self.findings],
        }


@dataclass(frozen=True)
class Artifact:
    """A finished file of a build."""

    type: str
    path: Path
    sha256: str
    bytes: int


@dataclass(frozen=True)
class PhaseTiming:
    """How long one hook script, or one step of ours, took."""

    phase: str
    script: str
    seconds: float
