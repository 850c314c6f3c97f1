"""Hooks of local-config and stackuser that run on the host."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hooks import plain_sudo

from diskimage_create.elements import OURS

pytestmark = pytest.mark.subprocess("runs hooks of elements")

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHCikt3goX8n8AIylC me@here\n"


class Host:
    """A home directory and a hooks directory."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.hooks = directory / "hooks"
        self.taken = self.hooks / "local-config-authorized-keys"
        (self.home / ".ssh").mkdir(parents=True)
        self.hooks.mkdir()

    def take_keys(self, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "TMP_HOOKS_PATH": str(self.hooks)}
        return subprocess.run(
            [OURS / "local-config/extra-data.d/62-ssh-key"],
            env={**environment, **variables}, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_builders_keys_are_taken_along(host: Host) -> None:
    (host.home / ".ssh/authorized_keys").write_text(KEY)
    done = host.take_keys(DIB_LOCAL_CONFIG_USERNAME="stack")
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.taken.read_text() == KEY
    assert host.taken.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, "", "# nobody\n\n  # at all\n"])
def test_without_any_key_the_build_goes_on_and_says_so(host: Host, content: str | None) -> None:
    if content is not None:
        (host.home / ".ssh/authorized_keys").write_text(content)
    for user in ("stack", ""):
        done = host.take_keys(DIB_LOCAL_CONFIG_USERNAME=user)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "has no SSH key" in done.stdout
        assert not host.taken.exists()


def test_another_file_can_be_named(host: Host, tmp_path: Path) -> None:
    (host.home / ".ssh/authorized_keys").write_text("ssh-rsa OTHER\n")
    (tmp_path / "keys").write_text(KEY)
    named = {"DIB_LOCAL_CONFIG_USERNAME": "stack", "DIB_LOCAL_CONFIG_AUTHORIZED_KEYS": str(tmp_path / "keys")}
    assert host.take_keys(**named).returncode == 0
    assert host.taken.read_text() == KEY


def test_a_named_file_must_be_there(host: Host) -> None:
    done = host.take_keys(DIB_LOCAL_CONFIG_USERNAME="stack", DIB_LOCAL_CONFIG_AUTHORIZED_KEYS="/nonexistent/keys")
    assert done.returncode != 0
    assert "/nonexistent/keys" in done.stdout


def test_keys_are_for_nobody_by_default_and_above_all_not_for_root(host: Host) -> None:
    (host.home / ".ssh/authorized_keys").write_text(KEY)
    done = host.take_keys()
    assert done.returncode != 0
    assert "DIB_LOCAL_CONFIG_USERNAME" in done.stdout
    assert not host.taken.exists()


def test_no_hook_of_ours_writes_a_proxy() -> None:
    for path in (OURS / "local-config").rglob("*"):
        assert not path.is_file() or path.name == "README.rst" or "proxy" not in path.read_text()


def set_password(tmp_path: Path, content: str | None) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run the hook with a chroot that writes down what it is given; returns that too."""
    given = tmp_path / "given"
    sudo = plain_sudo(tmp_path)
    chroot = sudo / "chroot"
    chroot.write_text(f'#!/bin/sh\necho "$@" > {given}; cat >> {given}\n')
    chroot.chmod(0o755)
    variables = {"TMP_MOUNT_PATH": "/target"}
    if content is not None:
        (tmp_path / "hash").write_text(content)
        variables["DIB_STACKUSER_PASSWORD_FILE"] = str(tmp_path / "hash")
    done = subprocess.run(
        [OURS / "stackuser/post-root.d/90-stack-password"],
        env={"PATH": f"{sudo}:{os.environ['PATH']}", "DIB_DEBUG_TRACE": "1", **variables},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, given.read_text() if given.exists() else ""


def test_the_password_stays_locked_unless_asked_for(tmp_path: Path) -> None:
    done, given = set_password(tmp_path, None)
    assert (done.returncode, given) == (0, "")


def test_the_hash_is_set_and_no_trace_of_the_build_shows_it(tmp_path: Path) -> None:
    hashed = "$6$saltsalt$" + "x" * 86
    done, given = set_password(tmp_path, hashed + "\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert given == f"/target chpasswd --encrypted\nstack:{hashed}\n"
    assert hashed not in done.stdout + done.stderr


@pytest.mark.parametrize("content", ["", "secret\n", "$6$a$" + "x" * 86 + "\nroot:y\n", "stack:$6$a$" + "x" * 86])
def test_what_is_no_hash_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    done, given = set_password(tmp_path, content)
    assert done.returncode != 0
    assert given == ""
    assert "crypt(5)" in done.stdout
    assert "secret" not in done.stdout + done.stderr
