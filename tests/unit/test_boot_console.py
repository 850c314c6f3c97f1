"""Consoles of machines, as they were recorded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from diskimage_create.boot import console
from diskimage_create.boot.console import Console, event, failed_units, plain

RECORDED = Path(__file__).parent / "recorded"


def lines(name: str) -> list[str]:
    return plain((RECORDED / f"{name}.txt").read_bytes().decode())


def test_a_good_boot_shows_its_events_in_order() -> None:
    seen = [name for line in lines("debian-13") if (name := event(line))]
    assert list(dict.fromkeys(seen)) == ["kernel started", "systemd started", "network up", "login prompt"]
    assert console.end(lines("debian-13")) is None
    assert failed_units(lines("debian-13")) == []


def test_nothing_of_the_terminal_is_left() -> None:
    assert all(char.isprintable() for line in lines("debian-13") for char in line)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no-boot-loader", "the firmware finds nothing to boot: Boot failed: not a bootable disk"),
        ("no-uefi-loader", "the firmware finds nothing to boot: UEFI Interactive Shell"),
        ("no-root", "the initrd does not find the root file system: ALERT!"),
    ],
)
def test_a_boot_that_ends_early_says_why(name: str, why: str) -> None:
    assert (console.end(lines(name)) or "").startswith(why)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs",
            "the kernel panicked: Kernel panic - not",
        ),
        (
            "error: you need to load the kernel first.",
            "GRUB does not find its files: error: you need",
        ),
        ("grub rescue> ", "GRUB does not find its files: grub rescue>"),
        ("You are in emergency mode. After logging in, type", "the system is in emergency mode"),
        ("BdsDxe: No bootable option or device was found.", "the firmware finds nothing to boot: BdsDxe"),
        ("Shell> ", "the firmware finds nothing to boot"),
        ("(initramfs) ", "the initrd does not find the root file system"),
    ],
)
def test_other_ends(text: str, why: str) -> None:
    assert (console.end([text]) or "").startswith(why)


@pytest.mark.parametrize(
    "text",
    [
        "kernel: error: file something was reported by a driver",
        "[   12.3] EXT4-fs error (device vda1): ext4_lookup",
        "error: file `/boot/grub/fonts/unicode.pf2' not found.",
        "Started emergency.service was skipped",
        "the Shell> of UEFI",
    ],
)
def test_what_only_looks_like_an_end(text: str) -> None:
    assert console.end([text]) is None


def test_units_that_failed_on_the_console() -> None:
    text = "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mnetworking.service\x1b[0m - Raise interfaces.\r\n"
    assert failed_units(plain(text)) == ["networking.service - Raise interfaces"]


def test_a_console_is_read_while_it_grows(tmp_path: Path) -> None:
    """Wherever it is cut, and also inside of a character."""
    content = (RECORDED / "debian-13.txt").read_bytes()
    for step in (7, 100, 4000):
        path = tmp_path / f"{step}"
        path.touch()
        growing = Console(path, time.monotonic())
        for start in range(0, len(content), step):
            with path.open("ab") as file:
                file.write(content[start : start + step])
            growing.look()
        assert list(growing.events) == ["kernel started", "systemd started", "network up", "login prompt"]
        assert growing.ended is None
        assert growing.tail(1)[0].endswith("virtio_net virtio1 eth1: renamed from enp0s2")


def test_following_sees_a_prompt_that_no_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "console"
    follower = Console(path, time.monotonic())
    with console.followed(follower):
        path.write_text("\r\nboot-test login: ")
        end = time.monotonic() + 30
        while not follower.events and time.monotonic() < end:
            time.sleep(0.01)
    assert list(follower.events) == ["login prompt"]


def test_a_boot_sector_that_hangs(tmp_path: Path) -> None:
    path = tmp_path / "console"
    path.write_text("SeaBIOS (version 1.16.2)\r\nBooting from Hard Disk...\r\n")
    waiting = Console(path, 0.0)
    for now in (1.0, 30.0, 60.0):
        waiting.look(now)
        assert waiting.ended is None
    waiting.look(62.0)
    assert waiting.ended == "the boot loader says nothing for 60 s"


def test_a_kernel_may_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "console"
    path.write_text("Booting from Hard Disk...\r\nGRUB loading.\r\n")
    waiting = Console(path, 0.0)
    for now in (1.0, 1000.0):
        waiting.look(now)
    assert waiting.ended is None


def test_what_a_guest_prints_cannot_steer_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "console"
    path.write_bytes(b"title \x1b]0;mine\x07\x1bPq\x9b31m\x1b[?25l\x0e\x7f\xff \xe2\x80\xae txt\tend\n" + b"x" * 10_000)
    first, second = Console(path, 0.0).tail()
    assert first.isprintable()
    assert "txt" in first
    assert len(second) < 500


def test_a_flood_is_not_kept_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "console"
    path.write_bytes(
        b"boot-test login: \n" + b"you " * 2**18 + b"\n" + b"y\n" * 2**20 + b"Kernel panic - not syncing: x"
    )
    flooded = Console(path, 0.0)
    flooded.look()
    assert "login prompt" in flooded.events
    assert (flooded.ended or "").startswith("the kernel panicked")
    assert len(flooded.lines()) < 2**20


def test_a_record_that_somebody_removed(tmp_path: Path) -> None:
    gone = Console(tmp_path / "gone", 0.0)
    gone.look()
    assert gone.tail() == []
