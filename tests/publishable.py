"""Small images that Glance takes for images of their type, with all that their record tells it."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

from diskimage_create import record
from diskimage_create.digests import sha256
from diskimage_create.publish import source
from publishing import record_beside


def image(directory: Path, seed: int = 0, kilobytes: int = 256, name: str = "amphora.qcow2", **said: Any) -> Path:
    """A disk with random content, its record and its checksum; another one, built later, for another seed.

    :param said: of the image in its record
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    raw = directory / f".{name}.raw"
    raw.write_bytes(random.Random(seed).randbytes(kilobytes * 1000 // 512 * 512))
    subprocess.run(["qemu-img", "convert", "-q", "-O", path.suffix[1:], raw, path], check=True)
    raw.unlink()
    expectation = {"distribution": "debian", "release": "trixie", "size_gib": 5, "elements": ["block-device-mbr"]}
    record_beside(
        path,
        path.suffix[1:],
        started=f"2026-01-02T03:04:{seed % 60:02}+00:00",
        expectation={**expectation, **{name: value for name, value in said.items() if name in expectation}},
    )
    beside = record.path_for(path)
    made = record.read(beside)
    record.write(beside, {**made, "image": {**made["image"], **said}})
    path.with_name(f"{name}.sha256").write_text(f"{sha256(path)}  {name}\n")
    return path


def read(directory: Path, seed: int = 0, **more: Any) -> source.Source:
    """The same, as ``publish`` reads it."""
    return source.read(image(directory, seed, **more))
