"""From a request to a plan: reads the profile, the elements and what is known of the host; runs nothing."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from diskimage_create import config, content, elements, requirements, unsupported
from diskimage_create import plan as plans
from diskimage_create.config import Request
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import BuildPlan, ImageSpec, ResolvedElement
from diskimage_create.store import KEY_BYTES, Store, read_key, stages

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


def prepare(request: Request, *, to_build: bool = False, problems: Sequence[Problem] = ()) -> BuildPlan:
    """Check a request and work out the build. Needs no root, no tools and no network.

    :param to_build: the plan will be carried out: what no host could build is refused, and the store is made, whose
        key tells secrets apart. Without, nothing is written
    :param problems: what is wrong with what else the user said, to be reported together with the rest
    :raises InputError: with every problem of the request
    """
    spec, search_path = _checked(request, problems)
    resolved = elements.resolve(spec.elements, search_path, spec.arch)
    if "build-host" not in {element.name for element in resolved}:
        # Elements of ours depend on it. An image without any of them is lent the host's certificates all the same.
        spec = replace(spec, elements=(*spec.elements, "build-host"))
        resolved = elements.resolve(spec.elements, search_path, spec.arch)
    unsupported.refuse(spec, resolved)
    stages.reusable(resolved)  # what elements say of their hooks can be understood
    layout = _block_devices(spec, resolved)
    files = content.files(spec, resolved, request.environ)
    if to_build:
        requirements.refuse(spec, resolved)
        Store(spec.cache_dir).create()
    key = read_key(spec.cache_dir) or secrets.token_bytes(KEY_BYTES)
    return plans.make_plan(spec, request.host, resolved, search_path, files, layout, key)


def _checked(request: Request, others: Sequence[Problem]) -> tuple[ImageSpec, list[Path]]:
    """The image that was asked for and where its elements are looked for; the problems of both, and others, at once."""
    problems: list[Problem] = []
    try:
        spec = config.read(request)
    except InputError as error:
        problems += error.problems
    problems += others
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
