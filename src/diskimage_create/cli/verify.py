"""``diskimage-create verify``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from diskimage_create.cli import CONTEXT, format_option
from diskimage_create.errors import ImageRejected


@click.command(context_settings=CONTEXT)
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--key", metavar="KEY", help="Public key of the signatures: a file, minisign's RW..., or gpg:KEY.")
@format_option
def verify(image: Path, key: str | None, output_format: str) -> int:
    """Check an image against what lies beside it: record, checksums, SBOMs, provenance, signatures.

    With --key, checksum and provenance have to be signed by that key. Without, signatures are not checked, and whoever
    can write to the directory could have changed everything in it.

    \b
    Examples:
      diskimage-create verify amphora-x64-haproxy.qcow2 --key minisign.pub
      diskimage-create verify amphora-x64-haproxy.qcow2 --format json
    """
    from diskimage_create.provenance import checking
    from diskimage_create.provenance import verify as verifying
    from diskimage_create.validate import report

    result = verifying.verify(image, checking.load(key) if key is not None else None)
    if output_format == "json":
        click.echo(report.as_json(result))
    else:
        report.print_report(result, sys.stdout)
    return 0 if result.ok else ImageRejected.exit_code
