"""``diskimage-create build``, the default command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from diskimage_create.cli import CONTEXT, options, report_error, report_option, stop_on_signals, version_option
from diskimage_create.cli.signing import sign_option, signer
from diskimage_create.errors import DiskImageError, InputError, Interrupted, Problem

if TYPE_CHECKING:
    from diskimage_create.model import Artifact, BuildPlan
    from diskimage_create.pipeline import BuildOptions
    from diskimage_create.provenance.signing import Signer
    from diskimage_create.reports import Subject
    from diskimage_create.request import Request


@click.command(context_settings=CONTEXT)
@options.image_options
@version_option
@click.option("--no-validate", is_flag=True, help="Do not check the image.")
@click.option("--attest", is_flag=True, help="Leave SBOMs, provenance and SHA256SUMS beside it.")
@sign_option
@click.option("--prove", is_flag=True, help="Boot it before it gets its name; an amphora under traffic.")
@click.option("--refresh", is_flag=True, help="Use nothing that is stored.")
@click.option("--no-store", is_flag=True, help="Use nothing that is stored, and store nothing.")
@click.option("--offline", is_flag=True, help="Use what is stored without asking the network whether it still fits.")
@click.option("--max-age", metavar="AGE", default="24h", help="How long to trust what cannot be known.  [24h]")
@click.option("--why", is_flag=True, help="Say all that differs from what is stored.")
@click.option("--keep-failed", is_flag=True, help="Keep a rejected image as X.failed.")
@report_option
@click.pass_context
def build(
    ctx: click.Context,
    /,
    no_validate: bool,
    keep_failed: bool,
    attest: bool,
    sign: str | None,
    prove: bool,
    refresh: bool,
    no_store: bool,
    offline: bool,
    max_age: str,
    why: bool,
    report: tuple[Path, ...],
    **image: Any,
) -> int:
    """Plan, build, check and record images.

    Leaves X.qcow2 (or other types), its record X.qcow2.json, X.qcow2.sha256 and the log X.log.
    Nothing gets its final name before it was found good. Every option can be set as
    DISKIMAGE_CREATE_<LONG_NAME>; options win over the environment, the environment over the profile.

    \b
    Examples:
      diskimage-create -i debian
      diskimage-create -i debian -d bookworm -s 3 -t qcow2,tar -o /srv/images/amphora
      diskimage-create --config images.yaml --config site.yaml --output-directory /srv/images
      diskimage-create --matrix os=debian,ubuntu release=trixie,noble arch=amd64,arm64
    """
    from diskimage_create import pipeline, reports
    from diskimage_create.prepare import prepare_all

    problems: list[Problem] = []
    trusted = options.age(ctx, "max_age", max_age, problems)
    if offline and (refresh or no_store):
        what, other = "--offline uses nothing but what is stored", "--refresh" if refresh else "--no-store"
        problems.append(Problem(f"{what}, and {other} nothing of it", other, "leave one of the two out"))
    how = pipeline.BuildOptions(
        validate=not no_validate,
        keep_failed=keep_failed,
        refresh=refresh or no_store,
        keep=not no_store,
        offline=offline,
        max_age=trusted,
        why=why,
        prove=prove,
    )
    requests = options.requests(ctx, image, problems)
    plans = prepare_all(requests, to_build=True, problems=problems)
    if prove:
        _refuse_unbootable(plans)
    after = partial(_attest, signer=signer(sign)) if attest or sign else None
    for note in dict.fromkeys(note for plan in plans for note in plan.notes):
        click.echo(f"note: {note}", err=True)
    stop_on_signals()
    keep = [path for plan in plans for path in reports.made_by(plan.spec)]
    with reports.collected(report, keep) as subjects:
        return _build_all(zip(requests, plans, strict=True), how, after, report, subjects)


def _refuse_unbootable(plans: Iterable[BuildPlan]) -> None:
    """Refuse to prove what cannot be booted.

    :raises InputError: names every such image
    """
    from diskimage_create.boot import DRIVERS

    problems = [
        Problem(f"{plan.spec.output.name}: {', '.join(plan.spec.types)} does not boot by itself", "--prove", hint)
        for plan in plans
        if not set(DRIVERS) & set(plan.spec.types)
        for hint in (f"build {', '.join(DRIVERS)} too, or leave --prove out",)
    ]
    if problems:
        raise InputError(problems)


def _build_all(
    jobs: Iterable[tuple[Request, BuildPlan]],
    how: BuildOptions,
    after: Callable[[list[Artifact]], None] | None,
    report: Sequence[Path],
    subjects: list[Subject],
) -> int:
    """Build one image after the other; returns the exit code of the first that could not be built.

    :param after: what is done with the finished ones
    :param report: reports that will be written
    :param subjects: gets what they say of each image
    """
    from diskimage_create import reports
    from diskimage_create.prepare import prepare

    status = 0
    for number, (request, plan) in enumerate(jobs):
        if request.places:
            click.echo(f"image {plan.spec.output.name}", err=True)
        try:
            if number:  # the images before it took their time, and it may be made of one of them
                plan = prepare(request, to_build=True)
            artifacts = _build_one(request, plan, how)
            if after:
                after(artifacts)
        except DiskImageError as error:
            if isinstance(error, Interrupted):
                raise
            subjects.append(reports.of_failure(plan.spec, error))
            # What another image is made of may be all right.
            if not request.places:
                raise
            code = report_error(error)
            status = status or code
            continue
        for artifact in artifacts:
            click.echo(f"{artifact.path}: {artifact.bytes / 1e6:.0f} MB, sha256 {artifact.sha256}", err=True)
            click.echo(artifact.path)
        if report:
            subjects += reports.of_build(artifacts, content=reports.show_content(report))
    return status


def _build_one(request: Request, plan: BuildPlan, how: BuildOptions) -> list[Artifact]:
    from diskimage_create import pipeline, progress

    with progress.display() as display:
        options = replace(how, validate=how.validate and request.validate)
        return pipeline.build(plan, request.host, display, options, partial(click.echo, err=True))


def _attest(artifacts: Iterable[Artifact], signer: Signer | None) -> None:
    """Write what can be said of images beside them; one in a daemon has no files beside it."""
    from diskimage_create import provenance

    for artifact in artifacts:
        if artifact.path.is_file():
            provenance.attest(artifact.path, signer)
