"""``diskimage-create cache``: what builds have stored."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from diskimage_create.cli import CONTEXT, format_option
from diskimage_create.cli.options import age, where
from diskimage_create.errors import InputError, Problem

if TYPE_CHECKING:
    from diskimage_create.store import Store
    from diskimage_create.store.pruning import Limits

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


@cache.command("list", context_settings=CONTEXT)
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
        click.echo(json.dumps(pruning.list_as_json(entries), indent=1))
        return
    for entry in entries:
        click.echo(pruning.as_text(entry))
    count = f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"
    click.echo(f"{count}, {sum(entry.bytes for entry in entries) / 1e6:.0f} MB", err=True)


@cache.command(context_settings=CONTEXT)
@cache_dir_option
@click.option("--keep-last", metavar="N", help="Keep the N of each kind that were used last.")
@click.option("--max-size", metavar="SIZE", help="Remove what was not used for longest, e.g. down to 20G (2^30 bytes).")
@click.option("--older-than", metavar="AGE", help="Remove what was not used for so long, e.g. 30d.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.pass_context
def prune(
    ctx: click.Context,
    cache_dir: str,
    keep_last: str | None,
    max_size: str | None,
    older_than: str | None,
    dry_run: bool,
) -> None:
    """Remove what is stored, and what cannot be read of it. What a build is using now stays.

    \b
    Example:
      diskimage-create cache prune --keep-last 3 --max-size 20G --older-than 30d
    """
    from diskimage_create.store import pruning

    limits = _limits(ctx, keep_last, max_size, older_than)
    store = _store(cache_dir)
    for path in store.unreadable():
        if dry_run or store.remove_damaged(path):
            click.echo(f"{'' if dry_run else 'removed '}{_unreadable(path)}")
    for entry in pruning.superfluous(store.entries(), limits):
        if dry_run:
            click.echo(pruning.as_text(entry))
        elif store.remove(entry):
            click.echo(f"removed {pruning.as_text(entry)}")
        elif entry.path.exists():
            click.echo(f"in use  {pruning.as_text(entry)}")
    if not dry_run and store.path.is_dir():
        store.sweep()


@cache.command(context_settings=CONTEXT)
@cache_dir_option
@click.option("--remove", is_flag=True, help="Remove what is damaged.")
def verify(cache_dir: str, remove: bool) -> int:
    """Compare everything that is stored with its checksums.

    Exit code 1: something is damaged. A build removes such a thing by itself when it comes upon it.

    \b
    Example:
      diskimage-create cache verify
    """
    from diskimage_create.store import pruning

    store = _store(cache_dir)
    damaged = store.unreadable()
    for path in damaged:
        click.echo(f"damaged {_unreadable(path)}")
    for entry in store.entries():
        names = store.verify(entry)
        if names:
            damaged.append(entry.path)
        click.echo(f"{'damaged' if names else 'intact '} {pruning.as_text(entry)} {' '.join(names)}".rstrip())
    if remove:
        for path in damaged:
            store.remove_damaged(path)
    return 1 if damaged else 0


def _store(cache_dir: str) -> Store:
    from diskimage_create.store import Store

    return Store(Path(cache_dir).expanduser().absolute())


def _unreadable(path: Path) -> str:
    """A damaged entry on one line: nothing can be said of it but its name."""
    step, _, identity = path.name.rpartition("-")
    return f"{identity[:12]}  {'its manifest cannot be read':<29}  {step}"


def _limits(ctx: click.Context, keep_last: str | None, max_size: str | None, older_than: str | None) -> Limits:
    """The limits that were given; all that is wrong with them at once."""
    from diskimage_create.store.pruning import Limits

    problems: list[Problem] = []
    if keep_last is None and max_size is None and older_than is None:
        hint = "--keep-last N, --max-size SIZE or --older-than AGE"
        problems.append(Problem("nothing says what to remove", "cache prune", hint))
    if keep_last is not None and not re.fullmatch(r"[0-9]{1,6}", keep_last):
        problems.append(Problem(f"{keep_last!r} is not a whole number", where(ctx, "keep_last"), "e.g. --keep-last 3"))
    size = re.fullmatch(r"([0-9]{1,12})([KMGT]?)B?", max_size) if max_size is not None else None
    if max_size is not None and size is None:
        problems.append(Problem(f"{max_size!r} is no size", where(ctx, "max_size"), "e.g. --max-size 20G"))
    unused = age(ctx, "older_than", older_than, problems) if older_than is not None else None
    if problems:
        raise InputError(problems)
    return Limits(
        keep_last=int(keep_last) if keep_last is not None else None,
        max_bytes=int(size[1]) * _SIZES[size[2]] if size else None,
        unused=unused,
    )
