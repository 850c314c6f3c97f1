"""How long an amphora takes to answer its controller, and to prove itself under traffic, in an emulated machine.

    python bench/boot.py [--runs N] [--accelerator tcg|kvm] [IMAGE]

IMAGE is an amphora; without one, a Debian amphora is built first. Goals, on a machine that does nothing else: the API
answers after at most 120 s, all is done after at most 180 s. What else a machine does counts: the load
is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import table, timed

COMMAND = [sys.executable, "-m", "diskimage_create"]
API, END = "amphora API answers", "end"
GOALS = {API: 120.0, END: 180.0}


def main() -> None:
    """Boot it some times, and print the medians of the timeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", nargs="?", type=Path, metavar="IMAGE")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--accelerator", choices=["kvm", "tcg"], default="tcg")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        image = options.image or built(Path(work))
        reports = [booted(image, options.accelerator) for _ in range(options.runs)]
    seen: dict[str, list[float]] = {}
    for report in reports:
        for each in report["timeline"]:
            seen.setdefault(each["event"], []).append(each["seconds"])
        seen.setdefault(END, []).append(report["seconds"])
    load = Path("/proc/loadavg").read_text().split()[0]
    print(f"{options.accelerator}, {options.runs} runs, {os.cpu_count()} processors, load {load}")
    rows = [
        [event, f"{statistics.median(times):.1f}", f"{max(times):.1f}", GOALS.get(event, "")]
        for event, times in sorted(seen.items(), key=lambda item: (item[0] == END, statistics.median(item[1])))
    ]
    print(table([["event", "median s", "most s", "goal s"], *rows]))


def built(work: Path) -> Path:
    """A Debian amphora."""
    timed([*COMMAND, "-i", "debian", "-o", str(work / "amphora")])
    return work / "amphora.qcow2"


def booted(image: Path, accelerator: str) -> dict[str, Any]:
    """What a boot test of an amphora reports."""
    with tempfile.TemporaryDirectory() as work:
        report = Path(work, "report")
        line = [*COMMAND, "boot", str(image), "--profile", "amphora", "--accelerator", accelerator, "--format", "json"]
        timed(["sh", "-c", 'report=$1; shift; "$@" > "$report"', "sh", str(report), *line])
        found: dict[str, Any] = json.loads(report.read_text())
        return found


if __name__ == "__main__":
    main()
