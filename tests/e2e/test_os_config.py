"""os-collect-config, os-apply-config and os-refresh-config of tripleo-image-elements, on Debian."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from building import COMMAND, REPRODUCIBLE, Built, clean_environment, leftovers, run_build
from machine import booted, make_key

PROGRAMS = ("os-apply-config", "os-collect-config", "os-refresh-config")
LINE = ("--profile", "heat-instance", "-i", "debian", "-d", "bookworm", "-a", "amd64", "-u", "-o", "os-config")


@pytest.fixture(scope="module")
def elements() -> Path:
    """Where pip installs the elements."""
    directory = Path(sys.prefix, "share/tripleo-image-elements")
    if not directory.is_dir():
        pytest.skip("tripleo-image-elements is not installed: pip install tripleo-image-elements")
    return directory


@pytest.fixture(scope="module")
def built(builds: Path, elements: Path) -> Built:
    directory = builds / "os-config"
    directory.mkdir()
    env = {**REPRODUCIBLE, "ELEMENTS_PATH": str(elements)}
    image = run_build(directory, *LINE, "--element", "os-collect-config,os-config-packages", env=env)
    assert image.returncode == 0, image.stderr[-4000:]
    return replace(image, name="os-config")


def test_the_elements_build_from_debians_packages(built: Built) -> None:
    record = built.record()
    assert record["validation"]["ok"] is True
    installed = {package["package"] for package in record["packages"]}
    assert {f"python3-{program}" for program in PROGRAMS} <= installed
    assert installed & {"build-essential", "gcc", "git", "libxml2-dev", "python3-dev"} == set()
    assert leftovers() == set()


def test_by_themselves_they_are_refused_before_anything_is_done(elements: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "plan", *LINE, "--element", "os-collect-config"]
    env = clean_environment({"ELEMENTS_PATH": str(elements)})
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    for program in PROGRAMS:
        assert f"no package python-{program}" in done.stderr
        assert f"(element {program})" in done.stderr
    assert "os-config-packages" in done.stderr


@pytest.mark.full
def test_metadata_is_collected_and_applied(built: Built, tmp_path: Path) -> None:
    key = make_key(tmp_path, "cloud")
    metadata = {"uuid": "os-config", "hostname": "os-config", "public_keys": {"k": key.public.read_text()}}
    with booted(built.path(), "amd64", metadata, tmp_path, "stack") as machine:
        machine.wait_for_ssh(key)
        state = machine.ssh("systemctl is-system-running --wait; systemctl is-active os-collect-config", key)
        assert state.stdout.split() == ["running", "active"]
        # What Heat tells a machine at its first boot. The service looks for it, and runs os-refresh-config, which runs
        # os-apply-config, which writes this file of os-collect-config's own.
        told = '{"os-collect-config": {"polling_interval": 77}}'
        hint = "/var/lib/heat-cfntools/cfn-init-data"
        machine.ssh(f"sudo install -d /var/lib/heat-cfntools; echo '{told}' | sudo tee {hint}", key)
        applied = 'until sudo grep -qx "polling_interval = 77" /etc/os-collect-config.conf; do sleep 2; done'
        machine.ssh(f"timeout 110 sh -c '{applied}'", key)
