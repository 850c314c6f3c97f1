"""``diskimage-create sbom``."""

from __future__ import annotations

from pathlib import Path

import click

from diskimage_create.cli import CONTEXT, stop_on_signals


@click.command(context_settings=CONTEXT)
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--type",
    "form",
    type=click.Choice(["spdx", "cyclonedx"]),
    default="spdx",
    help="SPDX 2.3 or CycloneDX 1.6, both as JSON.  [spdx]",
)
@click.option("-o", "--output", metavar="FILE", allow_from_autoenv=False, help="Write it there.  [standard output]")
def sbom(image: Path, form: str, output: str | None) -> None:
    """Print what is in an image, whoever built it: a software bill of materials.

    \b
    Examples:
      diskimage-create sbom amphora-x64-haproxy.qcow2 --type cyclonedx -o amphora.cdx.json
      diskimage-create sbom debian-13-generic-amd64.qcow2 | jq -r '.packages[].name'
    """
    from diskimage_create import files, provenance

    stop_on_signals()
    if output:
        files.refuse_unwritable(output)
    text = provenance.sbom(image, form)
    if output:
        files.write(output, text)
    else:
        click.echo(text, nl=False)
