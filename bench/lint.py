"""``elements lint --all``: every element of every package of the extra ``elements``.

    python bench/lint.py [--runs N]

Goal: at most 5 s, shellcheck included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys

from common import table, timed

COMMAND = [sys.executable, "-m", "diskimage_create", "elements", "lint", "--all"]
#: Findings in other people's elements make it fail: the status is not what is measured
SHELL = ["sh", "-c", '"$@" > /dev/null 2>&1; test $? -le 1', "sh"]
CASES = {"with shellcheck": ["--shellcheck"], "without": ["--no-shellcheck"], "list": []}


def main() -> None:
    """Measure the cases in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DIB_", "ELEMENTS_"))}
    listed = timed([*COMMAND[:-2], "list", "--format", "json"], environ).output
    elements = [element for element in json.loads(_first_object(listed))["elements"] if not element["shadowed_by"]]
    measured: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(runs):
        for name, options in CASES.items():
            command = [*COMMAND, *options] if options else [*COMMAND[:-2], "list"]
            measured[name].append(timed([*SHELL, *command], environ).seconds)
    print(f"{len(elements)} elements, {os.cpu_count()} processors")
    rows = [[name, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"] for name, seconds in measured.items()]
    print(table([["case", "median s", "most s"], *rows]))


def _first_object(output: str) -> str:
    """The JSON of the output, to which standard error adds lines."""
    return output[: output.rindex("}") + 1]


if __name__ == "__main__":
    main()
