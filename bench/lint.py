"""``elements lint --all``: every element of every package of the extra ``elements``.

    python bench/lint.py [--runs N]

Goal: at most 5 s, with shellcheck asked about every script. It is asked about a script once, so that later calls
take less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from common import table, timed

ELEMENTS = [sys.executable, "-m", "diskimage_create", "elements"]
#: Findings in other people's elements make it fail: the status is not what is measured
IGNORE_FINDINGS = ["sh", "-c", '"$@" 2> /dev/null || test $? -eq 1', "sh"]
CASES = {
    "lint, shellcheck asked": ["lint", "--all", "--shellcheck"],
    "lint, asked before": ["lint", "--all", "--shellcheck"],
    "lint, without shellcheck": ["lint", "--all", "--no-shellcheck"],
    "list": ["list"],
}


def main() -> None:
    """Measure the cases in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DIB_", "ELEMENTS_"))}
    measured: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            for name, arguments in CASES.items():
                run = timed([*IGNORE_FINDINGS, *ELEMENTS, *arguments], {**environ, "XDG_CACHE_HOME": cache})
                measured[name].append(run.seconds)
    listed = json.loads(timed([*IGNORE_FINDINGS, *ELEMENTS, "list", "--format", "json"], environ).output)
    used = [element for element in listed["elements"] if not element["shadowed_by"]]
    load = Path("/proc/loadavg").read_text().split()[0]
    print(f"{len(used)} elements, {os.cpu_count()} processors, load {load}")
    rows = [[name, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"] for name, seconds in measured.items()]
    print(table([["case", "median s", "most s"], *rows]))


if __name__ == "__main__":
    main()
