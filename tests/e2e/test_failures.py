"""Builds that are stopped, fail or make a bad image: they say so, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from building import run_build, stop_build

from diskimage_create.validate.image import open_image

# The smallest image that goes through all phases
SMALL = {"DIB_ELEMENTS": "vm debian-minimal"}
BOOKWORM = ("-i", "debian", "-d", "bookworm")
PRECIOUS = b"the image of yesterday"


@pytest.fixture
def directory(builds: Path, request: pytest.FixtureRequest, nothing_left: None) -> Path:
    """An output directory that holds an image already."""
    path = builds / request.node.name.replace("[", "-").replace("]", "")
    path.mkdir()
    (path / "amphora-x64-haproxy.qcow2").write_bytes(PRECIOUS)
    return path


def untouched(directory: Path) -> bool:
    return (directory / "amphora-x64-haproxy.qcow2").read_bytes() == PRECIOUS


def element(directory: Path, name: str, hook: str, script: str) -> dict[str, str]:
    """A local element with one hook; returns the environment that adds it."""
    path = directory / "elements" / name / hook
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/bash\nset -eu\n{script}\n")
    path.chmod(0o755)
    local = {"DIB_LOCAL_ELEMENTS": name, "DIB_LOCAL_ELEMENTS_PATH": str(directory / "elements")}
    return {**SMALL, **local}


@pytest.mark.parametrize(
    ("step", "signum"),
    [
        ("root 08-debootstrap", signal.SIGINT),
        ("install 01-package-installs", signal.SIGINT),
        ("finalise 50-bootloader", signal.SIGINT),
        ("finalise 50-bootloader", signal.SIGTERM),
    ],
)
def test_an_interrupted_build_leaves_nothing(directory: Path, step: str, signum: signal.Signals) -> None:
    built = stop_build(directory, step, *BOOKWORM, env=SMALL, signum=signum)
    assert built.returncode == 130, built.stderr
    assert f"interrupted by {signum.name}" in built.stderr.splitlines()[-1]
    assert untouched(directory)
    assert sorted(path.name for path in directory.iterdir()) == ["amphora-x64-haproxy.log", "amphora-x64-haproxy.qcow2"]


def test_a_failing_element_is_named_with_what_it_said(directory: Path) -> None:
    env = element(directory, "broken", "pre-install.d/02-broken", "echo 'no such flux capacitor'; exit 7")
    built = run_build(directory, *BOOKWORM, env=env)
    assert built.returncode == 4
    assert "error: disk-image-create failed with exit status" in built.stderr
    assert "in pre-install.d/02-broken" in built.stderr
    assert "| no such flux capacitor" in built.stderr
    assert "no such flux capacitor" in built.log
    assert untouched(directory)


def test_a_rejected_image_never_gets_its_name(directory: Path) -> None:
    # dib-run-parts sorts by number: this runs after all that cleans up
    env = element(
        directory, "careless", "cleanup.d/99-zz", 'sudo sh -c "echo x > $TARGET_ROOT/etc/ssh/ssh_host_rsa_key"'
    )
    env["DIB_ELEMENTS"] += " openssh-server"
    built = run_build(directory, *BOOKWORM, "--keep-failed", env=env)
    assert built.returncode == 5, built.stderr[-2000:]
    assert "ssh-host-keys" in built.stderr
    kept = directory / "amphora-x64-haproxy.qcow2.failed"
    assert kept.is_file()
    assert str(kept) in built.stderr
    assert untouched(directory)
    assert not built.path("qcow2.json").exists()


class ArgumentWatch(threading.Thread):
    """Looks at the arguments of every process on the machine, again and again."""

    def __init__(self, canary: str) -> None:
        super().__init__(daemon=True)
        self.canary = canary.encode()
        self.seen: set[bytes] = set()
        self.looks = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            self.looks += 1
            for process in os.scandir("/proc"):
                if process.name.isdigit():
                    try:
                        arguments = Path(process.path, "cmdline").read_bytes()
                    except OSError:
                        continue
                    if self.canary in arguments:
                        self.seen.add(arguments)


@pytest.fixture
def watched() -> Iterator[ArgumentWatch]:
    watch = ArgumentWatch("canary-9d3f61c07b")
    watch.start()
    yield watch
    watch.over.set()
    watch.join()


def test_the_root_password_is_nowhere_but_in_the_shadow_file(
    directory: Path, watched: ArgumentWatch, tmp_path: Path
) -> None:
    canary = watched.canary.decode()
    env = {
        "DIB_ELEMENTS": "vm debian-minimal root-passwd openssh-server",
        "DIB_PASSWORD": canary,
        "DIB_TEST_TOKEN": canary,
    }
    built = run_build(directory, *BOOKWORM, "-t", "raw", "-xx", "--root-password", "-", env=env)
    assert built.returncode == 0, built.stderr[-4000:]
    assert watched.looks > 100
    assert watched.seen == set()
    assert canary not in built.stdout + built.stderr + built.log
    places = [directory, directory.parent / "cache"]
    found = subprocess.run(["grep", "-rlF", canary, *places], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    with open_image(built.path("raw"), workspace=tmp_path) as view:
        root = view.root
        shadow = dict(line.split(":")[:2] for line in (root.read_text("/etc/shadow") or "").splitlines())
        _, method, salt, _ = shadow["root"].split("$")
        command = ["openssl", "passwd", f"-{method}", "-salt", salt, "-stdin"]
        hashed = subprocess.run(command, input=canary, capture_output=True, text=True, check=True)
        assert shadow["root"] == hashed.stdout.strip()
        inside = subprocess.run(["grep", "-rlF", canary, root.path], capture_output=True, text=True, check=False)
        assert inside.stdout == ""
        assert root.exists("/etc/dib-manifests/dib_environment")
