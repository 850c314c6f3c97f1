"""Uploading an image to a Glance on loopback: ours, and ``openstack image create`` of the same file.

    python bench/publish_glance.py [--rounds N] [--megabytes N] [--large-megabytes N]

Each round uploads the file with both, the first one by turns. Then a large file is uploaded once, for the memory.

Goals: ours at most 1.2 of the time of ``openstack image create``; at most 150 MB of memory for a file of 2 GB.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
from pathlib import Path

from common import Run, table, timed

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from glance_server import Glance, glance
from publishing import record_beside

SCRIPTS = Path(sys.executable).parent


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--large-megabytes", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-glance-") as work, glance(Path(work, "glance")) as server:
        environment = {**os.environ, **server.clouds(Path(work, "clouds"))}
        image = made(Path(work, "image.raw"), arguments.megabytes)
        rounds = []
        for number in range(arguments.rounds):
            rounds.append(one_round(server, image, environment, ours_first=number % 2 == 1))
            print(rounds[-1], file=sys.stderr)
        image.unlink()
        large = made(Path(work, "large.raw"), arguments.large_megabytes)
        memory = ours(large, environment).peak_mib
    report(rounds, memory)


def made(path: Path, megabytes: int) -> Path:
    """A file that cannot be compressed, with its record."""
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    return record_beside(path, "raw")


def ours(image: Path, environment: dict[str, str]) -> Run:
    """``diskimage-create publish``."""
    return timed([SCRIPTS / "diskimage-create", "publish", image, "glance:ours"], env=environment)


def theirs(image: Path, environment: dict[str, str]) -> Run:
    """``openstack image create``."""
    options = ["--disk-format", "raw", "--container-format", "bare", "--file", str(image), "--tag", "theirs"]
    return timed([SCRIPTS / "openstack", "image", "create", *options, "theirs"], env=environment)


def one_round(server: Glance, image: Path, environment: dict[str, str], ours_first: bool) -> dict[str, float]:
    """Seconds of each."""
    found = {}
    cases = {"ours": ours, "openstack image create": theirs}
    for case in cases if ours_first else reversed(cases):
        found[case] = cases[case](image, environment).seconds
        digest = hashlib.file_digest(image.open("rb"), "sha512").hexdigest()
        assert [each["os_hash_value"] for each in server.images()] == [digest], case
        server.clear()
    return found


def report(rounds: list[dict[str, float]], memory: float) -> None:
    """Medians of seconds, and of the ratios within each round."""
    theirs = "openstack image create"
    rows: list[tuple[object, ...]] = [("case", "seconds", "ratio", "asked")]
    for case, goal in ((theirs, ""), ("ours", "1.2")):
        seconds = statistics.median(each[case] for each in rounds)
        ratio = statistics.median(each[case] / each[theirs] for each in rounds)
        rows.append((case, f"{seconds:.2f}", f"{ratio:.3f}", goal))
    print(table(rows))
    print(f"\npeak memory with the large file: {memory * 1.048576:.0f} MB (asked: 150)")


if __name__ == "__main__":
    main()
