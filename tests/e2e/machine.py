"""Boots an image, on an overlay, and talks to it through SSH; nothing of it is left afterwards."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from diskimage_create.boot import configdrive, qemu
from diskimage_create.host import machine_architecture

#: Seconds until a guest answers through SSH; under TCG on a loaded machine it takes a minute or two
PATIENCE = 600
_MAC = "52:54:00:00:02:0f"
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

    running: qemu.Machine
    port: int
    user: str
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
            assert self.running.over() is None, f"{self.running.over()}\n{self.console_tail()}"
            with suppress(subprocess.TimeoutExpired):
                if self.ssh("true", key, check=False).returncode == 0:
                    return
            time.sleep(1)
        raise AssertionError(f"no SSH in {PATIENCE} s\n{self.console_tail()}")

    def console_tail(self) -> str:
        """The last of what the serial console showed."""
        return "\n".join(self.running.console.tail(40))


@contextmanager
def booted(image: Path, arch: str, metadata: Mapping[str, object], directory: Path, user: str) -> Iterator[Machine]:
    """Boot an image with a config drive; the image itself is not written to.

    :param metadata: OpenStack's meta_data.json
    :param directory: gets the serial console's record, ``console.log``
    """
    require(f"qemu-system-{qemu.SYSTEMS[arch].name}", "qemu-img", "xorriso", "ssh")
    with tempfile.TemporaryDirectory(prefix="qemu-") as name:
        work = Path(name)
        # Larger than the image: the root file system is to grow.
        qemu.overlay(image, "qcow2", work / "disk.qcow2", gib=5)
        user_data = configdrive.user_data([], [])
        configdrive.write(work / "config.iso", metadata, configdrive.network_data(_MAC), user_data)
        forward = qemu.Forward(qemu.free_port(), 22)
        guest = qemu.Guest(
            arch=arch,
            accelerator=qemu.accelerator(arch, machine_architecture(), work),
            disk=work / "disk.qcow2",
            drive=work / "config.iso",
            networks=(qemu.Network("10.0.2.0/24", _MAC, (forward,)),),
        )
        with qemu.running(guest, work, directory / "console.log") as running:
            yield Machine(running, forward.host_port, user, time.monotonic() + PATIENCE)
