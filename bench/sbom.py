"""How long it takes to gather what is in an image, and to write its SBOMs.

    python bench/sbom.py IMAGE [--runs N]

Goal: at most 0.5 s at the end of a build, where the image is open and has just been read; less than 2 MB of SBOMs.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

from common import table

from diskimage_create.provenance import Contents, gather
from diskimage_create.provenance.cyclonedx import cyclonedx
from diskimage_create.provenance.document import Subject, as_text
from diskimage_create.provenance.spdx import spdx
from diskimage_create.validate.image import open_image
from diskimage_create.validate.view import ImageView
from diskimage_create.workspace import workspace


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    gathering, computing, writing = [], [], []
    with workspace() as work, open_image(options.image, workspace=work.tmp) as view:
        contents, first = timed_gather(view)
        for _ in range(options.runs):
            before = time.process_time()
            contents, seconds = timed_gather(view)
            gathering.append(seconds)
            computing.append(time.process_time() - before)
            started = time.monotonic()
            sizes = write(contents, options.image.name)
            writing.append(time.monotonic() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(contents.components)} components, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(f"SBOMs: {sizes[0]} and {sizes[1]} bytes; peak memory {peak:.0f} MiB")
    rows = [
        [name, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"]
        for name, seconds in {"gather": gathering, "of it processor": computing, "write": writing}.items()
    ]
    print(table([["step", "median s", "most s"], *rows]))
    print(f"gather, the first time: {first:.2f} s")


def timed_gather(view: ImageView) -> tuple[Contents, float]:
    """The contents, and how many seconds they took."""
    started = time.monotonic()
    return gather(view), time.monotonic() - started


def write(contents: Contents, name: str) -> tuple[int, int]:
    """The sizes of both SBOMs in bytes."""
    subject = Subject(name, "0" * 64, datetime.now(UTC))
    one, other = (as_text(form(subject, contents)).encode() for form in (spdx, cyclonedx))
    return len(one), len(other)


if __name__ == "__main__":
    main()
