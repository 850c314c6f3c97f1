"""Four images at once against the same four one after the other: amphora and base, of two Debian releases.

    python bench/parallel_builds.py [--rounds N] [--jobs N] [--work DIRECTORY]

All builds are cold: nothing is stored, packages are there from builds that are not counted. The two cases take turns in
being the first one.

Goal: at most 0.60 of the time of four sequential builds, on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cold_build import OURS
from common import table, timed

IMAGES = [(profile, release) for profile in ("amphora", "base") for release in ("bookworm", "trixie")]


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, help="at once; by default, what the command thinks right")
    parser.add_argument("--work", type=Path, help="directory for images and packages; a temporary one by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-parallel-") as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        config = work / "images.yaml"
        config.write_text("disk_images:\n" + "".join(entry(*image) for image in IMAGES))
        at_once = [f"--jobs={arguments.jobs}"] if arguments.jobs else []
        build(work, ["--config", str(config), *at_once])
        rounds = []
        for number in range(arguments.rounds):
            rounds.append(one_round(work, config, at_once, together_first=number % 2 == 1))
            print(rounds[-1], file=sys.stderr)
    report(rounds)


def entry(profile: str, release: str) -> str:
    """An image of the configuration file."""
    return f"  - {{imagename: {profile}-{release}, profile: {profile}, os: debian-minimal, release: {release}}}\n"


def build(work: Path, options: Sequence[str]) -> float:
    """Seconds of one command."""
    return timed([*OURS, *options, "--output-directory", str(work), "-c", str(work / "cache"), "--no-store"]).seconds


def one_round(work: Path, config: Path, at_once: Sequence[str], together_first: bool) -> dict[str, float]:
    """Seconds of each case."""

    def sequential() -> float:
        names = [f"{profile}-{release}" for profile, release in IMAGES]
        return sum(build(work, ["--config", str(config), "--image", name]) for name in names)

    cases = {"one after the other": sequential, "at once": lambda: build(work, ["--config", str(config), *at_once])}
    return {case: cases[case]() for case in (reversed(cases) if together_first else cases)}


def report(rounds: Sequence[dict[str, float]]) -> None:
    """Medians of seconds, and of the ratios within each round."""
    alone, together = "one after the other", "at once"
    ratio = statistics.median(each[together] / each[alone] for each in rounds)
    rows: list[tuple[object, ...]] = [("four images", "seconds", "ratio", "asked")]
    rows.append((alone, statistics.median(each[alone] for each in rounds), "1.00", ""))
    rows.append((together, statistics.median(each[together] for each in rounds), f"{ratio:.2f}", "0.60"))
    print(table(rows))


if __name__ == "__main__":
    main()
