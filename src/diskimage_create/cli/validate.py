"""``diskimage-create validate``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from diskimage_create.cli import format_option, report_option, stop_on_signals
from diskimage_create.errors import ImageRejected


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--deep", is_flag=True, help="Read all content too.")
@report_option
@format_option
def validate(image: Path, deep: bool, report: tuple[Path, ...], output_format: str) -> int:
    """Check an image (qcow2, raw, vhd, tar, ...) through a read-only mount.

    What it should be is read from the record beside it, or from what diskimage-builder left inside.

    \b
    Examples:
      diskimage-create validate amphora-x64-haproxy.qcow2 --format json
      diskimage-create validate amphora-x64-haproxy.qcow2 --report report.html --report junit.xml
    """
    from diskimage_create import reports
    from diskimage_create.validate import report as show
    from diskimage_create.validate import validate as check

    stop_on_signals()
    with reports.collected(report, reports.kept_beside(image)) as subjects:
        result = check(image, deep=deep, content=reports.show_content(report))
        subjects.append(reports.of_validation(result))
    if output_format == "json":
        click.echo(show.as_json(result))
    else:
        show.print_report(result, sys.stdout)
    return 0 if result.ok else ImageRejected.exit_code
