"""``images pin`` of charts of OpenStack-Helm's size: how many requests, and how many at once.

    python bench/images_pin.py [--milliseconds N]

Goal: one request for each of the 112 images, at least 16 of them in flight at a time. The registry is one on loopback
that counts, and takes as long for each answer as one far away.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from common import in_flight, table, timed

sys.path.append(str(Path(__file__).parents[1] / "tests" / "unit"))
from chart_tree import write
from counting_registry import counting_registry


def main() -> None:
    """Pin the charts, and print what the registry has counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milliseconds", type=int, default=150, help="that each answer takes")
    wait = parser.parse_args().milliseconds / 1000
    with tempfile.TemporaryDirectory() as directory, counting_registry() as registry:
        charts = write(Path(directory) / "charts")
        for path in charts.rglob("*.yaml"):
            path.write_text(path.read_text().replace("quay.io", registry.host))
        registry.seconds = wait
        pin = [sys.executable, "-m", "diskimage_create", "images", "pin", charts, "-o", f"{directory}/pinned.yaml"]
        run = timed([*pin, "--insecure-registry", registry.host], cwd=Path(directory))
    asked = Counter(registry.asked)
    one_by_one = len(asked) * wait
    rows = [
        ["images", len(asked)],
        ["requests", len(registry.asked)],
        ["most for one image", max(asked.values())],
        *in_flight(registry.most, run.seconds, one_by_one),
    ]
    print(table(rows))


if __name__ == "__main__":
    main()
