"""EFI system partitions, which are read without a mount."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from diskimage_create.model import Expectation, Finding, Status
from diskimage_create.validate import validate
from made_files import pe

pytestmark = pytest.mark.loop

Check = Callable[[dict[str, bytes]], Finding]

LOADER = pe(sections=1).ljust(512 + 4096, b"\0")


@pytest.fixture
def check(make_efi_image: Callable[[Path], Path], tmp_path: Path, expectation: Expectation) -> Check:
    """The finding of ``efi-boot`` for an image whose system partition holds these files."""
    if shutil.which("mcopy") is None:
        pytest.skip("mtools is not installed")

    def run(files: dict[str, bytes]) -> Finding:
        efi = tmp_path / "efi"
        for name, content in files.items():
            (efi / name).parent.mkdir(parents=True, exist_ok=True)
            (efi / name).write_bytes(content)
        report = validate(make_efi_image(efi), expectation)
        # What is not of UEFI is as it should be.
        assert {finding.id for finding in report.failed} <= {"efi-boot"}
        return next(finding for finding in report.findings if finding.id == "efi-boot")

    return run


def test_a_loader_is_found(check: Check) -> None:
    searching = b"search --label img-rootfs --set=root\n"
    finding = check({"EFI/BOOT/BOOTX64.EFI": LOADER, "EFI/debian/grub.cfg": searching})
    assert (finding.status, finding.message) == (Status.PASS, "BOOTX64.EFI")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"note": b"x"}, "/EFI/BOOT/BOOTX64.EFI is missing (/note)"),
        ({"EFI/debian/grubx64.efi": LOADER}, "/EFI/BOOT/BOOTX64.EFI is missing"),
        ({"EFI/BOOT/BOOTX64.EFI": LOADER[:-9]}, "cut short: 9 bytes are missing"),
        ({"EFI/BOOT/BOOTX64.EFI": b"MZ" + bytes(4096)}, "no program for this architecture"),
        ({"EFI/BOOT/BOOTX64.EFI": pe(0xAA64).ljust(9000, b"\0")}, "no program for this architecture"),
        ({"EFI/BOOT/BOOTX64.EFI": LOADER + b"UEFI SHIM"}, "is a shim"),
        (
            {"EFI/BOOT/BOOTX64.EFI": LOADER, "EFI/BOOT/grub.cfg": b"search.fs_uuid 0a1b root hd0,gpt2\n"},
            "searches for 0a1b",
        ),
    ],
)
def test_what_firmware_would_not_start(check: Check, files: dict[str, bytes], message: str) -> None:
    finding = check(files)
    assert finding.status is Status.FAIL
    assert message in finding.message
