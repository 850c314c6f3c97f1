"""``images lint`` of a tree of charts of OpenStack-Helm's size: 80 charts, 650 references, 112 distinct ones.

    python bench/images_lint.py [--runs N]

Goal: at most 3 s, the start of the interpreter included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from common import table, timed

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/unit"))
import chart_tree

LINT = [sys.executable, "-m", "diskimage_create", "images", "lint"]


def main() -> None:
    """Measure the cases in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as directory:
        top = chart_tree.write(Path(directory))
        files = [path for path in top.rglob("*") if path.is_file()]
        lines = sum(path.read_text().count("\n") for path in files if path.suffix == ".yaml")
        cases = {
            "start alone": ["--list-rules"],
            "all charts": [directory],
            "all charts, SARIF": [directory, "--format", "sarif"],
            "one chart": [f"{directory}/service00"],
        }
        measured: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(runs):
            for name, arguments in cases.items():
                measured[name].append(timed([*LINT, *arguments], dict(os.environ)).seconds)
    load = Path("/proc/loadavg").read_text().split()[0]
    print(f"{chart_tree.CHARTS} charts, {len(files)} files, {lines} lines of YAML and templates;", end=" ")
    print(f"{os.cpu_count()} processors, load {load}")
    rows = [[name, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"] for name, seconds in measured.items()]
    print(table([["case", "median s", "most s"], *rows]))


if __name__ == "__main__":
    main()
