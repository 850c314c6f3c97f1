"""From a request to a plan: reads the profile, the elements and what is known of the host; runs nothing."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

from diskimage_create import config, elements, process
from diskimage_create import plan as plans
from diskimage_create.config import Request
from diskimage_create.model import BuildPlan


def prepare(request: Request) -> BuildPlan:
    """Check a request and work out the build. Needs no root, no tools and no network.

    :raises InputError: with every problem of the request
    """
    spec = config.read(request)
    search_path = config.element_search_path(request.environ, elements.OURS, elements.builtin())
    resolved = elements.resolve(spec.elements, search_path, spec.arch)
    if "build-host" not in {element.name for element in resolved}:
        # Elements of ours depend on it. An image without any of them is lent the host's certificates all the same.
        spec = replace(spec, elements=(*spec.elements, "build-host"))
        resolved = elements.resolve(spec.elements, search_path, spec.arch)
    layout = elements.block_device_config(resolved, spec.arch)
    return plans.make_plan(spec, request.host, resolved, search_path, _content_tools(), layout)


def _content_tools() -> dict[str, str]:
    """The tools that decide what is in an image, as far as they are known without running them."""
    bootstrap = next((tool for tool in ("mmdebstrap", "debootstrap") if process.which(tool)), "none")
    return {"diskimage-builder": version("diskimage-builder"), "bootstrap": bootstrap}
