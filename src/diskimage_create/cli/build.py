"""``diskimage-create build``, the default command."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, NoReturn

import click

from diskimage_create.cli import options, version_option
from diskimage_create.errors import Interrupted


@click.command(context_settings=options.CONTEXT)
@options.image_options
@version_option
@click.option("--no-validate", is_flag=True, help="Do not check the image.")
@click.option("--keep-failed", is_flag=True, help="Keep a rejected image as X.failed.")
@click.pass_context
def build(ctx: click.Context, /, no_validate: bool, keep_failed: bool, **image: Any) -> None:
    """Plan, build, check and record images.

    Leaves X.qcow2 (or other types), its record X.qcow2.json, X.qcow2.sha256 and the log X.log.
    Nothing gets its final name before it was found good. Every option can be set as
    DISKIMAGE_CREATE_<LONG_NAME>; options win over the environment, the environment over the profile.

    \b
    Examples:
      diskimage-create -i debian
      diskimage-create -i debian -d bookworm -s 3 -t qcow2,tar -o /srv/images/amphora
    """
    from diskimage_create import pipeline, progress
    from diskimage_create.prepare import prepare

    request = options.request(ctx, image)
    plan = prepare(request)
    for note in plan.notes:
        click.echo(f"note: {note}", err=True)
    _stop_on_signals()
    with progress.display() as display:
        how = pipeline.BuildOptions(validate=not no_validate, keep_failed=keep_failed)
        artifacts = pipeline.build(plan, request.host, display, how)
    for artifact in artifacts:
        click.echo(f"{artifact.path}: {artifact.bytes / 1e6:.0f} MB, sha256 {artifact.sha256}", err=True)
        click.echo(artifact.path)


def _stop_on_signals() -> None:
    """The first signal ends the build through its clean-up; further ones do not disturb that."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(signum: int, _frame: FrameType | None) -> NoReturn:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(f"interrupted by {signal.Signals(signum).name}: everything is unmounted and removed")

    for each in signals:
        signal.signal(each, interrupt)
