"""Rebuilds of the Debian 12 amphora, as ratios to a cold build by stock disk-image-create.

    python bench/rebuild.py [--rounds N] [--stock PROGRAM] [--work DIRECTORY]

Each round runs every case once, one after the other, so that a machine that changes its speed
changes it for all. Package caches are warmed by a first pair of builds that is not counted.
PROGRAM builds the stock image: ``PROGRAM WORKDIR OUTPUT`` leaves ``OUTPUT.qcow2``.

Goals: no change 0.01; a changed finalise.d or post-install.d script 0.15; a changed install.d script
0.40; failed in finalise.d and repeated 0.15; saving stages costs a cold build at most 0.05 of its time;
the three stages take at most 700 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from cold_build import IMAGE, OURS, STOCK, stock
from common import table, timed

#: Case -> the ratio to stock that is asked for
GOALS: Mapping[str, float | None] = {
    "stock, cold": None,
    "cold, nothing stored": None,
    "cold, stages stored": None,
    "no change": 0.01,
    "post-install.d changed": 0.15,
    "finalise.d changed": 0.15,
    "install.d changed": 0.40,
    "failed in finalise.d, repeated": 0.15,
}
PHASES = ("install.d", "post-install.d", "finalise.d")


class Bench:
    """A working directory with an element of which one script at a time is changed."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.element = work / "elements/bench"
        self.count = 0
        for phase in PHASES:
            (self.element / phase).mkdir(parents=True, exist_ok=True)
            self.change(phase)

    def change(self, phase: str, command: str = "true") -> None:
        """Another script in a phase."""
        self.count += 1
        hook = self.element / phase / "50-bench"
        hook.write_text(f"#!/bin/bash\n# {os.getpid()} {self.count}\n{command}\n")
        hook.chmod(0o755)

    def command(self, *options: str) -> list[str]:
        """Our build of the image."""
        places = ["-c", str(self.work / "cache"), "-o", str(self.work / "ours")]
        return [*OURS, *IMAGE, "--element", "bench", *places, *options]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of every build."""
        return {**os.environ, "ELEMENTS_PATH": str(self.work / "elements")}

    def ours(self, starts: str, *options: str) -> float:
        """Seconds of our build, which says that it starts there.

        :raises RuntimeError: it failed, or started elsewhere
        """
        run = timed(self.command(*options), env=self.environment)
        if starts not in run.output:
            raise RuntimeError(f"the build did not say {starts!r}:\n{run.output[:2000]}")
        return run.seconds

    def empty_store(self) -> None:
        """Forget all that is stored; packages stay."""
        subprocess.run(
            [*OURS, "cache", "prune", "--keep-last", "0", "-c", str(self.work / "cache")], check=True, stdout=sys.stderr
        )

    def stages_mb(self) -> float:
        """Size of the newest stages."""
        listed = subprocess.run(
            [*OURS, "cache", "list", "--format", "json", "-c", str(self.work / "cache")],
            check=True,
            stdout=subprocess.PIPE,
        )
        newest = {entry["step"]: entry["bytes"] for entry in reversed(json.loads(listed.stdout)["entries"])}
        return sum(size for step, size in newest.items() if step != "image") / 1e6

    def round(self, program: Path) -> dict[str, float]:
        """Seconds of every case."""
        seconds = {"stock, cold": stock(self.work, program).seconds}
        seconds["cold, nothing stored"] = self.ours("starting from the beginning", "--no-store")
        self.empty_store()
        seconds["cold, stages stored"] = self.ours("starting from the beginning")
        seconds["no change"] = self.ours("is reused")
        for phase, after in (
            ("post-install.d", "install.d"),
            ("finalise.d", "install.d"),
            ("install.d", "pre-install.d"),
        ):
            self.change(phase)
            seconds[f"{phase} changed"] = self.ours(f"starting after {after}")
        self.change("finalise.d", "exit 1")
        failed = subprocess.run(self.command(), env=self.environment, capture_output=True, check=False)
        if failed.returncode != 4:
            raise RuntimeError(f"the build was to fail, and ended with {failed.returncode}")
        self.change("finalise.d")
        seconds["failed in finalise.d, repeated"] = self.ours("starting after install.d")
        return seconds


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--stock", type=Path, default=STOCK, help="program that builds the stock image")
    parser.add_argument("--work", type=Path, help="directory to keep between calls")
    arguments = parser.parse_args()
    if not arguments.stock.exists():
        sys.exit(f"there is no {arguments.stock}: name the program that builds the stock image with --stock")
    work = arguments.work or Path(tempfile.mkdtemp(prefix="bench-rebuild-"))
    work.mkdir(parents=True, exist_ok=True)
    print(f"working in {work}", file=sys.stderr)
    bench = Bench(work)
    if not (work / "cache").is_dir():
        stock(work, arguments.stock)
        bench.ours("starting from the beginning", "--no-store")
    rounds = []
    for _ in range(arguments.rounds):
        rounds.append(bench.round(arguments.stock))
        print(rounds[-1], file=sys.stderr)
    report(rounds, bench.stages_mb())


def report(rounds: list[dict[str, float]], stages_mb: float) -> None:
    """Medians of seconds, and of the ratios within each round."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for seconds in rounds:
        for case, value in seconds.items():
            ratios[case].append(value / seconds["stock, cold"])
    rows: list[tuple[object, ...]] = [("", "seconds", "to stock", "asked")]
    for case, goal in GOALS.items():
        median = statistics.median(each[case] for each in rounds)
        rows.append((case, median, f"{statistics.median(ratios[case]):.3f}", "" if goal is None else f"{goal:.2f}"))
    print(table(rows))
    saving = [each["cold, stages stored"] / each["cold, nothing stored"] - 1 for each in rounds]
    print(f"\nsaving stages costs {statistics.median(saving):+.3f} of a cold build (asked: 0.05)")
    print(f"the three stages take {stages_mb:.0f} MB (asked: 700)")


if __name__ == "__main__":
    main()
