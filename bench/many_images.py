"""A plan of many images: 100 configuration files of 1000 images in all.

    python bench/many_images.py [--files N] [--images N] [--work DIRECTORY]

The images are of several profiles, operating systems and options, and ones that name all their elements.
Goal: at most 10 s, and 300 MB.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from common import timed

SYSTEMS = {"debian": ["bookworm", "trixie"], "ubuntu": ["jammy", "noble"], "centos": ["9-stream"], "rocky": ["9"]}


def main() -> None:
    """Write the files, plan them, and print the time and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--images", type=int, default=1000, help="in all files together")
    parser.add_argument("--work", type=Path, help="directory to keep the files in")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="bench-many-images-"))
    work.mkdir(parents=True, exist_ok=True)
    options = []
    for number in range(arguments.files):
        path = work / f"{number}.yaml"
        images = [image(index) for index in range(number, arguments.images, arguments.files)]
        path.write_text(yaml.safe_dump({"disk_images": images}, sort_keys=False))
        options += ["--config", str(path)]
    command = [
        sys.executable,
        "-m",
        "diskimage_create",
        "plan",
        *options,
        "-c",
        str(work / "cache"),
        "--format",
        "json",
    ]
    run = timed([*command, "--output-directory", str(work)])
    planned = run.output.count('"local_fingerprint"')
    if planned != arguments.images:
        sys.exit(f"{planned} images were planned, not {arguments.images}:\n{run.output[:2000]}")
    print(f"{planned} images of {arguments.files} files: {run.seconds:.1f} s, {run.peak_mib:.0f} MiB")


def image(number: int) -> dict[str, Any]:
    """One of many images, always the same of its number."""
    chance = random.Random(number)
    system = chance.choice(list(SYSTEMS))
    common = {
        "imagename": f"image-{number}",
        "type": chance.choice(["qcow2", "raw", "qcow2,tar"]),
        "environment": {"DIB_GRUB_TIMEOUT": number, "SITE": f"site-{number % 7}"},
        "packages": chance.sample(["vim", "tcpdump", "strace", "htop"], 2),
    }
    if number % 2:
        elements = chance.sample(["cloud-init", "openssh-server", "growroot", "devuser", "dhcp-all-interfaces"], 3)
        options = ["--min-tmpfs=7", "--mkfs-options '-i 8192'"]
        return {**common, "distro": "debian-minimal", "elements": ["vm", *elements], "options": options}
    flags = {"no_sshd": chance.random() < 0.3, "cpu_pinning": chance.random() < 0.3}
    release = chance.choice(SYSTEMS[system])
    return {**common, "profile": "amphora", "os": system, "release": release, "size": chance.randint(3, 9), **flags}


if __name__ == "__main__":
    main()
