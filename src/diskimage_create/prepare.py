"""From a request to a plan: reads the profile, the elements and what is known of the host; runs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from diskimage_create import config, elements, process
from diskimage_create import plan as plans
from diskimage_create.config import Request
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import BuildPlan, ImageSpec, ResolvedElement

# diskimage-builder's layout where no element brings one: the disk is the root file system.
_NO_PARTITIONS = """
- local_loop:
    name: image0
    mkfs:
      name: mkfs_root
      mount:
        mount_point: /
        fstab: {options: defaults, fsck-passno: 1}
"""


def prepare(request: Request) -> BuildPlan:
    """Check a request and work out the build. Needs no root, no tools and no network.

    :raises InputError: with every problem of the request
    """
    spec, search_path = _checked(request)
    resolved = elements.resolve(spec.elements, search_path, spec.arch)
    if "build-host" not in {element.name for element in resolved}:
        # Elements of ours depend on it. An image without any of them is lent the host's certificates all the same.
        spec = replace(spec, elements=(*spec.elements, "build-host"))
        resolved = elements.resolve(spec.elements, search_path, spec.arch)
    layout = _block_devices(spec, resolved)
    return plans.make_plan(spec, request.host, resolved, search_path, {**_content_tools(), **_keyring(spec)}, layout)


def _checked(request: Request) -> tuple[ImageSpec, list[Path]]:
    """The image that was asked for and where its elements are looked for; the problems of both at once."""
    problems: list[Problem] = []
    try:
        spec = config.read(request)
    except InputError as error:
        problems += error.problems
    try:
        search_path = elements.search_path(request.environ, elements.OURS, elements.builtin())
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return spec, search_path


def _block_devices(spec: ImageSpec, resolved: Sequence[ResolvedElement]) -> list[dict[str, Any]]:
    """The layout of the disk: the user's, the elements', or diskimage-builder's own for images without partitions."""
    given = spec.environment.get("DIB_BLOCK_DEVICE_CONFIG")
    text = given.value if given else elements.block_device_config(resolved, spec.arch) or _NO_PARTITIONS
    try:
        if text.startswith("file://"):
            text = Path(text.removeprefix("file://")).read_text(encoding="utf-8")
        nodes = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError([Problem(f"the layout cannot be read: {error}", "DIB_BLOCK_DEVICE_CONFIG")]) from None
    if not isinstance(nodes, list) or not all(
        isinstance(node, dict) and isinstance(node.get("local_loop", {}), dict) for node in nodes
    ):
        hint = "see diskimage-builder's documentation of block devices"
        raise InputError([Problem("the layout is not a list of devices", "DIB_BLOCK_DEVICE_CONFIG", hint)])
    return nodes


def _content_tools() -> dict[str, str]:
    """The tools that decide what is in an image, as far as they are known without running them."""
    bootstrap = next((tool for tool in ("mmdebstrap", "debootstrap") if process.which(tool)), "none")
    return {"diskimage-builder": version("diskimage-builder"), "bootstrap": bootstrap}


def _keyring(spec: ImageSpec) -> dict[str, str]:
    """The digest of the keyring that the user named: another key at the same path is another input."""
    given = spec.environment.get("DIB_APT_KEYRING")
    if given is None:
        return {}
    try:
        return {"apt-keyring": "sha256:" + hashlib.sha256(Path(given.value).read_bytes()).hexdigest()}
    except OSError as error:
        hint = "name the file with the mirror's keys"
        raise InputError([Problem(f"{given.value}: {error.strerror}", "DIB_APT_KEYRING", hint)]) from None
