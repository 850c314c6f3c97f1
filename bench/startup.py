"""Start-up of the command line, as a ratio to importing click alone.

    python bench/startup.py [--runs N]

Goal: ``--help`` at most 2.5 times ``python -c 'import click'``.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from common import timed


def main() -> None:
    """Measure the two in turn, and print the medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21)
    runs = parser.parse_args().runs
    click = [sys.executable, "-c", "import click"]
    ours = [sys.executable, "-m", "diskimage_create", "--help"]
    pairs = [(timed(click).seconds, timed(ours).seconds) for _ in range(runs)]
    base, help_ = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(mine / theirs for theirs, mine in pairs)
    print(f"import click  {base * 1000:.0f} ms    --help  {help_ * 1000:.0f} ms    ratio  {ratio:.2f}")


if __name__ == "__main__":
    main()
