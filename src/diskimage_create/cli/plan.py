"""``diskimage-create plan``."""

from __future__ import annotations

import json
import shlex
from typing import Any

import click

from diskimage_create.cli import format_option, options
from diskimage_create.model import BuildPlan


@click.command(context_settings=options.CONTEXT)
@options.image_options
@format_option
@click.pass_context
def plan(ctx: click.Context, /, output_format: str, **image: Any) -> None:
    """Show what would be built: elements, environment, command, inputs. Runs nothing, asks no network.

    \b
    Example:
      diskimage-create plan -i debian -s 3 --format json
    """
    from diskimage_create import plan as plans
    from diskimage_create.prepare import prepare

    made = prepare(options.request(ctx, image))
    if output_format == "json":
        click.echo(json.dumps(plans.as_json(made), indent=1))
    else:
        click.echo(_as_text(made))


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
