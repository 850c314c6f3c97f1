"""``diskimage-create diff``."""

from __future__ import annotations

from typing import Any

import click

from diskimage_create.cli import format_option, stop_on_signals
from diskimage_create.cli.registry_options import access, registry_options


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("a")
@click.argument("b")
@click.option("--ignore", is_flag=True, help="Leave out what two builds of one image may differ in: logs, caches, ...")
@registry_options
@format_option
def diff(a: str, b: str, ignore: bool, output_format: str, **values: Any) -> int:
    """Show what changed between two images, or the records of two builds.

    Of images (qcow2, raw, vhd, tar, ...): files, packages, services, kernel command line, boot loader.
    Of records (X.qcow2.json): packages, elements, options, environment, inputs, tools, sizes.
    Of published images (oci://HOST/NAME:TAG, s3://bucket/X.qcow2, ...): their records.
    Exits with 1 when they differ.

    \b
    Examples:
      diskimage-create diff old.qcow2 new.qcow2 --ignore
      diskimage-create diff old.qcow2.json new.qcow2.json --format json
      diskimage-create diff oci://registry.example.com/images/amphora:trixie new.qcow2.json
    """
    from diskimage_create.diff import compare, report

    stop_on_signals()
    difference = compare(a, b, ignore=ignore, access=access(values))
    click.echo(report.as_json(difference) if output_format == "json" else report.as_text(difference))
    return 0 if difference.empty else 1
