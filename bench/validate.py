"""``validate`` of an image, all checks but those that read all content, against ``virt-inspector`` of the same image.

    python bench/validate.py IMAGE [--runs N]     as root, who becomes an ordinary user for one of the cases

Goals: by root at least 12 times as fast as virt-inspector; by an ordinary user without sudo at least 2 times.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from common import Run, table, timed

NOBODY = "65534"
#: QEMU without libvirt, and with an emulated processor: for hosts where KVM does not work
GUESTFS = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}


def main() -> None:
    """Measure the cases in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--user-python", default=sys.executable, help="an interpreter that every user may start")
    arguments = parser.parse_args()
    image = arguments.image.resolve()
    validate = ["-m", "diskimage_create", "validate", str(image), "--format", "json"]
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", arguments.user_python]
    cases = {
        "virt-inspector": ["virt-inspector", "-a", str(image)],
        "validate, root": [sys.executable, *validate],
        "validate, ordinary user": [*nobody, *validate],
    }
    measured: dict[str, list[Run]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, int(NOBODY), int(NOBODY))
        path = os.pathsep.join(entry for entry in sys.path[1:] if entry)
        environment = {**os.environ, **GUESTFS, "HOME": home, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        for _ in range(arguments.runs):
            for name, command in cases.items():
                of_user = {**environment, "TMPDIR": home} if "ordinary" in name else environment
                # 5: rejected, which takes as long.
                measured[name].append(timed(command, of_user, Path("/"), statuses=(0, 5)))
    print(f"{image.stat().st_size / 2**20:.0f} MiB; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    slowest, most = _medians(measured["virt-inspector"])
    rows = []
    for name, runs in measured.items():
        seconds, processor = _medians(runs)
        figures = (seconds, max(run.seconds for run in runs), slowest / seconds, processor, most / processor)
        rows.append([name, *(f"{figure:.2f}" for figure in figures)])
    print(table([["case", "median s", "most s", "times as fast", "processor s", "ratio"], *rows]))


def _medians(runs: list[Run]) -> tuple[float, float]:
    seconds, processor = ([each.seconds for each in runs], [each.processor_seconds for each in runs])
    return statistics.median(seconds), statistics.median(processor)


if __name__ == "__main__":
    main()
