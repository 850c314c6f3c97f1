"""Small images with a record, to publish."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

from diskimage_create.digests import sha256
from diskimage_create.publish import source


def image(directory: Path, seed: int = 0, kilobytes: int = 256, name: str = "amphora.qcow2", **said: Any) -> Path:
    """A file that Glance takes for an image of that type, its record and its checksum; another one for another seed.

    :param said: of the image in its record
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    kind = path.suffix[1:]
    raw = directory / f".{name}.raw"
    raw.write_bytes(random.Random(seed).randbytes(kilobytes * 1000 // 512 * 512))
    if kind == "qcow2":
        subprocess.run(["qemu-img", "convert", "-q", "-O", kind, raw, path], check=True)
        raw.unlink()
    else:
        raw.replace(path)
    described = {
        **{"profile": "amphora", "arch": "amd64", "os": "debian-minimal", "release": "trixie"},
        **{"backend": "haproxy-octavia", "size_gib": 5, "types": [kind], "output": str(path), **said},
    }
    record = {
        "schema": 1,
        "image": described,
        "artifacts": [{"type": kind, "path": name, "sha256": sha256(path), "bytes": path.stat().st_size}],
        "started": f"2026-01-02T03:04:{seed % 60:02}+00:00",
        "fingerprint": f"sha256:{seed:064x}",
        "elements": ["base", "vm", "debian-minimal", "block-device-mbr"],
        "environment": {},
        "expectation": {
            **{"arch": described["arch"], "distribution": "debian", "release": described["release"]},
            **{"size_gib": described["size_gib"], "elements": ["base", "vm", "block-device-mbr"]},
        },
    }
    path.with_name(f"{name}.json").write_text(json.dumps(record))
    path.with_name(f"{name}.sha256").write_text(f"{sha256(path)}  {name}\n")
    return path


def read(directory: Path, seed: int = 0, **more: Any) -> source.Source:
    """The same, as ``publish`` reads it."""
    return source.read(image(directory, seed, **more))
