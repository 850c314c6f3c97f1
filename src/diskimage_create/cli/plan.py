"""``diskimage-create plan``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from diskimage_create.cli import CONTEXT, format_option, options
from diskimage_create.errors import Problem
from diskimage_create.model import BuildPlan

if TYPE_CHECKING:
    from diskimage_create.request import Request
    from diskimage_create.store.reuse import Why


@click.command(context_settings=CONTEXT)
@options.image_options
@click.option("--why", is_flag=True, help="Show what differs from what is stored, and what will be reused.")
@format_option
@click.pass_context
def plan(ctx: click.Context, /, why: bool, output_format: str, **image: Any) -> None:
    """Show what would be built: elements, environment, command, inputs. Runs nothing, asks no network.

    \b
    Examples:
      diskimage-create plan -i debian -s 3 --format json
      diskimage-create plan --config images.yaml --image overcloud-full
      diskimage-create plan --matrix os=debian,ubuntu arch=amd64,arm64
    """
    from diskimage_create.prepare import prepare_all

    problems: list[Problem] = []
    several = bool(image["config"] or image["matrix"])
    requests = options.requests(ctx, image, problems)
    plans = prepare_all(requests, problems=problems)
    if output_format == "json":
        shown = [_as_json(plan, request, why) for plan, request in zip(plans, requests, strict=True)]
        click.echo(json.dumps({"schema": 1, "images": shown} if several else shown[0], indent=1))
        return
    for number, (plan, request) in enumerate(zip(plans, requests, strict=True)):
        click.echo(("\n" if number else "") + _as_text(plan, request.asked))
        if why:
            for line in _why(plan).planned():
                click.echo(f"why          {line}")


def _as_json(plan: BuildPlan, request: Request, why: bool) -> dict[str, Any]:
    from diskimage_create import plan as plans

    asked = {"asked": list(request.asked)} if request.asked else {}
    return plans.as_json(plan) | asked | ({"why": _why(plan).as_json()} if why else {})


def _why(plan: BuildPlan) -> Why:
    """What is stored of it, as far as that is known without the network."""
    from diskimage_create.store import Store, reuse, stages

    needs = reuse.needs(plan, stages.reusable(plan.resolved), (), max_age=timedelta.max, offline=True)
    return reuse.look_up(Store(plan.spec.cache_dir), needs)


def _as_text(plan: BuildPlan, asked: Sequence[str] = ()) -> str:
    spec = plan.spec
    size = "as large as its content needs" if spec.size_gib is None else f"{spec.size_gib} GiB"
    lines = [
        f"image        {spec.profile}: {' '.join(filter(None, (spec.os, spec.release, spec.arch)))}, {size}",
        *(f"output       {spec.path_of(image_type)}" for image_type in spec.types),
        f"elements     {' '.join(plan.elements)}",
        f"resolved     {' '.join(element.name for element in plan.resolved)}",
        "environment",
    ]
    for name, setting in plan.environment.items():
        first, *more = setting.shown.splitlines() or [""]
        lines.append(f"  {name}={first}{' ...' if more else ''}  ({setting.source.value})")
    if asked:
        lines.append(f"asked        {shlex.join(asked)}")
    lines.append(f"command      {shlex.join(plan.command)}")
    lines.append(f"fingerprint  {plan.fingerprint} (local inputs)")
    lines += [f"note         {note}" for note in plan.notes]
    return "\n".join(lines)
