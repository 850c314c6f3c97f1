"""Ironic's agent for real: a kernel and a ramdisk, with the released agent instead of its repository."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from building import COMMAND, Built, clean_environment, leftovers, run_build

from contract import schema_errors

pytestmark = pytest.mark.full
AGENT = "ironic-python-agent"
PARTS = ("initramfs", "kernel")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables that make the build take a release and no constraints: docs/profiles.md, "Ironic's agent"."""
    if missing := [name for name in ("bsdtar", "cpio", "rsync") if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if not Path(sys.prefix, "share/ironic-python-agent-builder/dib").is_dir():
        pytest.skip("its elements are not installed: pip install 'diskimage-create[ironic]'")
    directory = tmp_path_factory.mktemp("sources")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", AGENT, AGENT]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the package index has no source of {AGENT}: {done.stderr[-300:]}")
    (agent,) = directory.glob("*.tar.gz")
    constraints = directory / "requirements.tgz"
    with tarfile.open(constraints, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("requirements/upper-constraints.txt"), io.BytesIO())
    found = {"ELEMENTS_PATH": str(Path(sys.prefix, "share/ironic-python-agent-builder/dib"))}
    for name, path in (("ironic_python_agent", agent), ("requirements", constraints)):
        found |= {f"DIB_REPOTYPE_{name}": "tar", f"DIB_REPOREF_{name}": "*", f"DIB_REPOLOCATION_{name}": path.as_uri()}
    return found


@pytest.fixture(scope="module")
def agent(builds: Path, sources: dict[str, str]) -> Built:
    directory = builds / "agent"
    directory.mkdir()
    built = run_build(directory, "--profile", AGENT, "-i", "debian", "-d", "bookworm", env=sources)
    assert built.returncode == 0, built.stderr[-4000:]
    return built


def test_both_files_are_there_with_their_records(agent: Built) -> None:
    assert agent.stdout.splitlines() == [str(agent.directory / f"{AGENT}.{part}") for part in PARTS]
    for part in PARTS:
        image = agent.directory / f"{AGENT}.{part}"
        record = json.loads(Path(f"{image}.json").read_text())
        assert schema_errors(record, "record") == []
        assert [artifact["type"] for artifact in record["artifacts"]] == sorted(PARTS, key=lambda name: name != part)
        with image.open("rb") as file:
            assert record["artifacts"][0]["sha256"] == hashlib.file_digest(file, "sha256").hexdigest()
        statuses = {check["id"]: check["status"] for check in record["validation"]["checks"]}
        assert not {"fail", "warn"} & set(statuses.values())
        assert (statuses["ramdisk"], statuses["image-intact"]) == ("pass", "pass")


def test_the_agent_is_in_it_and_starts_at_boot(agent: Built) -> None:
    listed = subprocess.run(
        ["bsdtar", "-tf", agent.directory / f"{AGENT}.initramfs"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = {name.removeprefix("./") for name in listed}
    assert {
        "init",
        "opt/ironic-python-agent/bin/ironic-python-agent",
        "usr/local/bin/ironic-python-agent",
        "etc/systemd/system/multi-user.target.wants/ironic-python-agent.service",
    } <= names


def test_the_ramdisk_has_the_modules_of_the_kernel(agent: Built) -> None:
    kernel = (agent.directory / f"{AGENT}.kernel").read_bytes()
    start = int.from_bytes(kernel[0x20E:0x210], "little") + 0x200
    version = kernel[start : kernel.index(b"\0", start)].split()[0].decode()
    assert "cloud" not in version  # bare metal needs all drivers
    listed = subprocess.run(
        ["bsdtar", "-tf", agent.directory / f"{AGENT}.initramfs", f"*/modules/{version}/modules.dep"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert listed.count("modules.dep") == 1


def test_it_is_found_good_later_and_not_when_it_is_cut_short(agent: Built) -> None:
    for part in PARTS:
        image = agent.directory / f"{AGENT}.{part}"
        for size, status in ((None, 0), (image.stat().st_size // 2, 5)):
            if size:
                with image.open("r+b") as file:
                    file.truncate(size)
            command = [*COMMAND, "validate", str(image)]
            done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
            assert done.returncode == status, done.stdout
    assert leftovers() == set()
