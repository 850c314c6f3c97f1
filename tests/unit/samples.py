"""Requests and hosts to plan with: nothing here is read from the machine that runs the tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diskimage_create import config
from diskimage_create.host import HostFacts
from diskimage_create.model import BuildPlan, ImageSpec, Source
from diskimage_create.prepare import prepare
from diskimage_create.request import Request

# A host unlike the images: no mirror, no certificate, no proxy is lent unless a test says so.
HOST = HostFacts(
    arch="amd64", distribution="gentoo", codename="", device_mapper=True, vfat=True, memory_bytes=16 * 2**30
)

# What a user may say for each option: long name -> valid values.
VALID: Mapping[str, tuple[Any, ...]] = {
    "arch": ("i386", "amd64", "armhf", "arm64", "aarch64", "ppc64le"),
    "backend": ("haproxy",),
    "release": ("noble", "trixie", "bookworm", "10-stream", "8"),
    "enforce_mac": (True, False),
    "no_tmpfs": (True, False),
    "git_branch": ("master", "stable/2025.1"),
    "os": (
        *("ubuntu", "ubuntu-minimal", "debian", "debian-minimal", "fedora", "centos", "centos-minimal", "rocky"),
        "rhel",
    ),
    "cpu_pinning": (True, False),
    "no_sshd": (True, False),
    "output": ("amphora", "amphora.qcow2", "./a-b_c.1"),
    "package_agent": (True, False),
    "root_password": ("s3cret", "with blank", "ünicode$`"),
    "size": ("3", "5", 7, "100"),
    "type": ("qcow2", "tar", "raw", "vhd", "tgz", "squashfs", "docker", "qcow2,tar", "raw, vhd"),
    "trace": (0, 1, 2),
    "fips": (True, False),
    "uncompressed": (True, False),
    "compat_compression": (True, False),
    "docker_target": ("amphora:latest",),
    "profile": ("amphora",),
    "element": ((), ("local-config",), ("devuser", "sos")),
    "package": ((), ("strace",), ("a,b",)),
    "env": ((), ("DIB_GRUB_TIMEOUT=5",), ("FOO=a=b", "EMPTY=")),
    "logfile": ("build.log",),
    "cache_dir": ("~/cache", "cache"),
    "work_dir": ("work", "/var/tmp"),
}


def request(
    options: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    host: HostFacts = HOST,
    cwd: Path = Path("/tmp"),
    sources: Mapping[str, Source] | None = None,
) -> Request:
    options = dict(options or {})
    return Request(options, sources or dict.fromkeys(options, Source.FLAG), dict(environ or {}), host, cwd)


def read(options: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, **more: Any) -> ImageSpec:
    return config.read(request(options, environ, **more))


def plan(options: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, **more: Any) -> BuildPlan:
    return prepare(request(options, environ, **more))


def values(settings: Mapping[str, Any]) -> dict[str, str]:
    return {name: setting.value for name, setting in settings.items()}
