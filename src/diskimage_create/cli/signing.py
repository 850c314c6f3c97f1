"""The option of commands that sign."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from diskimage_create.provenance.signing import Signer

sign_option = click.option(
    "--sign", metavar="KEY", help="Sign with this secret key: a file of minisign's or PEM, or gpg:KEY."
)


def signer(sign: str | None) -> Signer | None:
    """What signs with a key; its passphrase is asked for where no variable has it.

    :raises InputError: it is no such key, or the passphrase is not its own
    """
    from diskimage_create.provenance import signing

    return signing.load(sign, signing.passphrase(os.environ, _prompt)) if sign is not None else None


def _prompt() -> str | None:
    if not sys.stdin.isatty():
        return None
    given: str = click.prompt("Passphrase of the key", hide_input=True, err=True)
    return given
