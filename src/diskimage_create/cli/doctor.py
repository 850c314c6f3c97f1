"""``diskimage-create doctor``."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from diskimage_create.cli import format_option
from diskimage_create.errors import HostError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@format_option
def doctor(output_format: str) -> int:
    """Show what this host has, and lacks, for each type of output, and which package has it.

    Exits with 3 when the host cannot build any image at all.

    \b
    Example:
      diskimage-create doctor
    """
    from diskimage_create import host, requirements

    facts = host.detect(os.environ)
    found = requirements.survey(facts)
    if output_format == "json":
        click.echo(json.dumps(found, indent=1))
    else:
        _print(found)
    return 0 if found["ok"] else HostError.exit_code


def _print(found: dict[str, Any]) -> None:
    for group, entries in found["groups"].items():
        lacking = [entry for entry in entries if not entry["present"]]
        click.echo(f"{'ok     ' if not lacking else 'MISSING'}  {group}")
        for entry in lacking:
            click.echo(f"           {entry['name']}: {entry['purpose']}; package {entry['package']}")
    for name, value in found["host"].items():
        click.echo(f"         {name}: {value}")
