"""``diskimage-create cache``: what builds have stored."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from diskimage_create.cli import format_option
from diskimage_create.cli.options import CONTEXT, age
from diskimage_create.errors import InputError, Problem

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

cache_dir_option = click.option(
    "-c",
    "--cache-dir",
    metavar="DIR",
    default="~/.cache/image-create",
    help="Cache directory.  [~/.cache/image-create]",
)


@click.group(context_settings=CONTEXT)
def cache() -> None:
    """List, remove and verify what builds have stored: stages, and finished images.

    \b
    Examples:
      diskimage-create cache list
      diskimage-create cache prune --keep-last 3 --max-size 20G
    """


@cache.command("list")
@cache_dir_option
@format_option
def list_entries(cache_dir: str, output_format: str) -> None:
    """Show what is stored, the newest first.

    \b
    Example:
      diskimage-create cache list --format json
    """
    from diskimage_create.store import pruning

    entries = _store(cache_dir).entries()
    if output_format == "json":
        click.echo(json.dumps({"schema": 1, "entries": [pruning.as_json(entry) for entry in entries]}, indent=1))
        return
    for entry in entries:
        click.echo(pruning.as_text(entry))
    click.echo(f"{len(entries)} entries, {sum(entry.bytes for entry in entries) / 1e6:.0f} MB", err=True)


@cache.command()
@cache_dir_option
@click.option("--keep-last", metavar="N", help="Keep the N newest of each kind.")
@click.option("--max-size", metavar="SIZE", help="Remove what was not used for longest, e.g. down to 20G.")
@click.option("--older-than", metavar="AGE", help="Remove what was not used for so long, e.g. 30d.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
def prune(cache_dir: str, keep_last: str | None, max_size: str | None, older_than: str | None, dry_run: bool) -> None:
    """Remove what is stored. What a build is using now stays.

    \b
    Example:
      diskimage-create cache prune --keep-last 3 --max-size 20G --older-than 30d
    """
    from diskimage_create.store import pruning

    limits = _limits(keep_last, max_size, older_than)
    store = _store(cache_dir)
    for entry in pruning.superfluous(store.entries(), limits):
        if dry_run:
            click.echo(pruning.as_text(entry))
        elif store.remove(entry):
            click.echo(f"removed {pruning.as_text(entry)}")
        else:
            click.echo(f"in use  {pruning.as_text(entry)}")
    if not dry_run and store.path.is_dir():
        store.sweep()


@cache.command()
@cache_dir_option
@click.option("--remove", is_flag=True, help="Remove what is damaged.")
def verify(cache_dir: str, remove: bool) -> int:
    """Compare everything that is stored with its checksums.

    Exit code 1: something is damaged. A build removes such a thing by itself when it comes upon it.

    \b
    Example:
      diskimage-create cache verify
    """
    from diskimage_create.store import damaged, pruning

    store = _store(cache_dir)
    found = 0
    for entry in store.entries():
        names = damaged(entry)
        found += bool(names)
        click.echo(f"{'damaged' if names else 'intact '} {pruning.as_text(entry)} {' '.join(names)}".rstrip())
        if names and remove:
            store.remove(entry)
    return 1 if found else 0


def _store(cache_dir: str) -> Any:
    from diskimage_create.store import Store

    return Store(Path(cache_dir).expanduser().absolute())


def _limits(keep_last: str | None, max_size: str | None, older_than: str | None) -> Any:
    """All that is wrong with the three at once."""
    from diskimage_create.store.pruning import Limits

    problems: list[Problem] = []
    if keep_last is None and max_size is None and older_than is None:
        hint = "--keep-last N, --max-size SIZE or --older-than AGE"
        problems.append(Problem("nothing says what to remove", "cache prune", hint))
    if keep_last is not None and not re.fullmatch(r"[0-9]{1,6}", keep_last):
        problems.append(Problem(f"{keep_last!r} is not a whole number", "--keep-last", "e.g. --keep-last 3"))
    size = re.fullmatch(r"([0-9]{1,12})([KMGT]?)B?", max_size) if max_size is not None else None
    if max_size is not None and size is None:
        problems.append(Problem(f"{max_size!r} is no size", "--max-size", "e.g. --max-size 20G"))
    try:
        unused = age("--older-than", older_than) if older_than is not None else None
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return Limits(
        keep_last=int(keep_last) if keep_last is not None else None,
        max_bytes=int(size[1]) * _SIZES[size[2]] if size else None,
        unused=unused,
    )
