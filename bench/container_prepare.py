"""``container image prepare --dry-run`` of a whole deployment: how many requests, and how many at once.

    python bench/container_prepare.py [--milliseconds N]

Goal: for each image one request for its manifest, one for its configuration, and one for the tag that its labels make;
at least 8 in flight at a time. The registry is one on loopback that counts, and takes as long for each answer as one
far away. tripleo-common has to be installed: its table is what is evaluated.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import yaml
from common import in_flight, table, timed

from diskimage_create.containers import entries, packaged

sys.path.append(str(Path(__file__).parents[1] / "tests" / "unit"))
from counting_registry import counting_registry


def main() -> None:
    """Prepare the deployment, and print what the registry has counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milliseconds", type=int, default=150, help="that each answer takes")
    wait = parser.parse_args().milliseconds / 1000
    packaged_defaults = entries.read_defaults(packaged.find(packaged.DEFAULTS, "--defaults"))
    defaults = packaged_defaults.written(entries.PARAMETER, 0, "set")
    with tempfile.TemporaryDirectory() as directory, counting_registry() as registry:
        registry.seconds = wait
        registry.labels = {"rdo_version": "1_2"}
        values = {name: f"{registry.host}/{name}" for name in defaults if name.endswith("namespace")}
        entry = {"tag_from_label": "rdo_version", "set": values}
        file = Path(directory, "prepare.yaml")
        file.write_text(yaml.safe_dump({"parameter_defaults": {"ContainerImagePrepare": [entry]}}))
        command = [sys.executable, "-m", "diskimage_create", "container", "image", "prepare", "--dry-run", "-e", file]
        run = timed([*command, "--insecure-registry", registry.host])
    manifests = {path for path in registry.asked if "/manifests/" in path}
    images = len({path.rpartition("/manifests/")[0] for path in manifests})
    one_by_one = len(registry.asked) * wait
    rows = [
        ["images", images],
        ["requests", len(registry.asked)],
        ["requests for one image", f"{len(registry.asked) / images:.1f}"],
        *in_flight(registry.most, run.seconds, one_by_one),
    ]
    print(table(rows))


if __name__ == "__main__":
    main()
