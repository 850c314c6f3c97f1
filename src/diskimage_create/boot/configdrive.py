"""The config drive: how a machine without a cloud is told what it is to be.

The form is OpenStack's (Nova's documentation, "Config drives"): an ISO 9660 image with the label ``config-2``, which
cloud-init's data source ConfigDrive looks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diskimage_create import process

LABEL = "config-2"


@dataclass(frozen=True)
class File:
    """A file that cloud-init writes when the machine starts."""

    path: str
    content: str = field(repr=False)
    permissions: str = "0600"


def user_data(files: Sequence[File], commands: Sequence[Sequence[str]]) -> str:
    """cloud-init's configuration: files to write, and commands to run while the machine is still starting.

    JSON is YAML, and needs no thought about quoting.
    """
    written = [{"path": each.path, "content": each.content, "permissions": each.permissions} for each in files]
    return "#cloud-config\n" + json.dumps({"write_files": written, "bootcmd": [list(each) for each in commands]})


def network_data(mac: str) -> dict[str, Any]:
    """One network card, which asks DHCP for its address, as Nova describes it."""
    return {
        "links": [{"id": "management", "type": "phy", "ethernet_mac_address": mac, "mtu": 1500}],
        "networks": [{"id": "network0", "network_id": "management", "type": "ipv4_dhcp", "link": "management"}],
        "services": [],
    }


def write(iso: Path, metadata: Mapping[str, Any], network: Mapping[str, Any], user_data: str) -> None:
    """Make the drive. It may hold keys: nobody else can read it, nor what it is made of.

    :param iso: the file to be made; what goes into it is put beside it
    :raises HostError: xorriso is not installed
    """
    top = iso.with_suffix(".d")
    latest = top / "openstack/latest"
    top.mkdir(mode=0o700)
    latest.mkdir(parents=True)
    (latest / "meta_data.json").write_text(json.dumps(metadata), encoding="utf-8")
    (latest / "network_data.json").write_text(json.dumps(network), encoding="utf-8")
    (latest / "user_data").write_text(user_data, encoding="utf-8")
    iso.touch(mode=0o600)
    process.run(["xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-V", LABEL, "-o", iso, top])
