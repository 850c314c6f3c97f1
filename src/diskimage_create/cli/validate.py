"""``diskimage-create validate``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from diskimage_create.cli import format_option, stop_on_signals
from diskimage_create.errors import ImageRejected


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--deep", is_flag=True, help="Read all content too.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "loop", "fuse", "guestfs"]),
    default="auto",
    envvar="DISKIMAGE_CREATE_BACKEND",
    help="How to look into it. [auto]",
)
@format_option
def validate(image: Path, deep: bool, backend: str, output_format: str) -> int:
    """Check an image (qcow2, raw, vhd, tar, ...) through a read-only mount.

    What it should be is read from the record beside it, or from what diskimage-builder left inside.

    \b
    Example:
      diskimage-create validate amphora-x64-haproxy.qcow2 --format json
    """
    from diskimage_create.validate import report
    from diskimage_create.validate import validate as check

    stop_on_signals()
    result = check(image, deep=deep, backend=backend)
    if output_format == "json":
        click.echo(report.as_json(result))
    else:
        report.print_report(result, sys.stdout)
    return 0 if result.ok else ImageRejected.exit_code
