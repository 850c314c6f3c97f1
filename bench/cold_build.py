"""Cold build of the Debian 12 amphora, ours against stock disk-image-create with Octavia's elements.

    python bench/cold_build.py [--pairs N] [--stock PROGRAM]

The two alternate in one run, so that a machine that changes its speed changes it for both.
Package caches are warmed by a first run of each that is not counted. PROGRAM builds the
stock image: ``PROGRAM WORKDIR OUTPUT`` leaves ``OUTPUT.qcow2``.

Goals: time at most 0.62 of stock, size of the qcow2 at most 0.65, validate in at most 2.5 s,
plan in at most 0.5 s, our own process in at most 150 MiB.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from common import Run, table, timed

HERE = Path(__file__).resolve().parent
STOCK = HERE.parent.parent / "shared/baseline/stock-amphora"
OURS = [sys.executable, "-m", "diskimage_create"]
IMAGE = ["-i", "debian", "-d", "bookworm"]
PHASES = ("root", "extra-data", "pre-install", "install", "post-install", "finalise", "cleanup", "convert", "validate")


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1, help="counted runs of each")
    parser.add_argument("--stock", type=Path, default=STOCK, help="program that builds the stock image")
    parser.add_argument("--work", type=Path, help="directory to keep between calls")
    arguments = parser.parse_args()
    if not arguments.stock.exists():
        sys.exit(f"there is no {arguments.stock}: name the program that builds the stock image with --stock")
    work = arguments.work or Path(tempfile.mkdtemp(prefix="bench-cold-build-"))
    work.mkdir(parents=True, exist_ok=True)
    print(f"working in {work}", file=sys.stderr)
    for build in (stock, ours):
        build(work, arguments.stock)
    runs = [(stock(work, arguments.stock), ours(work, arguments.stock)) for _ in range(arguments.pairs)]
    report(work, runs)


def stock(work: Path, program: Path) -> Run:
    """The stock image, always from scratch."""
    for old in work.glob("stock.*"):
        if old.is_file():
            old.unlink()
    run = timed([program, work / "stock-work", work / "stock"])
    print(f"stock: {run.seconds:.1f} s", file=sys.stderr)
    return run


def ours(work: Path, _program: Path) -> Run:
    """Our image, always from scratch."""
    run = timed([*OURS, *IMAGE, "-c", str(work / "cache"), "-o", str(work / "ours"), "--no-store"])
    print(f"ours: {run.seconds:.1f} s, {run.peak_mib:.0f} MiB", file=sys.stderr)
    return run


def report(work: Path, runs: list[tuple[Run, Run]]) -> None:
    """Print ratios, the phase table of the last pair, and the times of what needs no build."""
    ratios = [mine.seconds / theirs.seconds for theirs, mine in runs]
    theirs, mine = runs[-1]
    sizes = [(work / f"{name}.qcow2").stat().st_size / 1e6 for name in ("stock", "ours")]
    rows: list[tuple[object, ...]] = [("seconds", "stock", "ours")]
    stock_phases, our_phases = phases_of_stock(theirs.output), phases_of_record(work / "ours.qcow2.json")
    rows += [(name, stock_phases.get(name, 0.0), our_phases.get(name, 0.0)) for name in PHASES]
    rows.append(("all", theirs.seconds, mine.seconds))
    print(table(rows))
    print(f"\ntime  ours/stock  median {statistics.median(ratios):.3f}  of {[round(ratio, 3) for ratio in ratios]}")
    print(f"size  ours/stock  {sizes[1] / sizes[0]:.3f}  ({sizes[1]:.1f} MB / {sizes[0]:.1f} MB)")
    validate = [timed([*OURS, "validate", work / "ours.qcow2"]).seconds for _ in range(5)]
    plan = [timed([*OURS, "plan", *IMAGE]).seconds for _ in range(5)]
    print(f"validate  median {statistics.median(validate):.2f} s    plan  median {statistics.median(plan):.2f} s")
    print(f"our own process  {mine.peak_mib:.0f} MiB")


def phases_of_stock(output: str) -> dict[str, float]:
    """Seconds by phase, from the profile that dib-run-parts prints after each; and of the conversion."""
    phases: dict[str, float] = defaultdict(float)
    phase = ""
    for line in output.splitlines():
        if match := re.search(r"dib-run-parts Target: ([a-z-]+)\.d", line):
            phase = match[1]
        elif match := re.search(r"dib-run-parts +\S+ +([0-9.]+)$", line):
            phases[phase] += float(match[1])
    if match := re.search(r"(\S+) \| Converting image using qemu-img.*?\n.*?(\S+) \| Image file", output, re.DOTALL):
        phases["convert"] = seconds(match[2]) - seconds(match[1])
    return phases


def seconds(clock: str) -> float:
    """Seconds since midnight of HH:MM:SS.sss."""
    hours, minutes, rest = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def phases_of_record(path: Path) -> dict[str, float]:
    """Seconds by phase, from a record."""
    phases: dict[str, float] = defaultdict(float)
    for timing in json.loads(path.read_text())["timings"]:
        phases[timing["phase"]] += timing["seconds"]
    return phases


if __name__ == "__main__":
    main()
