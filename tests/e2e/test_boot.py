"""A real amphora, booted once: it answers its controller, and balances real requests."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from building import COMMAND, REPRODUCIBLE, SCRATCH, Built, clean_environment, run_build
from machine import require

from contract import schema_errors
from diskimage_create.boot import qemu
from diskimage_create.boot.firmware import find_uefi
from diskimage_create.errors import HostError
from diskimage_create.requirements import BOOT

#: Seconds; a machine that is emulated beside other work takes its time
PATIENCE = 1500

CHECKS = [
    *("boot", "login-prompt", "units", "kernel-messages"),
    *("agent-api", "agent-info", "agent-refuses", "heartbeat", "vip", "load-balancer", "traffic", "failover"),
    "heartbeat-status",
]


def test_every_check_is_documented() -> None:
    page = Path(__file__).parents[2] / "docs/boot.md"
    documented = re.findall(r"^\| `([a-z-]+)` \|", page.read_text(), re.MULTILINE)
    assert documented == ["image-intact", *CHECKS]


def booting(image: Path, *arguments: str) -> list[str]:
    return [*COMMAND, "boot", str(image), "--timeout", str(PATIENCE), *arguments]


def run(image: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        booting(image, *arguments),
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE + 60,
        check=False,
    )


@pytest.fixture(scope="module")
def host() -> None:
    """Skips the test where nothing can be booted."""
    require("qemu-system-x86_64")
    missing = [f"{each.name}: package {each.package}" for each in BOOT if not each.met()]
    if missing:
        pytest.skip(", ".join(missing))


@pytest.fixture(scope="module")
def amphora(host: None, bookworm: Built) -> Built:
    require(f"qemu-system-{qemu.SYSTEMS[bookworm.record()['image']['arch']].name}")
    return bookworm


@pytest.fixture(scope="module")
def before(amphora: Built) -> tuple[int, set[str]]:
    """When the image was written, and what lay beside it."""
    return amphora.path().stat().st_mtime_ns, set(os.listdir(amphora.directory))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reports of the boot test are."""
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def report(amphora: Built, before: object, written: Path) -> dict[str, Any]:
    """What the boot test of the amphora found."""
    files = [word for ending in ("html", "xml", "json") for word in ("--report", str(written / f"boot.{ending}"))]
    done = run(amphora.path(), "--format", "json", *files)
    assert done.returncode in (0, 5), done.stderr
    return json.loads(done.stdout)


def test_an_amphora_passes_every_check(report: dict[str, Any]) -> None:
    assert schema_errors(report, "boot") == []
    statuses = {check["id"]: check["status"] for check in report["checks"]}
    bad = [check for check in report["checks"] if check["status"] in ("fail", "skip")]
    assert (list(statuses), bad) == (CHECKS, [])
    assert report["ok"]
    assert report["console"] is None


def test_everything_that_starts_by_itself_is_well(report: dict[str, Any]) -> None:
    assert (report["state"], report["failed_units"]) == ("running", [])
    assert report["multi_user_seconds"] > 0


def test_the_timeline_is_one(report: dict[str, Any]) -> None:
    times = [each["seconds"] for each in report["timeline"]]
    assert times == sorted(times)
    events = [each["event"] for each in report["timeline"]]
    assert events[0] == "kernel started"
    in_order = ["amphora API answers", "virtual address plugged", "load balancer started", "one member serves all"]
    assert [event for event in events if event in in_order] == in_order


def test_the_machine_says_what_took_how_long(report: dict[str, Any]) -> None:
    assert report["stages"][-1]["stage"] == "system"
    units = {each["unit"]: each for each in report["units"]}
    assert 10 < len(units) <= 40
    # cloud-init's stages come one after the other, and each takes its time.
    stages = [units[f"cloud-{name}.service"]["begun"] for name in ("init-local", "config", "final")]
    assert 0 < stages[0] < stages[1] < stages[2]
    assert all(0 < each["seconds"] < report["seconds"] for each in units.values())


def test_its_reports_say_the_same(report: dict[str, Any], written: Path) -> None:
    document = json.loads((written / "boot.json").read_text())
    assert schema_errors(document, "report") == []
    assert document["images"][0]["boot"] == report
    cases = ET.fromstring((written / "boot.xml").read_text()).iter("testcase")
    assert [str(case.get("name")).partition(":")[0] for case in cases if case.find("failure") is None] == sorted(
        CHECKS, key=lambda id: (CHECKS.index(id) < 4, CHECKS.index(id))
    )
    page = (written / "boot.html").read_text()
    assert all(f">{each['unit']}</th>" in page for each in report["units"])


def test_nothing_is_left_and_the_image_is_as_it_was(
    amphora: Built, before: tuple[int, set[str]], report: dict[str, Any]
) -> None:
    assert (amphora.path().stat().st_mtime_ns, set(os.listdir(amphora.directory))) == before
    assert machines() == []
    assert [path.name for path in SCRATCH.iterdir() if path.name.startswith("diskimage-create-")] == []


def machines() -> list[str]:
    """Machines of this run that are still there: their files are in the directory of the run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if Path(os.fsdecode(words[0])).name.startswith("qemu-system-") and str(SCRATCH).encode() in b" ".join(words):
            found.append(path.parts[2])
    return found


def damaged(amphora: Built, tmp_path: Path) -> Path:
    """A copy that nothing boots: without its first sector."""
    copy = tmp_path / "damaged.qcow2"
    shutil.copyfile(amphora.path(), copy)
    shutil.copyfile(amphora.path("qcow2.json"), tmp_path / "damaged.qcow2.json")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -z 0 512", str(copy)], check=True, capture_output=True)
    return copy


def test_an_image_that_does_not_boot_says_so_at_once(amphora: Built, tmp_path: Path) -> None:
    image = damaged(amphora, tmp_path)
    done = run(image)
    assert done.returncode == 5, done.stderr
    assert "the firmware finds nothing to boot" in done.stdout
    assert "the last lines of the serial console:\n  SeaBIOS" in done.stdout
    assert "No bootable device" in (tmp_path / "damaged.qcow2.console.log").read_text()
    assert machines() == []


def test_a_deadline_is_one(amphora: Built, tmp_path: Path) -> None:
    console = tmp_path / "console"
    done = run(amphora.path(), "--profile", "base", "--timeout", "1", "--console", str(console))
    assert done.returncode == 5, done.stderr
    assert "the end of the boot: nothing within" in done.stdout
    assert console.exists()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_machine_ends_with_its_command(amphora: Built, signum: signal.Signals, tmp_path: Path) -> None:
    console = tmp_path / "console"
    command = booting(amphora.path(), "--console", str(console))
    with subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        try:
            end = time.monotonic() + PATIENCE
            while not (machines() and console.exists() and console.stat().st_size):
                assert child.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
        finally:
            child.send_signal(signum)
        child.communicate(timeout=120)
    end = time.monotonic() + 30
    while machines() and time.monotonic() < end:
        time.sleep(0.05)
    assert machines() == []
    assert child.returncode == (-9 if signum is signal.SIGKILL else 130)
    # After SIGKILL the next command removes the directory.
    if signum is not signal.SIGKILL:
        assert [path.name for path in SCRATCH.iterdir() if path.name.startswith("diskimage-create-")] == []


def test_what_does_not_boot_by_itself_is_refused(amphora: Built) -> None:
    done = run(amphora.path("tar"))
    assert done.returncode == 2
    assert "it is a tar, which does not boot by itself" in done.stderr


def test_a_backing_file_is_not_opened(amphora: Built, tmp_path: Path) -> None:
    image = tmp_path / "layer.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(amphora.path()), "-F", "qcow2", str(image)]
    subprocess.run(command, check=True)
    done = run(image)
    assert done.returncode == 5
    assert "the image has a backing file" in done.stdout


@pytest.mark.full
def test_a_stored_image_is_proved_before_it_gets_its_name(amphora: Built) -> None:
    directory = amphora.directory.parent / "proved"
    directory.mkdir()
    line = ("-i", "debian", "-d", "bookworm", "-t", "qcow2,tar", "--prove")
    built = run_build(directory, *line, env=REPRODUCIBLE)
    assert built.returncode == 0, built.stderr[-4000:]
    record = built.record()
    assert schema_errors(record, "record") == []
    assert [check["id"] for check in record["boot"]["checks"]] == CHECKS
    assert record["boot"]["image"] == "amphora-x64-haproxy.qcow2"


def test_what_cannot_be_booted_cannot_be_proved(tmp_path: Path) -> None:
    command = [*COMMAND, "-i", "debian", "-t", "tar", "--prove", "-o", str(tmp_path / "x")]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "tar does not boot by itself" in done.stderr
    assert list(tmp_path.iterdir()) == []


BROKEN_UNIT = """\
#!/bin/bash
set -eu
printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n[Install]\\nWantedBy=multi-user.target\\n' \\
    > /etc/systemd/system/broken.service
systemctl enable broken.service
"""


@pytest.mark.full
def test_an_image_that_fails_its_boot_test_gets_no_name(amphora: Built, tmp_path: Path) -> None:
    hook = tmp_path / "elements/broken-unit/post-install.d/50-broken-unit"
    hook.parent.mkdir(parents=True)
    hook.write_text(BROKEN_UNIT)
    hook.chmod(0o755)
    directory = amphora.directory.parent / "not-proved"
    directory.mkdir()
    line = ("-i", "debian", "-d", "bookworm", "--element", "broken-unit", "--prove")
    env = {**REPRODUCIBLE, "ELEMENTS_PATH": str(tmp_path / "elements")}
    built = run_build(directory, *line, env=env)
    assert built.returncode == 5, built.stderr[-4000:]
    assert "units: broken.service" in built.stderr
    names = {"amphora-x64-haproxy.log", "amphora-x64-haproxy.qcow2.console.log"}
    assert set(os.listdir(directory)) == names


def test_a_disk_for_uefi_gets_uefi(host: None, tmp_path: Path) -> None:
    """The firmware starts, and finds nothing on it."""
    try:
        find_uefi(qemu.SYSTEMS["amd64"].name)
    except HostError as error:
        pytest.skip(f"{error.message}: {error.hint}")
    image = tmp_path / "empty.raw"
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    subprocess.run(["sfdisk", "-q", str(image)], input="label: gpt\ntype=U, size=40M\n", text=True, check=True)
    done = run(image, "--arch", "amd64", "--format", "json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["machine"]["firmware"]) == (5, "uefi")
    assert report["checks"][0]["message"].startswith("the firmware finds nothing to boot")
