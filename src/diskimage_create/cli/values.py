"""``diskimage-create values``: values of OpenStack-Helm's charts."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from diskimage_create.cli import CONTEXT


@click.group(context_settings=CONTEXT)
def values() -> None:
    """Values of OpenStack-Helm's charts: one environment for all, and the amphora that Octavia uses.

    \b
    Examples:
      diskimage-create values split environment.yaml -o values
      diskimage-create values amphora --tag amphora --owner-id 0f1e2d3c4b5a69788796a5b4c3d2e1f0
    """


@values.command(context_settings=CONTEXT)
@click.argument("environment", type=click.Path(path_type=Path), metavar="ENV.yaml")
@click.option(
    *("-o", "--output", "output"),
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    allow_from_autoenv=False,
    help="Write the files there.",
)
@click.option("--umbrella", is_flag=True, help="Write one file, for a chart that has these as its sub-charts.")
@click.option(
    *("--charts-dir", "charts"),
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Refuse sections that are of none of the charts in this directory.",
)
@click.option("--print-args", is_flag=True, help="Print the arguments for helm, one line a chart.")
@click.option("--force", is_flag=True, help="Write into a directory that holds other files too.")
def split(environment: Path, output: Path, umbrella: bool, charts: Path | None, print_args: bool, force: bool) -> None:
    """Take one environment definition apart: a file of values for each chart.

    ENV.yaml has a section for each chart. Its section 'global' goes into the file of every chart, under 'global', where
    the chart's own section wins. All files are written, or none. docs/helm-values.md says more.

    \b
    Examples:
      diskimage-create values split environment.yaml -o values --charts-dir ./openstack-helm
      diskimage-create values split environment.yaml -o values --print-args
    """
    from diskimage_create.helm import values as splitting

    written = splitting.write(splitting.split(environment, umbrella=umbrella, charts=charts), output, force=force)
    if print_args:
        click.echo("\n".join(shlex.join(["--values", str(path)]) for path in written))
    click.echo(f"wrote {len(written)} file{'' if len(written) == 1 else 's'} to {output}", err=True)


@values.command(context_settings=CONTEXT)
@click.option("--tag", required=True, metavar="TAG", help="The tag that the image has in Glance.")
@click.option("--owner-id", required=True, metavar="ID", help="The project that the image belongs to.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True),
    metavar="FILE",
    allow_from_autoenv=False,
    help="Name the image, and what it was made of, in a comment: X.qcow2.json.",
)
def amphora(tag: str, owner_id: str, record: Path | None) -> None:
    """Print the override with which the chart octavia boots an amphora of ours.

    The workers boot the newest image that has this tag and belongs to this project.

    \b
    Example:
      diskimage-create values amphora --tag amphora \\
          --owner-id $(openstack image show amphora-x64-haproxy -f value -c owner) > octavia-amphora.yaml
    """
    from diskimage_create.helm.amphora import override

    known = None
    if record:
        from diskimage_create.diff.records import read_record

        known = read_record(record)
    click.echo(override(tag, owner_id, known), nl=False)
