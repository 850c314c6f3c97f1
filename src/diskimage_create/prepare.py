"""From a request to a plan: reads the profile, the elements and what is known of the host; runs nothing."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from diskimage_create import config, content, elements, places, requirements, unsupported
from diskimage_create import plan as plans
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import BuildPlan, ImageSpec, Inputs, ResolvedElement
from diskimage_create.once import once, same_answers
from diskimage_create.request import Request
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


@dataclass(frozen=True)
class _Checked:
    """A request that nothing is wrong with, and all that its plan is made of."""

    request: Request
    spec: ImageSpec
    resolved: tuple[ResolvedElement, ...]
    search_path: Sequence[Path]
    files: Inputs
    layout: Sequence[Mapping[str, Any]]


def prepare(request: Request, *, to_build: bool = False) -> BuildPlan:
    """Check a request and work out the build. Needs no root, no tools and no network.

    :param to_build: the plan will be carried out: what no host could build is refused, and the store is made, whose
        key tells secrets apart. Without, nothing is written
    :raises InputError: with every problem of the request
    """
    (plan,) = prepare_all([request], to_build=to_build)
    return plan


def prepare_all(
    requests: Sequence[Request], *, to_build: bool = False, problems: Sequence[Problem] = ()
) -> list[BuildPlan]:
    """The same for several images; nothing is written as long as something is wrong with one of them.

    :param problems: what is wrong with what else the user said, to be reported together with the rest
    :raises InputError: with every problem of every request
    """
    checked: list[_Checked] = []
    found: list[tuple[Request, Problem]] = []
    with same_answers():
        for request in requests:
            try:
                checked.append(_check(request, to_build=to_build))
            except InputError as error:
                found += [(request, problem) for problem in error.problems]
    wrong = [*_placed(found, requests), *problems, *_same_outputs(checked)]
    if wrong:
        raise InputError(list(dict.fromkeys(wrong)))
    return [_plan(each, to_build=to_build) for each in checked]


def _plan(checked: _Checked, *, to_build: bool) -> BuildPlan:
    spec = checked.spec
    if to_build:
        Store(spec.cache_dir).create()
    key = read_key(spec.cache_dir) or secrets.token_bytes(KEY_BYTES)
    host, resolved, files = checked.request.host, checked.resolved, checked.files
    return plans.make_plan(spec, host, resolved, checked.search_path, files, checked.layout, key)


def _placed(found: Sequence[tuple[Request, Problem]], requests: Sequence[Request]) -> list[Problem]:
    """Problems of images say which of several images they are of."""
    if found and all(request.combination for request in requests):
        from diskimage_create import matrix

        of_images = [(request.combination, problem) for request, problem in found]
        return matrix.placed(of_images, [request.combination for request in requests])
    return [_at_its_line(problem, request) for request, problem in found]


def _at_its_line(problem: Problem, request: Request) -> Problem:
    """A problem of an image of a configuration file says which line it comes from."""
    place = request.places.get("")
    if place is None or problem.where in request.places.values():
        return problem
    if problem.where == elements.ELEMENT_LIST:
        return replace(problem, where=request.places["element"])
    return replace(problem, where=f"{place}: {problem.where}" if problem.where else place)


def _same_outputs(checked: Sequence[_Checked]) -> list[Problem]:
    names = Counter(each.spec.output for each in checked)
    where, hint = "--config", None
    if any(each.request.combination for each in checked):
        where, hint = "--matrix", "build them one after the other, each with -o"
    return [Problem(f"{count} images would be {path}", where, hint) for path, count in names.items() if count > 1]


def _check(request: Request, *, to_build: bool) -> _Checked:
    spec, search_path = _read(request)
    _require_packages(spec, search_path)
    resolved = _resolve(spec, search_path)
    if "build-host" not in {element.name for element in resolved}:
        # Elements of ours depend on it. An image without any of them is lent the host's certificates all the same.
        spec = replace(spec, elements=(*spec.elements, "build-host"))
        resolved = _resolve(spec, search_path)
    unsupported.refuse(spec, resolved)
    stages.reusable(resolved)  # what elements say of their hooks can be understood
    layout = _block_devices(spec, resolved)
    files = content.files(spec, resolved, request.environ)
    if to_build:
        requirements.refuse(spec, resolved)
    return _Checked(request, spec, resolved, search_path, files, layout)


def _resolve(spec: ImageSpec, search_path: Sequence[Path]) -> tuple[ResolvedElement, ...]:
    return elements.resolve(spec.elements, search_path, spec.arch, skip_base=spec.skip_base)


def _read(request: Request) -> tuple[ImageSpec, list[Path]]:
    """The image that was asked for and where its elements are looked for; the problems of both at once."""
    problems: list[Problem] = []
    try:
        spec = config.read(request)
    except InputError as error:
        problems += error.problems
    libraries = (elements.OURS, elements.builtin())
    try:
        places.named(request.environ, *libraries)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    packages = places.installed(request.environ)
    return spec, elements.search_path(request.environ, *libraries, spec.elements, packages)


def _require_packages(spec: ImageSpec, search_path: Sequence[Path]) -> None:
    """Refuse an image whose elements come with packages that are not installed."""
    problems = []
    for package, names in spec.requires_elements.items():
        wanted = [name for name in names if name in spec.elements]
        if missing := [name for name in wanted if not any((place / name).is_dir() for place in search_path)]:
            what = f"the profile {spec.profile} needs elements that are not here: {', '.join(missing)}"
            problems.append(Problem(what, "ELEMENTS_PATH", f"pip install '{package}'"))
    if problems:
        raise InputError(problems)


def _block_devices(spec: ImageSpec, resolved: Sequence[ResolvedElement]) -> list[dict[str, Any]]:
    """The layout of the disk: the user's, the elements', or diskimage-builder's own for images without partitions."""
    given = spec.environment.get("DIB_BLOCK_DEVICE_CONFIG")
    text = given.value if given else elements.block_device_config(resolved, spec.arch) or _NO_PARTITIONS
    try:
        if text.startswith("file://"):
            text = Path(text.removeprefix("file://")).read_text(encoding="utf-8")
        nodes = _nodes(text)
    except (OSError, ValueError, AttributeError, IndexError, KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError([Problem(f"the layout cannot be read: {error}", "DIB_BLOCK_DEVICE_CONFIG")]) from None
    if not isinstance(nodes, list) or not all(
        isinstance(node, dict) and isinstance(node.get("local_loop", {}), dict) for node in nodes
    ):
        hint = "see diskimage-builder's documentation of block devices"
        raise InputError([Problem("the layout is not a list of devices", "DIB_BLOCK_DEVICE_CONFIG", hint)])
    return nodes


@once
def _nodes(layout: str) -> Any:
    return yaml.safe_load(layout)
