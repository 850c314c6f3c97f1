"""What a machine's serial console says: how far the boot got, and why it goes no further."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_EVERY_SECONDS = 0.1

#: Control sequences of terminals (ECMA-48), and characters that only move the cursor
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*\x07|\x1b[()][0-9A-Za-z]|\x1bc|[\r\x00\x07\x08]")

#: Event -> what shows it. The kernel's own names its version at the very beginning; systemd prints the name of a unit
#: (since version 248) or its description.
_EVENTS = {
    "kernel started": re.compile(r"\] Linux version \S+|^Linux version \S+"),
    "systemd started": re.compile(r"systemd\[1\]: systemd \d+\S* running in system mode"),
    "network up": re.compile(r"Reached target (network\.target|Network\.|Network$)"),
    "multi-user.target": re.compile(r"Reached target (multi-user\.target|Multi-User System)"),
    "login prompt": re.compile(r"^\S+ login: ?(?:$|\[)"),
}

#: Where a boot ends for good, and what that means. The sources of these texts are SeaBIOS, the UEFI shell, GRUB, the
#: kernel, initramfs-tools, dracut and systemd.
_ENDS = (
    (re.compile(r"No bootable device|Boot failed: not a bootable disk"), "the firmware finds nothing to boot"),
    (re.compile(r"BdsDxe: No bootable option|^UEFI Interactive Shell|^Shell> "), "the firmware finds nothing to boot"),
    # GRUB does without many a file that it complains of.
    (re.compile(r"grub rescue>|^grub> ?$|^.*you need to load the kernel first"), "GRUB does not find its files"),
    (re.compile(r"^GRUB Geom Error|^GRUB Read Error|^GRUB Hard Disk Error"), "GRUB does not find its files"),
    (re.compile(r"Kernel panic - not syncing.*"), "the kernel panicked"),
    (re.compile(r"^\(initramfs\) ?$|ALERT!.* does not exist"), "the initrd does not find the root file system"),
    (re.compile(r"Entering emergency mode|You are in (?:emergency|rescue) mode"), "the system is in emergency mode"),
)
#: The last words of SeaBIOS before it runs the boot sector. GRUB's first ones follow at once; what follows none of them
#: in this time is a boot sector that hangs.
_HANDED_OVER = re.compile(r"^Booting from (?!ROM)\S.*\.\.\.$")
_SILENCE_SECONDS = 60.0
#: Bytes of a part, how many of those are looked at in one go; the end that is shown is of one
_PART_BYTES, _PARTS = 2**20, 8
#: Characters of a line that are looked at, and that are shown
_LINE, _SHOWN = 4096, 400
_FAILED = re.compile(r"^\[FAILED\] Failed to start (?P<unit>.*)$")


def plain(text: str) -> list[str]:
    """The lines of a console as a person would read them."""
    return [line.rstrip() for line in _CONTROL.sub("", text).split("\n")]


def shown(line: str) -> str:
    """A line as it can be shown to a user: with no control character, which could do anything to a terminal."""
    cut = line.expandtabs() if len(line) <= _SHOWN else f"{line[:_SHOWN].expandtabs()} ..."
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in cut)


def event(line: str) -> str | None:
    """The event that a line shows, if any."""
    return next((name for name, pattern in _EVENTS.items() if pattern.search(line)), None)


def end(lines: Iterable[str]) -> str | None:
    """Why the boot goes no further, with the line that shows it; None where it does, or may."""
    for line in lines:
        for pattern, meaning in _ENDS:
            if match := pattern.search(line):
                return f"{meaning}: {match[0].strip()}"
    return None


def failed_units(lines: Iterable[str]) -> list[str]:
    """What systemd said it failed to start, as it shortened it."""
    return [match["unit"].rstrip(".") for line in lines if (match := _FAILED.search(line))]


@dataclass
class Console:
    """A console that is being recorded to a file, and read while it grows."""

    path: Path
    started: float
    """When the machine was started, on the monotonic clock"""
    events: dict[str, float] = field(default_factory=dict)
    """Event -> seconds since the start when it was seen first"""
    ended: str | None = None
    """Why the boot goes no further; None as long as it may"""
    _read: int = 0
    _rest: str = ""
    _last: str = ""
    _grown: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, now: float | None = None) -> None:
        """Take in what is new; any thread may.

        :param now: on the monotonic clock
        """
        with self._lock:
            self._look(now)

    def _look(self, now: float | None) -> None:
        now = (time.monotonic() if now is None else now) - self.started
        for _ in range(_PARTS):  # and not for as long as somebody floods it
            if not (new := self._part(self._read)):
                break
            self._grown = now
            self._read += len(new)
            self._take(new, now)
        if now - self._grown > _SILENCE_SECONDS and _HANDED_OVER.search(self._last):
            self.ended = self.ended or f"the boot loader says nothing for {_SILENCE_SECONDS:.0f} s"

    def _take(self, new: bytes, now: float) -> None:
        # A prompt is a line that nothing ends yet. Nothing that matters is as long as what is kept of a line.
        lines = plain(self._rest[-_LINE:] + new.decode("utf-8", errors="replace"))
        self._rest = lines[-1]
        self._last = next((line for line in reversed(lines) if line), self._last)
        begun = [line[:_LINE] for line in lines]
        for line in begun:
            if (name := event(line)) is not None:
                self.events.setdefault(name, now)
        self.ended = self.ended or end(begun)

    def _part(self, start: int) -> bytes:
        """What is there from a byte on, or the first of it; nothing when somebody removed the file."""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(_PART_BYTES)
        except OSError:
            return b""

    def lines(self) -> list[str]:
        """The last of what was shown so far."""
        try:
            start = max(0, self.path.stat().st_size - _PART_BYTES)
        except OSError:
            return []
        return plain(self._part(start).decode("utf-8", errors="replace"))

    def tail(self, count: int = 15) -> list[str]:
        """The last lines that are not empty, as they can be shown."""
        return [shown(line) for line in [line for line in self.lines() if line][-count:]]


@contextmanager
def followed(console: Console, each_time: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Follow a console while the block runs.

    :param each_time: is called after each look
    """
    console.path.touch()
    over = threading.Event()

    def follow() -> None:
        while not over.wait(_EVERY_SECONDS):
            console.look()
            each_time()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
