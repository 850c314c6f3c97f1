"""Small images with the record of a build beside them, and a registry that can be stopped and started again."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from registry_servers import Server, free_port, running, wait_until_it_answers

BUILT = "2026-05-04T03:02:01+00:00"
#: A program that needs no other file
STATIC = Path("/sbin/ldconfig")


def record_beside(image: Path, image_type: str, arch: str = "amd64", **more: Any) -> Path:
    """Write the record of a build that made an image; returns the image."""
    content = image.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    made = {
        "schema": 1,
        "image": {
            "profile": "amphora",
            "arch": arch,
            "os": "debian-minimal",
            "release": "trixie",
            "backend": "haproxy",
            "size_gib": 2,
            "types": [image_type],
            "output": str(image),
        },
        "artifacts": [{"type": image_type, "path": image.name, "sha256": sha256, "bytes": len(content)}],
        "started": BUILT,
        "fingerprint": f"sha256:{hashlib.sha256(content + arch.encode()).hexdigest()}",
        "remote_inputs": {},
        "environment": {},
        "packages": [],
        **more,
    }
    image.with_name(f"{image.name}.json").write_text(json.dumps(made))
    return image


def file_image(path: Path, content: bytes, arch: str = "amd64") -> Path:
    """An image that nobody looks into: any bytes."""
    path.write_bytes(content)
    return record_beside(path, path.suffix[1:], arch)


def tree(directory: Path, mark: str = "") -> Path:
    """A root file system with a program that runs, and attributes that a copy may lose."""
    directory.mkdir()
    for name in ("bin", "etc", "proc", "sys"):
        (directory / name).mkdir()
    (directory / "etc/os-release").write_text(f'NAME="of a test"\nID={mark or "test"}\n')
    (directory / "bin/sh").symlink_to("program")
    shutil.copyfile(STATIC, directory / "bin/program")
    (directory / "bin/program").chmod(0o4755)
    return directory


def tar_image(path: Path, mark: str = "", arch: str = "amd64") -> Path:
    """The archive of a tree; compressed as a .tgz."""
    root = tree(path.with_suffix(".tree"), mark)
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        archive.add(root, arcname=".")
    return record_beside(path, path.suffix[1:], arch)


def disk_image(path: Path, mark: str = "", arch: str = "amd64") -> Path:
    """A disk, or a squashfs, with the tree on it."""
    root = tree(path.with_suffix(".tree"), mark)
    kind = path.suffix[1:]
    if kind == "squashfs":
        subprocess.run(["mksquashfs", root, path, "-quiet", "-no-progress"], check=True, capture_output=True)
        return record_beside(path, kind, arch)
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        file.truncate(16 * 2**20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", "-d", root, raw], check=True)
    if kind != "raw":
        driver = {"vhd": "vpc"}.get(kind, kind)
        subprocess.run(["qemu-img", "convert", "-O", driver, raw, path], check=True)
    return record_beside(path, kind, arch)


@dataclass
class Restartable:
    """A registry that can be killed, and started again with what it has stored."""

    directory: Path
    settings: dict[str, Any]
    server: Server
    stack: ExitStack

    def start(self) -> None:
        """Start it, and wait for it."""
        self.stack.enter_context(running(self.directory, self.settings))
        wait_until_it_answers(self.server)

    def stop(self) -> None:
        """Stop it; connections break off."""
        self.stack.close()

    def blobs(self) -> set[str]:
        """The digests of what it has in full."""
        return {
            f"sha256:{path.parent.name}" for path in self.directory.glob("data/docker/registry/v2/blobs/*/*/*/data")
        }


@contextmanager
def restartable(directory: Path) -> Iterator[Restartable]:
    """A registry, which does not run yet."""
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    settings = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": False}, "level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
        "http": {"addr": host, "secret": "of a test"},
    }
    with requests.Session() as session, ExitStack() as stack:
        session.trust_env = False
        yield Restartable(directory, settings, Server(host, directory / "log", session), stack)
