"""``diskimage-create attest``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from diskimage_create.cli import CONTEXT, stop_on_signals


@click.command(context_settings=CONTEXT)
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--sign", metavar="KEY", help="Sign with this secret key: a file of minisign's or PEM, or gpg:KEY.")
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
    from diskimage_create.provenance import signing

    stop_on_signals()
    signer = signing.load(sign, signing.passphrase(os.environ, _prompt)) if sign else None
    record = provenance.read_record(image)
    contents = provenance.read_contents(image)
    log = image.with_suffix(".log")
    for path in provenance.write_all(image, record, contents, signer, log if log.is_file() else None):
        click.echo(path)


def _prompt() -> str | None:
    if not sys.stdin.isatty():
        return None
    given: str = click.prompt("Passphrase of the key", hide_input=True, err=True)
    return given
