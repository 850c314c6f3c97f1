"""An image to a registry on loopback, with ours and with ``skopeo copy`` of the same blob.

    python bench/publish.py [--rounds N] [--size BYTES] [--large BYTES]

The image is random bytes, with a record beside it; skopeo copies the artifact that ours has made of it, from a
directory. Each round publishes with both, to a new registry each, the first one by turns; what skopeo remembers of
layers is forgotten in between. The large one is published once, for the memory.

Goals: ours at most 1.3 of skopeo's time; at most 150 MB of memory however large the image.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from common import Run, table, timed
from copy_images import forget, private_cache

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from publishing import record_beside
from registry_servers import registry

COMMAND = Path(sys.executable).with_name("diskimage-create")
_BLOCK = 2**20


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=300_000_000)
    parser.add_argument("--large", type=int, default=2_000_000_000)
    arguments = parser.parse_args()
    private_cache()
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-publish-") as work:
        image, layout = random_image(Path(work, "image.qcow2"), arguments.size), Path(work, "layout")
        to_layout(image, layout, Path(work))
        for number in range(arguments.rounds):
            both = [("ours", lambda host: ours(image, host)), ("skopeo", lambda host: skopeo(layout, host))]
            runs = {name: to_new_registry(Path(work), run) for name, run in (both if number % 2 else both[::-1])}
            rows.append((runs["ours"].seconds, runs["skopeo"].seconds, runs["ours"].peak_mib))
            print(rows[-1], file=sys.stderr)
        large = random_image(Path(work, "large.qcow2"), arguments.large)
        peak = to_new_registry(Path(work), lambda host: ours(large, host)).peak_mib
    report(rows, peak)


def random_image(path: Path, size: int) -> Path:
    """An image of random bytes, and its record."""
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK):
            file.write(os.urandom(min(_BLOCK, size - start)))
    return record_beside(path, "qcow2")


def ours(image: Path, host: str) -> Run:
    """Publish it with ours."""
    return timed([COMMAND, "publish", "--insecure-registry", host, image, f"oci://{host}/image:t"])


def skopeo(layout: Path, host: str) -> Run:
    """Copy what ours has made of it."""
    forget()
    copy = ["skopeo", "copy", "--insecure-policy", "--preserve-digests", "--dest-tls-verify=false"]
    return timed([*copy, f"oci:{layout}:t", f"docker://{host}/image:t"])


def to_layout(image: Path, layout: Path, work: Path) -> None:
    """The artifact as skopeo reads it from a disk."""
    with registry(work / "first") as server:
        ours(image, server.host)
        copy = ["skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests", "--src-tls-verify=false"]
        subprocess.run([*copy, f"docker://{server.host}/image:t", f"oci:{layout}:t"], check=True)
    shutil.rmtree(work / "first")


def to_new_registry(work: Path, run: Callable[[str], Run]) -> Run:
    """Run something with an empty registry, which is gone afterwards."""
    os.sync()  # what others have written is not waited for
    try:
        with registry(work / "registry") as server:
            return run(server.host)
    finally:
        shutil.rmtree(work / "registry")


def report(rows: list[tuple[float, float, float]], peak: float) -> None:
    """Medians, and the ratio of each round."""
    ratios = [mine / theirs for mine, theirs, _ in rows]
    middle = [statistics.median(row[column] for row in rows) for column in range(3)]
    print(table([("", "ours s", "skopeo s", "ours MiB"), ("median", *middle)]))
    print(
        f"ratio: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}; large: {peak:.0f} MiB"
    )


if __name__ == "__main__":
    main()
