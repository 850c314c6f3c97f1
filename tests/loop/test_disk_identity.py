"""The element ``reproducible`` takes chance out of a partition table."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from diskimage_create.elements import OURS

HOOK = OURS / "reproducible/pre-finalise.d/02-disk-identity"
UUIDS = ("5c830987-94a7-5bb0-8095-ffc1230908a6", "0c5f9c4e-0a5e-4a5a-8a52-6b1c3f6d7e88")


def table_after_the_hook(disk: Path, label: str, uuid: str, epoch: str = "1") -> dict[str, object]:
    """A new disk's partition table, as it is after the hook. The root file system lies beside the disk."""
    root = disk.with_suffix(".root")
    for path, size in ((disk, 8), (root, 2)):
        with path.open("wb") as file:
            file.truncate(size * 2**20)
    table = f"label: {label}\n,1M\n,\n"
    subprocess.run(["sfdisk", "--quiet", disk], input=table, check=True, text=True)
    subprocess.run(["mkfs.ext4", "-q", "-U", uuid, root], check=True)
    devices = {"IMAGE_BLOCK_DEVICE": str(disk), "IMAGE_BLOCK_DEVICES": f"[image0]={disk} [whatever]={root}"}
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": epoch, **devices}
    subprocess.run([HOOK], env=environment, check=True)
    dumped = subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True, text=True).stdout
    found: dict[str, object] = json.loads(dumped.replace(str(disk.parent), ""))["partitiontable"]
    return found


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_the_file_systems_decide_on_the_signature_of_a_disk(tmp_path: Path, label: str) -> None:
    disk = tmp_path / "disk"
    one = table_after_the_hook(disk, label, UUIDS[0])
    assert table_after_the_hook(disk, label, UUIDS[0]) == one
    other = table_after_the_hook(disk, label, UUIDS[1])
    assert (other == one, other["label"]) == (False, label)


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_without_an_epoch_it_stays_random(tmp_path: Path, label: str) -> None:
    disk = tmp_path / "disk"
    tables = [table_after_the_hook(disk, label, UUIDS[0], epoch="") for _ in range(2)]
    assert tables[0] != tables[1]
