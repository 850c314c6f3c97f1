"""``diskimage-create attest``."""

from __future__ import annotations

from pathlib import Path

import click

from diskimage_create.cli import CONTEXT, stop_on_signals
from diskimage_create.cli.signing import sign_option, signer


@click.command(context_settings=CONTEXT)
@click.argument("image", type=click.Path(path_type=Path))
@sign_option
def attest(image: Path, sign: str | None) -> None:
    """Write SBOMs, provenance and checksums beside an image, from what is in it and from its record.

    A key's passphrase is asked for, or taken from the variable DISKIMAGE_CREATE_SIGN_PASSPHRASE or the file that
    DISKIMAGE_CREATE_SIGN_PASSPHRASE_FILE names.

    \b
    Examples:
      diskimage-create attest amphora-x64-haproxy.qcow2
      diskimage-create attest amphora-x64-haproxy.qcow2 --sign ~/.minisign/minisign.key
    """
    from diskimage_create import provenance

    stop_on_signals()
    for path in provenance.attest(image, signer(sign)):
        click.echo(path)
