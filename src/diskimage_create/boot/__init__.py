"""Proof of an image in a running machine: it boots, what it starts is well, and an amphora balances loads.

:func:`boot` starts the image in QEMU on an overlay, so that it stays as it is, and looks at it from outside.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diskimage_create import process, profiles, requirements
from diskimage_create.boot import checks, configdrive, guest, qemu
from diskimage_create.boot.firmware import Uefi, find_uefi, needs_uefi
from diskimage_create.boot.report import BootReport
from diskimage_create.boot.trial import Trial
from diskimage_create.errors import CommandFailed, HostError, InputError, Problem
from diskimage_create.host import machine_architecture
from diskimage_create.model import Finding, Status
from diskimage_create.validate.formats import qcow2
from diskimage_create.validate.formats.disk import Disk, read_disk
from diskimage_create.validate.image import require_file
from diskimage_create.validate.opening.kinds import image_kind
from diskimage_create.validate.opening.rawdisk import refuse_other_files
from diskimage_create.validate.record import read_record
from diskimage_create.validate.registry import printable
from diskimage_create.validate.view import Damaged
from diskimage_create.workspace import workspace

#: QEMU's name of each type of image that boots
DRIVERS = {"qcow2": "qcow2", "raw": "raw", "vhd": "vpc"}
#: The element that makes an image an amphora
AGENT = "amphora-agent"
TIMEOUT_SECONDS = 600.0

_MANAGEMENT = ("10.0.2.0/24", "52:54:00:00:02:0f")
#: Boot code and partition table are in there
_HEAD_MIB = 2
#: Reading that takes a moment, unless the image is made to take for ever
_OPENING_SECONDS = 120.0


@dataclass(frozen=True)
class BootOptions:
    """How to boot an image, and what to expect of it."""

    arch: str
    amphora: bool
    """Whether it is one, and has to show that"""
    timeout: float = TIMEOUT_SECONDS
    """Seconds for all of it"""
    accelerator: str | None = None
    """``kvm`` or ``tcg``; None: what this host can"""
    memory_mib: int = 1024
    console: Path | None = None
    """Record the serial console there"""
    failed_console: Path | None = None
    """Keep the record of a failure there; None: in the system's temporary directory"""


def recorded(image: Path) -> tuple[str | None, bool]:
    """Architecture of an image, and whether it is an amphora, by the record beside it.

    :raises InputError: there is no such image, or its record cannot be read
    """
    require_file(image)  # nothing is beside / or .
    record: dict[str, Any] = read_record(image) or {}
    about, expected = record.get("image"), record.get("expectation")
    arch = about.get("arch") if isinstance(about, dict) else None
    elements = expected.get("elements") if isinstance(expected, dict) else None
    return arch if isinstance(arch, str) else None, AGENT in (elements if isinstance(elements, list) else ())


def is_amphora(profile: str, environ: Mapping[str, str]) -> bool:
    """Whether images of a profile are amphorae.

    :param profile: a name, or a YAML file
    :raises InputError: there is no such profile
    """
    places = profiles.directories(environ)
    is_file = profile.endswith((".yaml", ".yml")) or "/" in profile
    path = Path(profile) if is_file else profiles.find(profile, places)
    if path is None:
        hint = f"known are {', '.join(profiles.names(places))}"
        raise InputError([Problem(f"there is no profile {profile!r}", "--profile", hint)])
    return any(AGENT in entry.get("names", ()) for entry in profiles.read(path).elements)


def require(arch: str) -> None:
    """Refuse what this host cannot boot, before anything is done.

    :raises InputError: no machine of this architecture is known
    :raises HostError: something is missing here
    """
    name = qemu.debian_name(arch)
    requirements.require_all(requirements.BOOT, "boot an image")
    qemu.program(name)


def boot(image: Path, options: BootOptions, say: Callable[[str], None]) -> BootReport:
    """Boot an image and look at it from outside; the image itself is not written to.

    A bad image never raises: it is a report with failed findings.

    :param say: tells the user what happens
    :raises InputError: it is no image of a disk, or for an architecture that no machine is known of
    :raises HostError: this host lacks what it takes
    """
    started = time.monotonic()
    require_file(image)
    refuse_console(image, options.console)
    require(options.arch)
    arch = qemu.debian_name(options.arch)
    with workspace() as work:
        try:
            driver, disk = _opened(image, work.path)
        except Damaged as damage:
            intact = Finding("image-intact", "The image can be opened", Status.FAIL, printable(damage.message))
            return BootReport(image, (intact,), time.monotonic() - started, arch, "none", "none", (), None, None, ())
        system = qemu.SYSTEMS[arch].name
        uefi = find_uefi(system) if needs_uefi(disk, system) else None
        qemu.overlay(image, driver, work.path / "disk.qcow2")
        return _tried(image, options, arch, uefi, work.path, say)


def _tried(
    image: Path, options: BootOptions, arch: str, uefi: Uefi | None, work: Path, say: Callable[[str], None]
) -> BootReport:
    """Start the machine and run all checks."""
    started = time.monotonic()
    console = _console(options, work)
    with ExitStack() as stack:
        scenario = None
        if options.amphora:
            from diskimage_create.boot.amphora.scenario import surroundings

            scenario = stack.enter_context(surroundings(work))
        subnet, mac = _MANAGEMENT
        forwards = (scenario.api,) if scenario else ()
        management = qemu.Network(subnet, mac, forwards, restricted=scenario is None)
        files = scenario.files if scenario else []
        metadata = {"uuid": str(uuid.uuid4()), "name": "boot-test", "hostname": "boot-test"}
        user_data = configdrive.user_data(files, [guest.COMMAND])
        configdrive.write(work / "config.iso", metadata, configdrive.network_data(mac), user_data)
        accelerator = _accelerator(options, arch, work)
        machine = qemu.Guest(
            arch=arch,
            accelerator=accelerator,
            disk=work / "disk.qcow2",
            drive=work / "config.iso",
            networks=(management, *((scenario.vip_network,) if scenario else ())),
            uefi=uefi,
            memory_mib=options.memory_mib,
        )
        firmware = "uefi" if uefi else "bios" if qemu.SYSTEMS[arch].machine == "q35" else "built in"
        say(f"booting {printable(image.name)}: {arch}, {accelerator}, {firmware}")
        running = stack.enter_context(qemu.running(machine, work, console, started + options.timeout))
        trial = Trial(running, started + options.timeout, say)
        if scenario:
            scenario.run(trial)
        of_amphora, trial.findings, trial.broken = trial.findings, [], None
        said = checks.run(trial)
        if (why := running.not_started()) is not None:
            raise HostError(f"QEMU cannot start the machine: {printable(why)}")
        events = _events(running, said) | trial.events
        tail = tuple(running.console.tail())
    findings = (*trial.findings, *of_amphora)
    failed = any(finding.status is Status.FAIL for finding in findings)
    kept = options.console or (_keep(console, options, say) if failed else None)
    timeline = tuple(sorted(events.items(), key=lambda event: event[1]))
    seconds = time.monotonic() - started
    return BootReport(image, findings, seconds, arch, accelerator, firmware, timeline, said, kept, tail)


def _accelerator(options: BootOptions, arch: str, work: Path) -> str:
    """How the machine is run.

    :raises HostError: as it was asked for it cannot be
    """
    if options.accelerator == "tcg":
        return "tcg"
    best = qemu.accelerator(arch, machine_architecture(), work)
    if options.accelerator == "kvm" and best != "kvm":
        raise HostError(f"KVM runs no machine of {arch} here", "without --accelerator it is emulated")
    return best


def _events(machine: qemu.Machine, said: guest.GuestReport | None) -> dict[str, float]:
    """What the console showed, and what the guest's own clock says of what systemd shows no more."""
    events = dict(machine.console.events)
    kernel = events.get("kernel started")
    if said and said.multi_user_seconds and kernel is not None:
        events.setdefault("multi-user.target", kernel + said.multi_user_seconds)
    return events


def _opened(image: Path, work: Path) -> tuple[str, Disk]:
    """QEMU's name of the image's format, and its boot code and partition table.

    :raises Damaged: the image cannot be opened, or is not whole by itself
    :raises InputError: it is no disk, or may not be read
    """
    try:
        kind = image_kind(image)
    except OSError as error:
        raise InputError([Problem(f"it cannot be read: {error.strerror}", str(image))]) from None
    if kind not in DRIVERS:
        hint = f"boot takes {', '.join(DRIVERS)}"
        raise InputError([Problem(f"it is a {kind}, which does not boot by itself", str(image), hint)])
    if kind == "raw":
        return DRIVERS[kind], read_disk(image)
    if kind == "qcow2":
        try:
            with image.open("rb") as file:
                header = qcow2.parse_header(file.read(512))
            refuse_other_files(header)
        except ValueError as error:
            raise Damaged("image-intact", str(error)) from None
    head = work / "head.raw"
    command = ["qemu-img", "dd", "-f", DRIVERS[kind], "-O", "raw", "bs=1M", f"count={_HEAD_MIB}"]
    try:
        process.run([*command, f"if={image.resolve()}", f"of={head}"], timeout=_OPENING_SECONDS)
    except CommandFailed as error:
        raise Damaged("image-intact", error.message) from None
    return DRIVERS[kind], read_disk(head)


def _console(options: BootOptions, work: Path) -> Path:
    """The file that gets the serial console: the user's, to be read while it grows."""
    if options.console is None:
        return work / "console.log"
    try:
        options.console.write_bytes(b"")
    except OSError as error:
        raise InputError([Problem(f"it cannot be written: {error.strerror}", f"--console {options.console}")]) from None
    return options.console.absolute()


def refuse_console(image: Path, console: Path | None) -> None:
    """Refuse a record of the console that would overwrite the image, or that could not be read while it grows.

    :raises InputError: it is the image (by any name), a pipe, a device or a directory
    """
    if console is None or not console.exists():
        return
    if not console.is_file():
        reason = "it is no plain file"
    elif console.samefile(image):
        reason = "it is the image"
    else:
        return
    raise InputError([Problem(f"the console cannot be recorded there: {reason}", f"--console {console}")])


def _keep(console: Path, options: BootOptions, say: Callable[[str], None]) -> Path | None:
    """Keep the record of a failed boot; where that cannot be done, the failure matters more."""
    places = [options.failed_console] if options.failed_console else []
    for place in (*places, Path(tempfile.gettempdir(), f"{console.parent.name}.console.log")):
        try:
            shutil.copyfile(console, place)
            return place
        except OSError as error:
            say(f"warning: the serial console cannot be kept in {place}: {error.strerror or error}")
    return None
