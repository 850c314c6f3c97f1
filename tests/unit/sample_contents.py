"""Trees of images with packages and Python distributions, to gather contents from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from diskimage_create.provenance import Contents, gather
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.view import ImageView

STATUS = """\
Package: libstdc++6
Status: install ok installed
Maintainer: Debian GCC Maintainers <debian-gcc@lists.debian.org>
Architecture: amd64
Source: gcc-14 (14.2.0-19)
Version: 14.2.0-19+b1
Homepage: http://gcc.gnu.org/

Package: haproxy
Status: install ok installed
Maintainer: Debian HAProxy Maintainers <team+haproxy@tracker.debian.org>
Architecture: amd64
Version: 1:3.0.11-1~deb13u1
Description: load balancer
 Package: not-a-package

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: nameless-maintainer
Status: install ok installed
Maintainer: root
Architecture: all
Version: 2
"""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: haproxy

Files: *
Copyright: 2000-2025 Willy Tarreau
License: GPL-2+

Files: include/*
Copyright: 2000-2025 Willy Tarreau
License: LGPL-2.1

Files: ebtree/*
License: Expat or BSD-3-clause

Files: odd/*
License: as-is

License: Beerware
 Never used by any file.
"""
METADATA = """\
Metadata-Version: 2.4
Name: Oslo.Config
Version: 10.7.0
Author-email: OpenStack <openstack-discuss@lists.openstack.org>
License-Expression: Apache-2.0

License: of the description, not of the fields
"""
OLD_METADATA = """\
Metadata-Version: 2.1
Name: six
Version: 1.17.0
Author: Benjamin Peterson
Author-email: benjamin@python.org
License: MIT
"""
SITE = "opt/venv/lib/python3.13/site-packages"


def write(tree: Path, name: str, content: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def debian_tree(tree: Path) -> Path:
    write(tree, "usr/lib/os-release", 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n')
    write(tree, "var/lib/dpkg/status", STATUS)
    write(tree, "usr/share/doc/haproxy/copyright", COPYRIGHT)
    write(tree, "usr/share/doc/libstdc++6/copyright", "This is the Debian prepackaged version of GCC.\n")
    write(tree, f"{SITE}/oslo_config-10.7.0.dist-info/METADATA", METADATA)
    write(tree, f"{SITE}/six-1.17.0.dist-info/METADATA", OLD_METADATA)
    write(tree, f"{SITE}/nothing.dist-info/METADATA", "no fields at all")
    # What a package of the distribution brought is in that package's name already
    write(tree, "usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA", OLD_METADATA)
    return tree


def view_of(tree: Path) -> ImageView:
    return ImageView(tree / "image", "tar", tree, _root=ImageRoot(tree))


def contents_of(tree: Path) -> Contents:
    return gather(view_of(tree))


RECORD: dict[str, Any] = {
    "image": {"arch": "amd64"},
    "schema": 1,
    "started": "2026-11-21T16:11:43+00:00",
    "seconds": 150.4,
    "fingerprint": f"sha256:{'1' * 64}",
    "inputs": {
        "element:vm": f"sha256:{'2' * 64}",
        "environment:DIB_RELEASE": "trixie",
        "option:release": "trixie",
        "tool:diskimage-builder": f"3.43.0 sha256:{'3' * 64}",
        "tool:uv": "0.13.8",
    },
    "remote_inputs": {"apt trixie": f"sha256:{'4' * 64}", "source repository octavia": "5" * 40, "a hook": "unknown"},
    "resumed_from": None,
    "environment": {"DIB_RELEASE": "trixie", "DIB_TOKEN": "***"},
    "command": ["disk-image-create", "-o", "amphora"],
    "tools": {"diskimage-create": "0.1.0", "diskimage-builder": "3.43.0"},
    "packages": [],
}


def image_with_record(directory: Path, name: str = "x.qcow2", content: bytes = b"an image", **more: Any) -> Path:
    """Files like those that a build leaves: what is read of an image here is its bytes."""
    image = directory / name
    image.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    artifact = {"type": "qcow2", "path": name, "sha256": digest, "bytes": len(content)}
    record = RECORD | {"artifacts": [artifact]} | more
    (directory / f"{name}.json").write_text(json.dumps(record))
    (directory / f"{name}.sha256").write_text(f"{digest}  {name}\n")
    return image
