"""Validation of files that mean harm, or are in the way: a report or an error, nothing touched, nothing left."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from diskimage_create.errors import HostError, InputError
from diskimage_create.model import Expectation, Report, Status
from diskimage_create.validate import validate
from diskimage_create.validate.report import as_text

pytestmark = pytest.mark.loop

ImageMaker = Callable[..., Path]
COMMAND = [sys.executable, "-m", "diskimage_create", "validate"]
PATIENCE = 60


def failures(report: Report) -> dict[str, str]:
    return {finding.id: finding.message for finding in report.findings if finding.status is Status.FAIL}


@pytest.mark.parametrize("name", ["-x", "fat:x", 'json:{"driver": "null-co"}', "a b,c=d?offset=1:e", "\udcff\x1b[2J"])
def test_a_name_is_nothing_but_a_name(
    make_image: ImageMaker, expectation: Expectation, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU has protocols and options in names, tar has hosts, and libext2fs offsets."""
    monkeypatch.chdir(tmp_path)
    for kind in ("raw", "qcow2", "tar"):
        make_image(kind).rename(name)
        report = validate(Path(name), expectation)
        assert failures(report) == {}
        assert as_text(report).replace("\n", "").isprintable()
        Path(name).unlink()


def archive(path: Path, *members: tuple[str, bytes | None, dict[str, object]]) -> Path:
    """A tar archive, of whatever is in it: no program makes such ones."""
    with tarfile.open(path, "w") as file:
        for name, content, fields in members:
            member = tarfile.TarInfo(name)
            for field, value in fields.items():
                setattr(member, field, value)
            member.size = len(content or b"")
            file.addfile(member, io.BytesIO(content or b""))
    return path


def link_to(target: str, kind: bytes = tarfile.SYMTYPE) -> dict[str, object]:
    return {"type": kind, "linkname": target}


def test_archives_stay_in_their_place(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("ID=stolen\n")
    (outside / "secret").chmod(0o600)
    up = "../" * 20
    link: tuple[str, bytes | None, dict[str, object]] = ("link", None, link_to(str(outside)))
    members: list[tuple[str, bytes | None, dict[str, object]]] = [
        (f"{outside}/absolute", b"x", {}),
        (f"{up}{outside}/climbed", b"x", {}),
        ("link/through", b"x", {}),
        ("hard", None, link_to(f"{outside}/secret", tarfile.LNKTYPE)),
        ("etc/os-release", None, link_to(f"{up}{outside}/secret")),
        ("etc/fstab", None, {"type": tarfile.FIFOTYPE}),
        ("etc/passwd", None, {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}),
        ("etc/shadow", None, {"type": tarfile.BLKTYPE, "devmajor": 8, "devminor": 0}),
        ("root", None, {"type": tarfile.DIRTYPE, "mode": 0}),
        ("root", b"a file now", {}),
    ]
    # One after the other: what tar refuses ends the report.
    for number, member in enumerate(members):
        image = archive(tmp_path / f"{number}.tar", link, member, ("usr/bin/dpkg", b"x", {}))
        report = validate(image, Expectation())
        assert not report.ok
        assert "stolen" not in as_text(report)
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


def test_a_path_that_cannot_be_followed(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 300), tmp_path / "a\0b", tmp_path):
        with pytest.raises(InputError):
            validate(path, Expectation())


def test_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    image = archive(tmp_path / "names.tar", ("etc/ssh/ssh_host_\x1b[2J\n\x07\udcff\u202e_key", b"x", {}))
    report = validate(image, Expectation())
    assert failures(report)["ssh-host-keys"] == r"found /etc/ssh/ssh_host_\x1b[2J \x07\udcff\u202e_key"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files that is full soon."""
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", directory], check=True)
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(directory))
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def test_no_room_to_unpack_is_this_hosts_fault(
    tree: Path, make_image: ImageMaker, expectation: Expectation, small: Path
) -> None:
    (tree / "ballast").write_bytes(os.urandom(2**20))
    with pytest.raises(HostError, match="no room"):
        validate(make_image("tgz"), expectation)
    assert list(small.iterdir()) == []


def test_no_room_for_a_check_rejects_no_image(
    tree: Path, make_image: ImageMaker, expectation: Expectation, small: Path
) -> None:
    """The list of all files does not fit."""
    for number in range(100):
        (tree / f"usr/bin/{number:03}{'x' * 200}").touch()
        (tree / f"usr/{number:03}{'x' * 200}").mkdir()
        (tree / f"usr/{number:03}{'x' * 200}" / ("y" * 250)).touch()
    image = make_image()
    assert failures(validate(image, expectation)) == {}
    (small / "ballast").write_bytes(bytes(460 * 2**10))
    with pytest.raises(HostError, match="no room"):
        validate(image, expectation)
    assert [path.name for path in small.iterdir()] == ["ballast"]


@contextmanager
def running(image: Path, scratch: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command, when it has mounted the image."""
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(
        [*COMMAND, str(image)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            end = time.monotonic() + PATIENCE
            while process.poll() is None and not mounts_below(scratch) and time.monotonic() < end:
                time.sleep(0.005)
            yield process
        finally:
            process.kill()


def mounts_below(directory: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [place for line in lines if (place := line.split()[4]).startswith(f"{directory}/")]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the command works."""
    directory = tmp_path / "of-the-command"
    directory.mkdir()
    return directory


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(make_image: ImageMaker, scratch: Path, signum: signal.Signals) -> None:
    with running(make_image("qcow2"), scratch) as process:
        process.send_signal(signum)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    # It may have been done already.
    if process.returncode != 5:
        assert (process.returncode, stdout) == (130, b""), stderr
    assert mounts_below(scratch) == []
    assert list(scratch.iterdir()) == []


def test_the_next_one_cleans_up_after_a_kill(make_image: ImageMaker, scratch: Path) -> None:
    image = make_image("qcow2")
    with running(image, scratch) as process:
        process.kill()
        process.communicate(timeout=PATIENCE)
    environment = {**os.environ, "TMPDIR": str(scratch)}
    done = subprocess.run([*COMMAND, str(image)], env=environment, capture_output=True, check=False)
    assert done.stderr == b""
    assert mounts_below(scratch) == []
    assert list(scratch.iterdir()) == []


def test_two_at_once(make_image: ImageMaker, scratch: Path) -> None:
    image = make_image("qcow2")
    with running(image, scratch) as first, running(image, scratch) as second:
        outputs = [process.communicate(timeout=PATIENCE) for process in (first, second)]
        assert [stderr for _, stderr in outputs] == [b"", b""]
        assert first.returncode == second.returncode
    assert list(scratch.iterdir()) == []
