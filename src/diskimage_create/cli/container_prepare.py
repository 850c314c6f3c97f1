"""``diskimage-create container image prepare``: from environment files to images."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from diskimage_create.cli import CONTEXT, format_option, stop_on_signals
from diskimage_create.cli.registry_options import access, registry_options

if TYPE_CHECKING:
    from diskimage_create.containers.environment import Section
    from diskimage_create.containers.prepare import Resolved
    from diskimage_create.errors import Problem
    from diskimage_create.registries.copying import Copied

_FILE = click.Path(path_type=Path)
_HEAD = "Written by 'diskimage-create container image prepare'"
_PREFIX = "Container"
#: Small questions to registries at a time, whose answers take a round trip each
_CONNECTIONS = 16

defaults_option = click.option(
    "--defaults", type=_FILE, metavar="FILE", help="Defaults in the place of tripleo-common's."
)
output_option = click.option(
    "--output-env-file",
    type=_FILE,
    metavar="FILE",
    callback=lambda _ctx, _param, path: None if path == Path("-") else path,  # printed, as without the option
    help="Write them there; what is there is kept as FILE.backup.",
)


@click.group(context_settings=CONTEXT, invoke_without_command=True)
@click.option(
    *("-e", "--environment-file"),
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="A Heat environment file; can be repeated, and the later one wins.",
)
@click.option(
    "--environment-directory",
    multiple=True,
    type=_FILE,
    metavar="DIR",
    help="All *.yaml of it come before the files; can be repeated.",
)
@click.option("-r", "--roles-file", type=_FILE, metavar="FILE", help="Only images of services that its roles run.")
@output_option
@click.option("--dry-run", is_flag=True, help="Find everything out, and copy nothing.")
@click.option("--jobs", type=click.IntRange(1, 64), default=4, metavar="NUMBER", help="Images at a time.  [4]")
@click.option(
    "--cleanup",
    type=click.Choice(["full", "partial", "none"]),
    default="full",
    help="Of changed images, remove from this host: all, what they were made of, nothing.  [full]",
)
@click.option("--report", type=_FILE, metavar="FILE", help="Write down what became of each image (JSON).")
@click.option("--parameter-prefix", default=_PREFIX, metavar="TEXT", help=f"Docker: names of old.  [{_PREFIX}]")
@defaults_option
@click.option("--template", type=_FILE, metavar="FILE", help="A table of images in the place of tripleo-common's.")
@registry_options
@format_option
@click.pass_context
def prepare(
    ctx: click.Context,
    /,
    environment_file: tuple[Path, ...],
    environment_directory: tuple[Path, ...],
    roles_file: Path | None,
    output_env_file: Path | None,
    dry_run: bool,
    jobs: int,
    cleanup: Any,
    report: Path | None,
    parameter_prefix: str,
    defaults: Path | None,
    template: Path | None,
    output_format: str,
    **registry: Any,
) -> None:
    """Find a TripleO deployment's images, copy and change them as ContainerImagePrepare says, and tell Heat of them.

    Prints the parameters, or with --format json what became of each image. Nothing is written unless every image is
    where nodes pull it: exit code 6 otherwise. docs/container-images.md explains the entries.

    \b
    Examples:
      diskimage-create container image prepare default --local-push-destination --output-env-file prepare.yaml
      diskimage-create container image prepare -e prepare.yaml --dry-run
      diskimage-create container image prepare -e prepare.yaml -r roles_data.yaml --output-env-file images.yaml
    """
    if ctx.invoked_subcommand:
        _refuse_options(ctx)
        return
    from diskimage_create.containers import deployment as deployments
    from diskimage_create.containers import prepare as preparing

    given = deployments.Given(environment_file, environment_directory, roles_file, defaults, template)
    inputs = [*environment_file, *(path for path in (roles_file, defaults, template) if path)]
    with _all_problems(_unwritable(output_env_file, report, inputs), _unnameable(parameter_prefix)):
        deployment = deployments.read(given, access(registry), time.localtime())
    stop_on_signals("no environment file is written, and what was brought stays")
    _tell_all(f"note: {note}" for note in deployment.notes)
    with preparing.resolve(deployment, _CONNECTIONS) as resolved:
        _tell_all(f"note: {note}" for note in resolved.notes)
        outcomes = preparing.not_brought(resolved) if dry_run else preparing.bring(resolved, jobs, cleanup, _tell)
    notes = [*deployment.notes, *resolved.notes]
    _report(resolved, outcomes, notes, report, output_format == "json")
    preparing.require_success(resolved.images, outcomes)
    sections = preparing.sections(deployment, resolved, parameter_prefix)
    if output_env_file or output_format == "text":
        _put(sections, output_env_file, output_format == "text")


def _refuse_options(ctx: click.Context) -> None:
    """Options before 'default' are of 'prepare', and would do nothing."""
    given = [
        parameter.opts[-1]
        for parameter in ctx.command.params
        if parameter.name and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)}: options of 'default' come after it", ctx)


@contextmanager
def _all_problems(*found: Iterable[Problem]) -> Iterator[None]:
    """Complain before anything is copied: of what was found here, and of what is found in the block."""
    from diskimage_create.errors import InputError

    problems = [problem for each in found for problem in each]
    try:
        yield
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)


def _unwritable(output: Path | None, report: Path | None, inputs: Sequence[Path] = ()) -> Iterator[Problem]:
    """Why files cannot be written; and what is read must not be written over."""
    from diskimage_create import files
    from diskimage_create.errors import InputError, Problem

    read = {path.resolve() for path in inputs}
    for path, option in ((output, "--output-env-file"), (report, "--report")):
        if path is None:
            continue
        try:
            files.refuse_unwritable(path, option)
        except InputError as error:
            yield from error.problems
        if path.resolve() in read:
            yield Problem(f"{path} is what is read", option, "name another file")
    if output and os.path.isdir(files.backup_of(output)):
        yield Problem(f"{files.backup_of(output)} is a directory", "--output-env-file", "name another file")
    if output and report and report.resolve() in (output.resolve(), files.backup_of(output).resolve()):
        yield Problem("it is what --output-env-file writes, too", "--report", "name another file")


def _unnameable(prefix: str) -> Iterator[Problem]:
    from diskimage_create.errors import Problem

    if not (prefix.isascii() and prefix.isidentifier()):
        yield Problem(f"{prefix!r} cannot begin a parameter's name", "--parameter-prefix")


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _tell_all(lines: Iterable[str]) -> None:
    for line in lines:
        _tell(line)


def _report(
    resolved: Resolved, outcomes: Sequence[Copied], notes: Sequence[str], file: Path | None, printed: bool
) -> None:
    """What became of each image, whether that is good or not."""
    from diskimage_create import files
    from diskimage_create.containers import report

    text = json.dumps(report.as_json(resolved.images, outcomes, notes), indent=1)
    if file:
        files.write(file, f"{text}\n", "--report")
    if printed:
        click.echo(text)
    _tell(report.summary(outcomes))


def _put(sections: Sequence[Section], output: Path | None, printed: bool) -> None:
    """Write the parameters, or print those that anybody may see."""
    from diskimage_create.containers import environment

    if output:
        kept = environment.write(output, sections, _HEAD, "--output-env-file")
        _tell(f"wrote {output}{f', and kept what was there as {kept}' if kept else ''}")
    elif printed:
        click.echo(environment.as_yaml([section for section in sections if not section.secret], _HEAD), nl=False)
        if any(section.secret for section in sections):
            _tell("note: the credentials of Ceph's registry are only written with --output-env-file")


@prepare.command("default", context_settings=CONTEXT)
@click.option("--local-push-destination", is_flag=True, help="Copy images to the undercloud's registry.")
@click.option("--enable-registry-login", is_flag=True, help="Nodes log in to registries before they pull.")
@output_option
@defaults_option
def default(
    local_push_destination: bool, enable_registry_login: bool, output_env_file: Path | None, defaults: Path | None
) -> None:
    """Print a ContainerImagePrepare with the defaults, to change and to give to 'prepare -e'.

    \b
    Examples:
      diskimage-create container image prepare default --output-env-file containers-prepare-parameters.yaml
      diskimage-create container image prepare default --local-push-destination
    """
    from diskimage_create.containers import environment
    from diskimage_create.containers.defaults import sections

    with _all_problems(_unwritable(output_env_file, None, [defaults] if defaults else [])):
        shown = sections(defaults, local=local_push_destination, login=enable_registry_login)
    click.echo(environment.as_yaml(shown), nl=False)
    if output_env_file:
        _put(shown, output_env_file, printed=False)
