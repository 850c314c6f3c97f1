"""Boots an image in QEMU, on an overlay, and talks to it through SSH; nothing of it is left afterwards.

Only loopback is used: the guest's network is QEMU's own, and its SSH port appears on 127.0.0.1.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

#: Seconds until a guest answers through SSH; under TCG on a loaded machine it takes a minute or two
PATIENCE = 600
_SYSTEMS = {"amd64": "qemu-system-x86_64", "i386": "qemu-system-i386"}
_NEEDED = {"qemu-img": "qemu-utils", "xorriso": "xorriso", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}


@dataclass(frozen=True)
class Key:
    """An SSH key pair of the test."""

    private: Path

    @property
    def public(self) -> Path:
        return self.private.with_suffix(".pub")


def make_key(directory: Path, name: str) -> Key:
    """A new key pair. Skips the test where there is no OpenSSH."""
    require("ssh-keygen")
    private = directory / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@test", "-f", str(private)]
    subprocess.run(command, check=True)
    return Key(private)


def require(*programs: str) -> None:
    """Skip the test where a program is missing, and say which package has it."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: package {_NEEDED.get(program, 'qemu-system-x86')}")


@dataclass
class Machine:
    """A running guest."""

    process: subprocess.Popen[bytes]
    console: Path
    port: int
    user: str
    accelerator: str
    deadline: float

    def ssh(self, command: str, key: Key, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the guest."""
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "ConnectTimeout": "20",
            "LogLevel": "ERROR",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        address = ["-i", str(key.private), "-p", str(self.port), f"{self.user}@127.0.0.1"]
        done = subprocess.run(
            ["ssh", "-F", "none", *words, *address, command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def wait_for_ssh(self, key: Key) -> None:
        """Until the key lets in; a guest that ended, or takes too long, fails with what its console showed."""
        while time.monotonic() < self.deadline:
            assert self.process.poll() is None, f"QEMU ended\n{self.console_tail()}"
            with suppress(subprocess.TimeoutExpired):
                if self.ssh("true", key, check=False).returncode == 0:
                    return
            time.sleep(1)
        raise AssertionError(f"no SSH in {PATIENCE} s\n{self.console_tail()}")

    def console_tail(self) -> str:
        """The last of what the serial console showed."""
        return self.console.read_text(errors="replace")[-4000:] if self.console.exists() else "no console"


@contextmanager
def booted(image: Path, arch: str, metadata: Mapping[str, object], directory: Path, user: str) -> Iterator[Machine]:
    """Boot an image with a config drive; the image itself is not written to.

    :param metadata: OpenStack's meta_data.json
    :param directory: gets the serial console's record, ``console.log``
    """
    system = _SYSTEMS[arch]
    require(system, "qemu-img", "xorriso", "ssh")
    with tempfile.TemporaryDirectory(prefix="qemu-") as name:
        work = Path(name)
        overlay = _overlay(image, work)
        drive = _config_drive(metadata, work)
        accelerator = _accelerator(system)
        port = _free_port()
        console = directory / "console.log"
        command = [
            # It dies with the test run, however that ends.
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(system, "-accel", accelerator, "-machine", "pc", "-cpu", "max", "-smp", "2", "-m", "1024"),
            *("-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{console}"),
            *("-drive", f"file={overlay},if=virtio,format=qcow2,cache=unsafe"),
            *("-drive", f"file={drive},if=virtio,format=raw,readonly=on"),
            *("-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
            *("-device", "virtio-net-pci,netdev=n0,romfile=", "-device", "virtio-rng-pci"),
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            yield Machine(process, console, port, user, accelerator, time.monotonic() + PATIENCE)
        finally:
            process.kill()
            process.wait()


def _overlay(image: Path, work: Path) -> Path:
    overlay = work / "overlay.qcow2"
    # Larger than the image: the root file system is to grow.
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image.resolve()), "-F", "qcow2", str(overlay), "5G"]
    subprocess.run(command, check=True)
    return overlay


def _config_drive(metadata: Mapping[str, object], work: Path) -> Path:
    latest = work / "config/openstack/latest"
    latest.mkdir(parents=True)
    (latest / "meta_data.json").write_text(json.dumps(metadata))
    drive = work / "config.iso"
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-V", "config-2", "-o", str(drive)]
    subprocess.run([*command, str(work / "config")], check=True, capture_output=True)
    return drive


def _accelerator(system: str) -> str:
    """KVM where a guest gets to run with it: there are hosts whose /dev/kvm opens and runs nothing."""
    if not Path("/dev/kvm").exists():
        return "tcg"
    # The firmware's first words on the serial console. A KVM that works shows them at once.
    command = [system, "-accel", "kvm", "-cpu", "max", "-m", "64", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-chardev", "stdio,id=d", "-device", "isa-debugcon,iobase=0x402,chardev=d"]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False)
    except subprocess.TimeoutExpired as running:
        return "kvm" if b"SeaBIOS" in (running.stdout or b"") else "tcg"
    return "tcg"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
