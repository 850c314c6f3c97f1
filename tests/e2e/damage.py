"""Damages to the disk of a real image, each on a copy that costs only what is in it.

The file systems are edited by debugfs, without being mounted: whatever happens to a test, nothing stays mounted.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import pytest

from diskimage_create.validate.formats.disk import read_disk
from diskimage_create.validate.system.packages import DPKG_STATUS

VENV = "/opt/amphora-agent-venv"

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
_ENVIRONMENT = dict(os.environ, PATH=_PATH, LC_ALL="C", DEBUGFS_PAGER="cat")


def skip_where_none_can_be_made() -> None:
    """Skip, with the reason, where images cannot be damaged."""
    if shutil.which("debugfs", path=_PATH) is None:
        pytest.skip("not installed: debugfs (e2fsprogs)")


@dataclass(frozen=True)
class Disk:
    """A raw disk image whose root file system is ext4; names are the image's own, from ``/``."""

    path: Path

    @cached_property
    def root(self) -> int:
        """Where the root file system starts, in bytes."""
        root = read_disk(self.path).root
        assert root is not None
        return root.start

    def names(self, directory: str) -> list[str]:
        """The names in a directory; empty where there is none."""
        rows = (line.split("/") for line in self._ask(f"ls -p {directory}").splitlines())
        return [row[5] for row in rows if len(row) > 5 and row[5] not in (".", "..")]

    def only(self, directory: str, start: str) -> str:
        """The name from ``/`` of the first file in a directory that starts so."""
        return f"{directory}/{next(name for name in sorted(self.names(directory)) if name.startswith(start))}"

    def kinds(self, *names: str) -> dict[str, str]:
        """What each of these is (``regular``, ``symlink``, ``directory``, ...); what is not there is left out."""
        answers = self._ask("\n".join(f'stat "{name}"' for name in names)).split("debugfs: stat ")[1:]
        found = ((name, re.search(r"Type: (\w+)", answer)) for name, answer in zip(names, answers, strict=True))
        return {name: kind[1] for name, kind in found if kind}

    def exists(self, name: str) -> bool:
        return bool(self.kinds(name))

    def read(self, name: str) -> bytes:
        assert self.exists(name), name
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory, "content")
            self._ask(f'dump "{name}" {copy}')
            return copy.read_bytes()

    def put(self, name: str, content: str | bytes, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> None:
        """Write a file, and the directories that it is in; one that is there already keeps nothing."""
        parents = [str(parent) for parent in reversed(PurePosixPath(name).parents)][1:]
        there = self.kinds(*parents, name)
        commands = [f'mkdir "{parent}"' for parent in parents if parent not in there]
        if name in there:
            commands.append(f'rm "{name}"')
        with tempfile.NamedTemporaryFile() as file:
            file.write(content if isinstance(content, bytes) else content.encode())
            file.flush()
            fields = {"mode": f"0{stat.S_IFREG | mode:o}", "uid": owner[0], "gid": owner[1]}
            commands.append(f'write {file.name} "{name}"')
            self.edit(*commands, *(f'set_inode_field "{name}" {field} {value}' for field, value in fields.items()))

    def replace(self, name: str, old: str, new: str, count: int = -1) -> None:
        """Replace text in a file, which stays whose it is."""
        text = self.read(name).decode()
        assert old in text, f"{old!r} is not in {name}"
        self.rewrite(name, text.replace(old, new, count))

    def append(self, name: str, text: str) -> None:
        self.rewrite(name, self.read(name) + text.encode())

    def rewrite(self, name: str, content: str | bytes) -> None:
        """Give a file another content."""
        found = re.search(r"Mode:\s+(\d+).*?User:\s+(\d+)\s+Group:\s+(\d+)", self._ask(f'stat "{name}"'), re.DOTALL)
        assert found, name
        self.put(name, content, int(found[1], 8), (int(found[2]), int(found[3])))

    def remove(self, *names: str) -> None:
        self.edit(*(f'rm "{name}"' for name in names))

    def link(self, name: str, target: str) -> None:
        self.edit(*([f'rm "{name}"'] if self.exists(name) else []), f'symlink "{name}" "{target}"')

    def fill(self, name: str, left: float) -> None:
        """A file that takes room and holds nothing.

        :param left: the share of the root file system that stays free
        """
        numbers = dict(
            re.findall(r"^(Block count|Free blocks|Block size): +(\d+)$", self._ask("stats -h"), re.MULTILINE)
        )
        blocks = int(numbers["Free blocks"]) - int(int(numbers["Block count"]) * left)
        self.put(name, "")
        self.edit(
            f"fallocate {name} 0 {blocks - 1}", f"set_inode_field {name} size {blocks * int(numbers['Block size'])}"
        )

    def blocks(self, name: str) -> list[int]:
        """The numbers of the blocks of a file, counted from the start of the root file system."""
        return [int(number) for number in self._ask(f'blocks "{name}"').splitlines()[1].split()]

    def poke_block(self, number: int, content: bytes) -> None:
        """Overwrite the start of a block of the root file system."""
        self.poke(self.root + number * 4096, content)

    def poke(self, offset: int, content: bytes) -> None:
        """Overwrite bytes of the disk."""
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(content)

    def peek(self, offset: int, size: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def edit(self, *commands: str) -> None:
        """Have debugfs run commands that write."""
        assert self._run("-w", "\n".join(commands)).stderr.splitlines()[1:] == []

    def _ask(self, command: str) -> str:
        return self._run("-n", command).stdout

    def _run(self, option: str, commands: str) -> subprocess.CompletedProcess[str]:
        where = f"{self.path}?offset={self.root}"
        argv = ["debugfs", *([option] if option != "-n" else []), "-f", "-", where]
        return subprocess.run(
            argv, input=commands + "\n", env=_ENVIRONMENT, capture_output=True, text=True, errors="replace", check=True
        )


def copied(image: Path, directory: Path) -> Disk:
    """A copy that can be damaged, with its record; holes stay holes."""
    copy = directory / image.name
    subprocess.run(["cp", "--sparse=always", "--", image, f"{image}.json", directory], check=True)
    return Disk(copy)


# What can be done to one, as values for a table

Harm = Callable[[Disk], object]


def put(name: str, content: str | bytes = "x\n", mode: int = 0o644) -> Harm:
    return lambda disk: disk.put(name, content, mode)


def remove(name: str) -> Harm:
    return lambda disk: disk.remove(name)


def change(name: str, old: str, new: str) -> Harm:
    return lambda disk: disk.replace(name, old, new)


def append(name: str, text: str) -> Harm:
    return lambda disk: disk.append(name, text)


def link(name: str, target: str) -> Harm:
    return lambda disk: disk.link(name, target)


def moved(name: str) -> Harm:
    """Give it another name in its directory."""
    return lambda disk: disk.edit(f'ln "{name}" "{name}.old"', f'unlink "{name}"')


def poke(offset: int, content: bytes) -> Harm:
    return lambda disk: disk.poke(offset, content)


def chmod(name: str, mode: str) -> Harm:
    """Set the mode: with the type of the file, in octal."""
    return lambda disk: disk.edit(f'set_inode_field "{name}" mode {mode}')


def of(directory: str, start: str, harm: Callable[[str], Harm]) -> Harm:
    """Do it to the first file whose name starts so: what varies with versions."""
    return lambda disk: harm(disk.only(directory, start))(disk)


def cut(name: str, keep: float) -> Harm:
    """Leave only the first part of a file."""

    def harm(disk: Disk) -> None:
        content = disk.read(name)
        disk.rewrite(name, content[: int(len(content) * keep)])

    return harm


def zero(name: str) -> Harm:
    return lambda disk: disk.rewrite(name, bytes(len(disk.read(name))))


def uninstalled(package: str) -> Harm:
    """As ``dpkg --purge`` leaves an image: no files, and no word of it in the database."""

    def harm(disk: Disk) -> None:
        status = disk.read(DPKG_STATUS).decode()
        paragraphs = [text for text in status.split("\n\n") if not text.startswith(f"Package: {package}\n")]
        assert len(paragraphs) == len(status.split("\n\n")) - 1
        disk.rewrite(DPKG_STATUS, "\n\n".join(paragraphs))
        info = [f"/var/lib/dpkg/info/{name}" for name in disk.names("/var/lib/dpkg/info")]
        files = disk.read(f"/var/lib/dpkg/info/{package}.list").decode().splitlines()
        there = disk.kinds(*files, *(name for name in info if re.match(rf"{package}[.:]", os.path.basename(name))))
        disk.remove(*(name for name, kind in there.items() if kind in ("regular", "symlink")))

    return harm


def installed(package: str) -> Harm:
    """A package more, by the database."""
    return append(DPKG_STATUS, f"\nPackage: {package}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n")


def password(user: str, hashed: str) -> Harm:
    def harm(disk: Disk) -> None:
        text = disk.read("/etc/shadow").decode()
        disk.rewrite("/etc/shadow", re.sub(rf"^{user}:[^:]*:", f"{user}:{hashed}:", text, flags=re.MULTILINE))

    return harm


def second_partition(disk: Disk) -> None:
    """One more that is marked bootable, where nothing is."""
    disk.poke(446 + 16, struct.pack("<B3sB3sII", 0x80, bytes(3), 0x83, bytes(3), 64, 64))


def beyond_the_end(disk: Disk) -> None:
    (sectors,) = struct.unpack("<I", disk.peek(446 + 12, 4))
    disk.poke(446 + 12, struct.pack("<I", sectors + 4096))


def second_stage_zeroed(disk: Disk) -> None:
    (sector,) = struct.unpack("<Q", disk.peek(0x5C, 8))
    disk.poke(sector * 512, bytes(512))


def other_machine(disk: Disk) -> None:
    """Its programs are arm64's."""
    program = bytearray(disk.read("/usr/bin/dpkg"))
    program[18:20] = struct.pack("<H", 183)
    disk.rewrite("/usr/bin/dpkg", bytes(program))


def no_interpreter(disk: Disk) -> None:
    script = disk.read(f"{VENV}/bin/amphora-agent")
    disk.rewrite(f"{VENV}/bin/amphora-agent", script.replace(b"/bin/python", b"/bin/pythom", 1))


def in_the_agent(name: str, harm: Callable[[str], Harm]) -> Harm:
    """Do it to a file of the agent's package."""

    def harmed(disk: Disk) -> None:
        harm(f"{disk.only(f'{VENV}/lib', 'python3.')}/site-packages/octavia/{name}")(disk)

    return harmed


def this_hosts_resolver(disk: Disk) -> None:
    text = Path("/etc/resolv.conf").read_text()
    if not any(line.startswith("nameserver") and " 127." not in line for line in text.splitlines()):
        pytest.skip("this host has no name server of its own")
    disk.put("/etc/resolv.conf", text)
