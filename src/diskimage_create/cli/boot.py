"""``diskimage-create boot``."""

from __future__ import annotations

import math
import os
import sys
from functools import partial
from pathlib import Path

import click

from diskimage_create.cli import CONTEXT, format_option, report_option, stop_on_signals
from diskimage_create.errors import ImageRejected


def _a_number(_ctx: click.Context, _option: click.Parameter, seconds: float) -> float:
    """Refuse what is no number, which is in every range, and a time that never comes."""
    if math.isnan(seconds):
        raise click.BadParameter("nan is no number of seconds")
    return seconds


@click.command(context_settings=CONTEXT)
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--profile", metavar="NAME|FILE", help="Kind of image: an amphora has to balance loads.  [its record's]")
@click.option("-a", "--arch", metavar="ARCH", help="Architecture.  [what its record says, or the host's]")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=1, max=86400),
    callback=_a_number,
    default=600,
    help="For all of it.  [600]",
)
@click.option("--memory", metavar="MIB", type=click.IntRange(min=64), default=1024, help="Of the machine.  [1024]")
@click.option(
    "--accelerator", type=click.Choice(["auto", "kvm", "tcg"]), default="auto", help="[kvm where it works, or tcg]"
)
@click.option(
    "--console",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Record the serial console there.  [on failure, in IMAGE.console.log]",
)
@report_option
@format_option
def boot(
    image: Path,
    profile: str | None,
    arch: str | None,
    timeout: float,
    memory: int,
    accelerator: str,
    console: Path | None,
    report: tuple[Path, ...],
    output_format: str,
) -> int:
    """Boot an image (qcow2, raw, vhd) in QEMU, and check it from outside.

    The image is not written to. An amphora also gets a load balancer through its API, and real requests through
    that to two servers; all of it stays on this host.

    \b
    Examples:
      diskimage-create boot amphora-x64-haproxy.qcow2
      diskimage-create boot image.raw --arch amd64 --profile base --console console.log --format json
    """
    from diskimage_create import boot as booting
    from diskimage_create import reports
    from diskimage_create.boot import report as show
    from diskimage_create.host import machine_architecture

    stop_on_signals()
    known_arch, amphora = booting.recorded(image)
    options = booting.BootOptions(
        arch=arch or known_arch or machine_architecture(),
        amphora=amphora if profile is None else booting.is_amphora(profile, os.environ),
        timeout=timeout,
        accelerator=None if accelerator == "auto" else accelerator,
        memory_mib=memory,
        console=console,
        failed_console=image.with_name(f"{image.name}.console.log"),
    )
    keep = [*reports.kept_beside(image), *([console] if console else [])]
    with reports.collected(report, keep) as subjects:
        result = booting.boot(image, options, partial(click.echo, err=True))
        subjects.append(reports.of_boot(result))
    if output_format == "json":
        click.echo(show.as_json(result))
    else:
        show.print_text(result, sys.stdout)
    return 0 if result.ok else ImageRejected.exit_code
