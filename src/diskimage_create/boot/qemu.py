"""The machine that an image is booted in: QEMU, on an overlay, with networks that end on loopback."""

from __future__ import annotations

import math
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from diskimage_create import architectures, process
from diskimage_create.boot import guest
from diskimage_create.boot.console import Console, followed
from diskimage_create.boot.firmware import Uefi
from diskimage_create.errors import HostError, InputError, Problem

LOOPBACK = "127.0.0.1"
#: How long a guest gets to print its first word where KVM works. It takes a tenth of a second.
_KVM_PATIENCE_SECONDS = 3.0
#: What waits for the guest's files sees the deadline itself, and says better what it waited for.
_LATE_SECONDS = 1.0
#: A guest that says more than this does so until the disk is full. A boot says some 100 KiB.
_FLOOD_BYTES = 64 * 2**20
_REPORT_BYTES = 4 * 2**20


@dataclass(frozen=True)
class System:
    """A kind of machine."""

    name: str
    """QEMU's name of the architecture"""
    machine: str
    cpu: str | None
    package: str
    """Debian's, that has it"""


#: Debian's name of an architecture -> machine
SYSTEMS: Mapping[str, System] = {
    "amd64": System("x86_64", "q35", "max", "qemu-system-x86"),
    "i386": System("i386", "q35", "max", "qemu-system-x86"),
    "arm64": System("aarch64", "virt", "max", "qemu-system-arm"),
    "armhf": System("arm", "virt", "max", "qemu-system-arm"),
    "ppc64el": System("ppc64", "pseries", None, "qemu-system-ppc"),
}
_ALIASES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64el"}


@dataclass(frozen=True)
class Forward:
    """A TCP port of this host's loopback that leads to one in the guest."""

    host_port: int
    guest_port: int
    guest_address: str = ""
    """Empty: the first that DHCP hands out"""


@dataclass(frozen=True)
class Network:
    """A network card, on a network that QEMU itself makes (slirp). Its host, .2, is this host's loopback."""

    subnet: str
    mac: str
    forwards: tuple[Forward, ...] = ()
    restricted: bool = True
    """Whether the guest can only answer, and call nobody"""


@dataclass(frozen=True)
class Guest:
    """The machine to be started."""

    arch: str
    accelerator: str
    """``kvm`` or ``tcg``"""
    disk: Path
    """A qcow2 file that is written to"""
    drive: Path
    """The config drive"""
    networks: tuple[Network, ...]
    uefi: Uefi | None = None
    memory_mib: int = 1024
    processors: int = 2


def debian_name(arch: str) -> str:
    """The architecture as Debian calls it.

    :raises InputError: no machine of it is known
    """
    name = _ALIASES.get(arch, arch)
    if name not in SYSTEMS:
        hint = f"known are {', '.join([*SYSTEMS, *_ALIASES])}"
        raise InputError([Problem(f"no machine of architecture {arch!r} is known", "--arch", hint)])
    return name


def program(arch: str) -> str:
    """The emulator for an architecture.

    :raises HostError: it is not installed
    """
    system = SYSTEMS[arch]
    name = f"qemu-system-{system.name}"
    if process.which(name) is None:
        raise HostError(f"{name} is missing: it runs machines of {arch}", f"install {system.package}")
    return name


def command(guest_: Guest, console: Path, report: Path) -> list[str]:
    """The command line that starts a machine.

    :param console: gets what the guest writes to its serial console
    :param report: gets what the guest writes to its report port
    """
    system = SYSTEMS[guest_.arch]
    accelerator = "kvm" if guest_.accelerator == "kvm" else "tcg,thread=multi,tb-size=512"
    words = [f"qemu-system-{system.name}", "-accel", accelerator]
    # Without graphics, SeaBIOS tells the serial console what it finds.
    words += ["-machine", system.machine + (",graphics=off" if system.machine == "q35" else "")]
    words += ["-cpu", system.cpu] if system.cpu else []
    words += ["-smp", str(guest_.processors), "-m", str(guest_.memory_mib)]
    words += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    # As "-serial file:..." a name with a comma would be another one.
    words += ["-chardev", f"file,id=console,path={_quoted(console)}", "-serial", "chardev:console"]
    if guest_.uefi:
        variables = guest_.disk.with_name("uefi-variables")
        words += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={_quoted(guest_.uefi.code)}"]
        words += ["-drive", f"if=pflash,format=raw,unit=1,file={_quoted(variables)}"]
    words += ["-drive", f"if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap,file={_quoted(guest_.disk)}"]
    # From this disk alone: no firmware tries the network, or a floppy disk.
    words += ["-device", "virtio-blk-pci,drive=disk,bootindex=0", "-boot", "strict=on"]
    words += ["-drive", f"if=none,id=config,format=raw,readonly=on,file={_quoted(guest_.drive)}"]
    words += ["-device", "virtio-blk-pci,drive=config"]
    for number, network in enumerate(guest_.networks):
        words += ["-netdev", _netdev(f"net{number}", network)]
        words += ["-device", f"virtio-net-pci,netdev=net{number},mac={network.mac},romfile="]
    words += ["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]
    words += ["-chardev", f"file,id=report,path={_quoted(report)}"]
    return [*words, "-device", f"virtserialport,chardev=report,name={guest.PORT}"]


def _netdev(name: str, network: Network) -> str:
    forwards = "".join(
        f",hostfwd=tcp:{LOOPBACK}:{each.host_port}-{each.guest_address}:{each.guest_port}" for each in network.forwards
    )
    restrict = "on" if network.restricted else "off"
    return f"user,id={name},ipv6=off,net={network.subnet},restrict={restrict}{forwards}"


def _quoted(path: Path) -> str:
    """A path as a value of QEMU's option lists, where a comma ends the value."""
    return str(path).replace(",", ",,")


def accelerator(arch: str, host_arch: str, work: Path) -> str:
    """``kvm`` where a guest really gets to run with it, ``tcg`` otherwise.

    There are hosts whose /dev/kvm opens and runs nothing. So the firmware's first words are waited for; only on PCs,
    where it has a port for them. Elsewhere the device itself is believed.
    """
    native = architectures.usual_name(arch) in architectures.native(host_arch)
    if not native or not Path("/dev/kvm").exists():
        return "tcg"
    system = SYSTEMS[arch]
    words = [program(arch), "-accel", "kvm", "-nodefaults", "-display", "none", "-no-reboot"]
    if system.machine != "q35":
        return "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg"
    said = work / "kvm-probe"
    # With the processor that the machine is to have: some hosts can do with less alone.
    words += ["-machine", "pc", "-cpu", system.cpu or "max", "-m", "64", "-chardev", f"file,id=d,path={_quoted(said)}"]
    words += ["-device", "isa-debugcon,iobase=0x402,chardev=d"]
    deadline = time.monotonic() + _KVM_PATIENCE_SECONDS
    with process.beside(words, work / "kvm-probe.output") as probe:
        while probe.exit_status() is None and time.monotonic() < deadline:
            if said.exists() and b"SeaBIOS" in said.read_bytes():
                return "kvm"
            time.sleep(0.02)
    return "tcg"


def overlay(image: Path, driver: str, target: Path, *, gib: int | None = None) -> None:
    """A disk that reads from an image, and keeps for itself what is written.

    :param driver: QEMU's name of the image's format; never probed, because a guest can fake a format
    :param gib: size of the disk where it is to be larger than the image
    """
    size = [f"{gib}G"] if gib else []
    backing: list[str | Path] = ["-b", image.resolve(), "-F", driver]
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, target, *size])


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of the loopback address that nobody listens on. Another program may, as soon as this returns."""
    with socket.socket(type=kind) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextmanager
def reserved_port() -> Iterator[int]:
    """A TCP port of the loopback address that nobody else gets who asks for a free one, as long as the block runs.

    QEMU can still listen there: both say SO_REUSEADDR, and this one does not listen (socket(7)).
    """
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind((LOOPBACK, 0))
        yield int(reservation.getsockname()[1])


@dataclass
class Machine:
    """A running guest."""

    console: Console
    report: Path
    started: float
    """On the monotonic clock"""
    output: Path
    """What QEMU itself prints"""
    exit_status: Callable[[], int | None] = field(repr=False)
    stopped: str | None = None
    """Why it was stopped from outside, if it was"""

    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    def guest_report(self) -> guest.GuestReport | None:
        """What the guest says of itself; None as long as it has not."""
        if not self.report.exists():
            return None
        with self.report.open("rb") as file:
            return guest.parse(file.read(_REPORT_BYTES).decode("utf-8", errors="replace"))

    def over(self) -> str | None:
        """Why it will get no further; None as long as it may."""
        if (status := self.exit_status()) is not None:
            self.console.look()
            if self.stopped:
                return self.stopped
            said = self.said()
            reason = f"QEMU exited with status {status}" if status else "the machine restarted, or switched itself off"
            return self.console.ended or "; ".join([reason, *said])
        return self.stopped or self.console.ended

    def not_started(self) -> str | None:
        """Why QEMU ended before the machine said a word, if it did: that is this host's fault, and not the image's."""
        refused = self.exit_status() == 1 and not self.stopped and not self.console.tail(1)
        return "; ".join(self.said()) or "it does not say why" if refused else None

    def said(self) -> list[str]:
        """The last lines that QEMU itself printed."""
        with self.output.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            return file.read().decode("utf-8", errors="replace").strip().splitlines()[-3:]

    def to_be_stopped(self, deadline: float) -> str | None:
        """Why it has to be stopped, whatever anybody waits for: time is over, or it fills this host's disk."""
        if time.monotonic() >= deadline + _LATE_SECONDS:
            return f"the machine was stopped after {self.age():.0f} s, at the deadline"
        for what, path in (("serial console", self.console.path), ("report", self.report), ("QEMU", self.output)):
            with suppress(OSError):
                if path.stat().st_size > _FLOOD_BYTES:
                    return f"the machine was stopped: {what} said more than {_FLOOD_BYTES >> 20} MiB"
        return None


@contextmanager
def running(guest_: Guest, work: Path, console: Path, deadline: float = math.inf) -> Iterator[Machine]:
    """Run a machine as long as the block.

    :param work: a private directory
    :param console: the file that gets the serial console
    :param deadline: on the monotonic clock; it is stopped then, and so is whatever waits for an answer of it
    """
    if guest_.uefi:
        shutil.copyfile(guest_.uefi.variables, guest_.disk.with_name("uefi-variables"))
    output, report = work / "qemu.output", work / "report"
    program(guest_.arch)
    with process.beside(command(guest_, console, report), output) as qemu:
        started = time.monotonic()
        machine = Machine(Console(console, started), report, started, output, qemu.exit_status)

        def watch() -> None:
            if machine.stopped is None and (why := machine.to_be_stopped(deadline)) is not None:
                machine.stopped = why
                qemu.kill()

        with followed(machine.console, watch):
            yield machine
