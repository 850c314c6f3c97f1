"""``diskimage-create images pin`` and ``mirror``: overrides for what names images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from diskimage_create.cli import CONTEXT, stop_on_signals
from diskimage_create.cli.registry_options import access, registry_options

if TYPE_CHECKING:
    from diskimage_create.helm.mirroring import Plan
    from diskimage_create.helm.selecting import Override, Selection
    from diskimage_create.registries import Access

_LOCK = "images.lock.yaml"
#: Look-ups at a time: small questions, whose answers take a round trip each
_CONNECTIONS = 24
paths_argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
output_option = click.option(
    *("-o", "--output", "output"),
    type=click.Path(path_type=Path),
    metavar="FILE",
    allow_from_autoenv=False,
    help="Write the override there; - prints it.  [print it]",
)


@click.command(context_settings=CONTEXT)
@paths_argument
@output_option
@click.option(
    "--lock",
    type=click.Path(path_type=Path),
    metavar="FILE",
    allow_from_autoenv=False,
    help=f"Write down what was found, for --check.  [with -o: {_LOCK}]",
)
@click.option("--check", is_flag=True, help="Compare with the lock file, and write nothing.")
@click.option("--keep-going", is_flag=True, help="Write what could be found out, even if something could not.")
@click.option(
    "--by",
    default="digest",
    metavar="digest|label:TEMPLATE",
    help="Pin to what the tag is now, or to the tag that labels make.  [digest]",
)
@click.option(
    "--format",
    "reference_format",
    type=click.Choice(["tag", "digest"]),
    default="tag",
    allow_from_autoenv=False,
    help="name:tag@sha256:..., or name@sha256:... for tools that reject both.  [tag]",
)
@registry_options
def pin(
    paths: tuple[Path, ...],
    output: Path | None,
    lock: Path | None,
    check: bool,
    keep_going: bool,
    by: str,
    reference_format: str,
    **registry: Any,
) -> int:
    """Make an override in which every image has the digest that its tag has now.

    PATH is a file of values, a chart, a directory of charts, a TripleO environment file or a list. Nothing of it is
    changed. The override is laid out like the files; of several charts it has a section for each, as 'values split'
    takes it. Exits with 1 for tags that no registry knows, and with --check for what is not as the lock says.

    \b
    Examples:
      diskimage-create images pin heat/values.yaml -o heat-pinned.yaml --lock images.lock.yaml
      diskimage-create images pin ./openstack-helm --check
      diskimage-create images pin values.yaml --by 'label:{version}-{release}'
    """
    from diskimage_create.helm import pinning, selecting
    from diskimage_create.registries import Registries

    digest_only = reference_format == "digest"
    template = pinning.template_of(by, digest_only=digest_only)
    selection = selecting.select(paths)
    known = pinning.read_lock(lock or Path(_LOCK)) if check else {}
    output = _file(output)
    lock = lock or (Path(_LOCK) if output else None)
    if not check:
        selecting.check_outputs(selection, {"--output": output, "--lock": lock})
    stop_on_signals("nothing is written")
    with Registries(access(registry), _CONNECTIONS) as registries:
        looked = pinning.look_up(selection.uses(), registries, template)
    error = looked.error(selection)
    if check:
        return _tell_drift(list(pinning.drift(known, looked, selection)), error, len(looked.pins))
    if error and not keep_going:
        raise error
    override = pinning.override(looked, selection, digest_only=digest_only)
    _put(pinning.override_text(override), output)
    if lock:
        _put(pinning.lock_text(looked.pins), lock, "--lock")
    _tell(selection, override)
    if error:
        raise error
    return 0


@click.command(context_settings=CONTEXT)
@paths_argument
@click.option(
    "--to",
    required=True,
    metavar="HOST[:PORT][/NS]",
    help="Copy the images there.",
)
@click.option(
    "--layout",
    type=click.Choice(["keep-host", "strip-host"]),
    default="keep-host",
    help="Whether the source's registry is a part of the new name.  [keep-host]",
)
@click.option(
    "--emit",
    "form",
    type=click.Choice(["helm", "tripleo-env", "skopeo-sync"]),
    default="helm",
    help="What to write: an override of values, a TripleO environment file, or the list for 'skopeo sync'.  [helm]",
)
@output_option
@click.option("--respect-exclude", is_flag=True, help="Leave out what local_registry.exclude of a chart names.")
@click.option("--jobs", type=click.IntRange(1, 64), default=4, metavar="NUMBER", help="Copies at a time.  [4]")
@click.option("--dry-run", is_flag=True, help="Say what would be copied, and print what would be written.")
@registry_options
def mirror(
    paths: tuple[Path, ...],
    to: str,
    layout: str,
    form: str,
    output: Path | None,
    respect_exclude: bool,
    jobs: int,
    dry_run: bool,
    **registry: Any,
) -> int:
    """Copy images into a registry, and make an override that takes them from there.

    All architectures are copied, and digests stay what they are. Images that are there already are left alone, and so
    are names that begin with the registry's. The override is written when everything has been copied. Exits with 1
    for images that an override cannot replace, with 6 where a copy failed.

    \b
    Examples:
      diskimage-create images mirror heat/values.yaml --to registry.example.com:5000 -o heat-mirror.yaml
      diskimage-create images mirror ./openstack-helm --to registry.example.com/osh --layout strip-host --dry-run
    """
    from diskimage_create.errors import Findings
    from diskimage_create.helm import mirroring, selecting

    selection = selecting.select(paths)
    output = None if dry_run else _file(output)
    selecting.check_outputs(selection, {"--output": output})
    allowed = access(registry)
    target = mirroring.target(to, keep_host=layout == "keep-host")
    plan = mirroring.plan(selection, target, respect_exclude=respect_exclude)
    emitted = mirroring.emit(selection, plan, target, mirroring.Emit(form), allowed.insecure)
    if dry_run:
        for move in plan.moves:
            click.echo(f"would copy {move.source} to {move.destination}", err=True)
    else:
        _copy(plan, allowed, jobs)
    _put(emitted.text, output)
    _tell_rest(selection, emitted.override)
    if emitted.left:
        raise Findings(mirroring.unpatched(emitted.left, plan.names))
    return 0


def _copy(plan: Plan, allowed: Access, jobs: int) -> None:
    from collections import Counter

    from diskimage_create.findings import counted
    from diskimage_create.helm import mirroring
    from diskimage_create.progress import transfers
    from diskimage_create.registries import Registries

    stop_on_signals("no override is written, and what was copied stays")
    with Registries(allowed) as registries, transfers(len(plan.moves)) as display:
        copied = mirroring.copy(plan, registries, jobs, display)
    counts = Counter(str(each.status) for each in copied)
    click.echo(f"{counted(counts['copied'], 'image')} copied, {counts['present']} were there already", err=True)


def _tell_drift(lines: list[str], error: Exception | None, checked: int) -> int:
    from diskimage_create.findings import counted

    for line in lines:
        click.echo(line)
    click.echo(f"{counted(checked, 'image')} looked up, {len(lines)} not as in the lock", err=True)
    if error:
        raise error
    return 1 if lines else 0


def _file(output: Path | None) -> Path | None:
    """The file to write; None for ``-``, standard output."""
    return None if output == Path("-") else output


def _put(text: str, output: Path | None, option: str = "--output") -> None:
    """Print it, or write a file that is never there half-written."""
    from diskimage_create.files import write

    if output is None:
        click.echo(text, nl=False)
        return
    write(output, text, option)
    click.echo(f"wrote {output}", err=True)


def _tell(selection: Selection, override: Override) -> None:
    """What is not in the override, and why."""
    from diskimage_create.helm.selecting import key, where

    for image in override.left:
        reason = "an override cannot replace what is in a list or a template"
        click.echo(f"note: {key(image)} ({where(image)}) stays {image.text}: {reason}", err=True)
    _tell_rest(selection, override)


def _tell_rest(selection: Selection, override: Override) -> None:
    """Images that nobody can look up, and files that were not counted."""
    from diskimage_create.helm.selecting import key, where

    for image in selection.unfinished:
        click.echo(f"note: {key(image)} ({where(image)}) stays {image.text}: a part of it is filled in later", err=True)
    if override.alternatives:
        more = f" and {len(override.alternatives) - 1} more" if len(override.alternatives) > 1 else ""
        click.echo(
            f"note: not in the override: {override.alternatives[0]}{more}; name a file to have it there", err=True
        )
