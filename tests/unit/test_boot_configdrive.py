"""The config drive, read back as cloud-init would read it."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest
import yaml

from diskimage_create import process
from diskimage_create.boot import configdrive
from diskimage_create.boot.configdrive import File

FILES = [File("/etc/a.conf", "key = ünicode\n\ttab: [#]\n"), File("/usr/bin/b", "#!/bin/sh\n", "0755")]
COMMANDS = [["sh", "-c", "echo 'it''s' \"$HOME\"\n\nexit"]]


def test_user_data_says_what_it_was_given() -> None:
    text = configdrive.user_data(FILES, COMMANDS)
    assert text.startswith("#cloud-config\n")
    said = yaml.safe_load(text)
    assert said["bootcmd"] == COMMANDS
    assert said["write_files"] == [
        {"path": "/etc/a.conf", "content": FILES[0].content, "permissions": "0600"},
        {"path": "/usr/bin/b", "content": "#!/bin/sh\n", "permissions": "0755"},
    ]


def test_a_files_content_is_in_no_message() -> None:
    assert "ünicode" not in repr(FILES[0])


@pytest.mark.subprocess("xorriso makes the drive, and reads it")
@pytest.mark.skipif(shutil.which("xorriso") is None, reason="xorriso is not installed: package xorriso")
def test_the_drive_read_back(tmp_path: Path) -> None:
    iso = tmp_path / "config.iso"
    network = configdrive.network_data("52:54:00:00:02:0f")
    configdrive.write(iso, {"uuid": "u", "hostname": "h"}, network, configdrive.user_data(FILES, COMMANDS))
    assert stat.S_IMODE(iso.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "config.d").stat().st_mode) == 0o700
    start = iso.read_bytes()[32768 : 32768 + 72]
    assert (start[1:6], start[40:72].decode().strip()) == (b"CD001", "config-2")  # ECMA-119, 8.4
    process.run(["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", tmp_path / "back"])
    latest = tmp_path / "back/openstack/latest"
    assert json.loads((latest / "meta_data.json").read_text()) == {"uuid": "u", "hostname": "h"}
    assert json.loads((latest / "network_data.json").read_text()) == network
    assert (latest / "user_data").read_text() == configdrive.user_data(FILES, COMMANDS)
