"""The fingerprint of a plan: the same for the same image, another for every input that changes it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from samples import HOST, plan

from diskimage_create import elements
from diskimage_create.inputs import fingerprint

BASE: dict[str, Any] = {"os": "debian", "output": "/tmp/amphora"}

CHANGES: dict[str, dict[str, Any]] = {
    "os": {"os": "ubuntu"},
    "release": {"release": "bookworm"},
    "architecture": {"arch": "arm64"},
    "size": {"size": "6"},
    "type": {"type": "raw"},
    "kernel": {"kernel": "linux-image-amd64"},
    "ssh": {"no_sshd": True},
    "fips": {"fips": True},
    "pinning": {"cpu_pinning": True},
    "mandatory access control": {"enforce_mac": True},
    "agent from packages": {"package_agent": True},
    "agent from git": {"git_branch": "master"},
    "root password": {"root_password": "x"},
    "one more element": {"element": ("local-config",)},
    "one more package": {"package": ("strace",)},
    "a variable": {"env": ("DIB_GRUB_TIMEOUT=3",)},
    "compression": {"uncompressed": True},
    "older compression": {"compat_compression": True},
}
PLACES: dict[str, dict[str, Any]] = {
    "cache": {"cache_dir": "/var/cache/elsewhere"},
    "log": {"logfile": "/tmp/build.log"},
    "work directory": {"work_dir": "/var/tmp/work"},
    "tmpfs": {"no_tmpfs": True},
    "trace": {"trace": 1},
    "output directory": {"output": "/var/tmp/amphora"},
    "docker target": {"docker_target": "a:b"},
    "the default, said aloud": {"size": "5", "release": "trixie", "backend": "haproxy", "arch": "amd64"},
}


def of(options: dict[str, Any], environ: dict[str, str] | None = None, **more: Any) -> str:
    return plan({**BASE, **options}, environ, **more).fingerprint


def test_stable() -> None:
    assert of({}) == of({}) == fingerprint(plan(BASE).inputs)
    assert of({}).startswith("sha256:")


@pytest.mark.parametrize("change", CHANGES)
def test_every_option_that_says_what_is_built_changes_it(change: str) -> None:
    assert of(CHANGES[change]) != of({})


def test_no_two_changes_make_the_same() -> None:
    found = [of(change) for change in CHANGES.values()]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("place", PLACES)
def test_where_things_are_put_does_not_change_it(place: str) -> None:
    assert of(PLACES[place]) == of({})


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "no_proxy", "ftp_proxy"])
def test_the_way_to_the_network_does_not_change_it(name: str) -> None:
    assert of({}, host=replace(HOST, proxies={name: "http://proxy.example:3128"})) == of({})


def test_neither_the_current_directory_nor_memory_change_it(tmp_path: Path) -> None:
    assert of({}, cwd=tmp_path) == of({})
    assert of({}, host=replace(HOST, memory_bytes=1)) == of({})


@pytest.mark.parametrize("variable", ["DIB_GRUB_TIMEOUT", "DIB_ANYTHING", "CLOUD_INIT_DATASOURCES", "DIB_RELEASE"])
def test_a_variable_of_the_environment_changes_it(variable: str) -> None:
    assert of({}, {variable: "mine"}) != of({})


def test_a_variable_that_means_nothing_to_the_build_does_not_change_it() -> None:
    assert of({}, {"HOME": "/elsewhere", "EDITOR": "vi", "DIB_PASSWORD": "unused"}) == of({})


@pytest.mark.parametrize(
    "change",
    [
        lambda d: (d / "devuser/README.rst").write_text("changed"),
        lambda d: (d / "devuser/install.d/50-devuser").chmod(0o644),
        lambda d: (d / "devuser/extra-file").touch(),
    ],
    ids=["content", "mode", "one more file"],
)
def test_a_change_of_an_element_changes_it(change: Callable[[Path], Any], tmp_path: Path) -> None:
    shutil.copytree(elements.builtin() / "devuser", tmp_path / "devuser", symlinks=True)
    said, environ = {"element": ("devuser",)}, {"ELEMENTS_PATH": str(tmp_path)}
    # Where the element lies is no input, what is in it is.
    before = of(said, environ)
    assert before == of(said)
    change(tmp_path)
    assert of(said, environ) != before


def test_an_element_that_is_not_in_the_image_does_not_change_it(tmp_path: Path) -> None:
    (tmp_path / "unrelated").mkdir()
    assert of({}, {"ELEMENTS_PATH": str(tmp_path)}) == of({})


def test_the_tools_change_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("debootstrap", "mmdebstrap"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr("diskimage_create.process.tool_path", lambda: os.fspath(tmp_path))
    with_mmdebstrap = of({})
    (tmp_path / "mmdebstrap").unlink()
    assert of({}) != with_mmdebstrap
