"""``diskimage-create plan``."""

from __future__ import annotations

import json
import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from diskimage_create.cli import format_option, options
from diskimage_create.model import BuildPlan

if TYPE_CHECKING:
    from diskimage_create.store.reuse import Why


@click.command(context_settings=options.CONTEXT)
@options.image_options
@click.option("--why", is_flag=True, help="Show what differs from what is stored, and what will be reused.")
@format_option
@click.pass_context
def plan(ctx: click.Context, /, why: bool, output_format: str, **image: Any) -> None:
    """Show what would be built: elements, environment, command, inputs. Runs nothing, asks no network.

    \b
    Example:
      diskimage-create plan -i debian -s 3 --format json
    """
    from diskimage_create import plan as plans
    from diskimage_create.prepare import prepare

    made = prepare(options.request(ctx, image))
    if output_format == "json":
        click.echo(json.dumps(plans.as_json(made) | ({"why": _why(made).as_json()} if why else {}), indent=1))
        return
    click.echo(_as_text(made))
    if why:
        for line in _why(made).planned():
            click.echo(f"why          {line}")


def _why(plan: BuildPlan) -> Why:
    """What is stored of it, as far as that is known without the network."""
    from diskimage_create.store import Store, reuse, stages

    needs = reuse.needs(plan, stages.reusable(plan.resolved), (), max_age=timedelta.max, offline=True)
    return reuse.look_up(Store(plan.spec.cache_dir), needs)


def _as_text(plan: BuildPlan) -> str:
    spec = plan.spec
    lines = [
        f"image        {spec.profile}: {spec.os} {spec.release} {spec.arch}, {spec.size_gib} GiB",
        *(f"output       {spec.path_of(image_type)}" for image_type in spec.types),
        f"elements     {' '.join(plan.elements)}",
        f"resolved     {' '.join(element.name for element in plan.resolved)}",
        "environment",
    ]
    for name, setting in plan.environment.items():
        first, *more = setting.shown.splitlines() or [""]
        lines.append(f"  {name}={first}{' ...' if more else ''}  ({setting.source.value})")
    lines.append(f"command      {shlex.join(plan.command)}")
    lines.append(f"fingerprint  {plan.fingerprint} (local inputs)")
    lines += [f"note         {note}" for note in plan.notes]
    return "\n".join(lines)
