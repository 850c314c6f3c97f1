"""What boot refuses before a machine is started."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from contract import schema_errors
from diskimage_create import boot
from diskimage_create.boot.report import BootReport, as_json
from diskimage_create.cli import main
from diskimage_create.errors import HostError, InputError
from diskimage_create.model import Finding, Status

IMAGE = b"\0" * 510 + b"\x55\xaa"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.raw"
    path.write_bytes(IMAGE)
    return path


@pytest.mark.parametrize("name", ["image.raw", "hard link", "symbolic link"])
def test_the_console_is_never_written_over_the_image(
    image: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.link(image, image.with_name("hard link"))
    image.with_name("symbolic link").symlink_to(image)
    assert main(["boot", str(image), "--console", str(image.with_name(name))]) == 2
    assert "it is the image" in capsys.readouterr().err
    assert image.read_bytes() == IMAGE


def test_the_console_is_a_file_that_can_be_read(image: Path, tmp_path: Path) -> None:
    """A pipe would be waited for, for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(InputError, match="no plain file"):
            boot.refuse_console(image, path)
    boot.refuse_console(image, tmp_path / "new")
    boot.refuse_console(image, None)


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1", "1e300"])
def test_a_timeout_comes(image: Path, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boot", str(image), "--timeout", seconds]) == 2
    assert "--timeout" in capsys.readouterr().err


@pytest.mark.parametrize("path", [".", "/", "no-such-file"])
def test_what_is_no_file(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boot", path]) == 2
    assert "there is no such image file" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--arch", "vax"], ["--profile", "no-such"], ["--profile", "/no/such.yaml"]])
def test_unknown_names(image: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boot", str(image), *options]) == 2
    assert "internal error" not in capsys.readouterr().err


def test_kvm_is_not_pretended(tmp_path: Path) -> None:
    options = boot.BootOptions(arch="ppc64el", amphora=False, accelerator="kvm")
    with pytest.raises(HostError, match="KVM runs no machine of ppc64el here"):
        boot._accelerator(options, "ppc64el", tmp_path)


def test_damage_is_a_report_of_the_same_form(tmp_path: Path) -> None:
    damaged = Finding("image-intact", "The image can be opened", Status.FAIL, "it cannot")
    made = BootReport(tmp_path, (damaged,), 0.0, "amd64", "none", "none", (), None, None, ())
    assert schema_errors(json.loads(as_json(made)), "boot") == []
