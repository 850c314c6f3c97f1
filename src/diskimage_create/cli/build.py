"""``diskimage-create build``, the default command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from diskimage_create.cli import CONTEXT, options, report_error, report_option, stop_on_signals, version_option
from diskimage_create.cli.signing import sign_option, signer
from diskimage_create.errors import DiskImageError, InputError, Problem

if TYPE_CHECKING:
    from diskimage_create.farm import Job, Outcome
    from diskimage_create.farm.pool import Listener
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
@click.option(
    *("-j", "--jobs"),
    type=click.IntRange(min=1),
    metavar="N",
    help="Of several images, build so many at once.  [by cores and memory]",
)
@click.option(
    "--keep-going/--no-keep-going",
    default=True,
    help="Of several images, build the others when one has failed.  [--keep-going]",
)
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Build on the cluster of this Dask scheduler.")
@click.option("--artifacts", metavar="URL", help="Of --scheduler: the directory that gets the images.")
@report_option
@click.pass_context
def build(
    ctx: click.Context,
    /,
    no_validate: bool,
    keep_failed: bool,
    jobs: int | None,
    keep_going: bool,
    attest: bool,
    sign: str | None,
    prove: bool,
    refresh: bool,
    no_store: bool,
    offline: bool,
    max_age: str,
    why: bool,
    scheduler: str | None,
    artifacts: str | None,
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
    from diskimage_create.farm import Job
    from diskimage_create.prepare import prepare_all

    problems: list[Problem] = []
    trusted = options.age(ctx, "max_age", max_age, problems)
    if offline and (refresh or no_store):
        what, other = "--offline uses nothing but what is stored", "--refresh" if refresh else "--no-store"
        problems.append(Problem(f"{what}, and {other} nothing of it", other, "leave one of the two out"))
    problems += _cluster_problems(ctx, scheduler, artifacts, jobs, here=[attest, sign, report, keep_failed])
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
        then = _Then(after, report, subjects)
        if len(requests) == 1 and not scheduler:
            return _build_one(requests[0], plans[0], how, then)
        many = _Many(jobs, keep_going, (scheduler, artifacts) if scheduler and artifacts else None)
        return _build_all([Job(*each) for each in zip(requests, plans, strict=True)], how, then, many)


def _cluster_problems(
    ctx: click.Context, scheduler: str | None, artifacts: str | None, jobs: int | None, here: Iterable[object]
) -> Iterable[Problem]:
    """What is wrong with what is said of a cluster.

    :param here: options that need the images on this machine
    :raises HostError: a library is missing
    """
    if not scheduler:
        if artifacts:
            where = options.where(ctx, "artifacts")
            yield Problem("it says nothing without --scheduler", where, "-o and --output-directory say where images go")
        return
    if not artifacts:
        hint = "a URL that all workers reach, e.g. s3://images/nightly/"
        yield Problem("it needs --artifacts: the images stay on no worker", options.where(ctx, "scheduler"), hint)
        return
    from diskimage_create.farm import cluster

    if jobs:
        where = options.where(ctx, "jobs")
        yield Problem("it says nothing with --scheduler", where, "its workers say how many they build: worker --jobs")
    if any(here):
        hint = "fetch the images, then: attest, validate --report"
        yield Problem(
            "the images of a cluster are not on this machine", "--attest, --sign, --report, --keep-failed", hint
        )
    try:
        cluster.require(cluster.Cluster(scheduler, artifacts))
    except InputError as error:
        yield from error.problems


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


@dataclass(frozen=True)
class _Then:
    """What is done with finished images, and with those that could not be."""

    after: Callable[[Sequence[Artifact]], None] | None
    report: Sequence[Path]
    """Reports that will be written"""
    subjects: list[Subject]
    """What they say of each image"""

    def made(self, artifacts: Sequence[Artifact], at: str = "") -> None:
        """Images have their names.

        :param at: URL of the directory that they are in; empty where they are files of this machine
        """
        from diskimage_create import reports

        if self.after:
            self.after(artifacts)
        for artifact in artifacts:
            where = f"{at}{artifact.path.name}" if at else str(artifact.path)
            click.echo(f"{where}: {artifact.bytes / 1e6:.0f} MB, sha256 {artifact.sha256}", err=True)
            click.echo(where)
        if self.report:
            self.subjects.extend(reports.of_build(artifacts, content=reports.show_content(self.report)))


def _build_one(request: Request, plan: BuildPlan, how: BuildOptions, then: _Then) -> int:
    """Build in this process.

    :raises DiskImageError: it could not be built, or was rejected
    """
    from diskimage_create import pipeline, progress, reports

    how = replace(how, validate=how.validate and request.validate)
    try:
        with progress.display() as display:
            artifacts = pipeline.build(plan, request.host, display, how, partial(click.echo, err=True))
        then.made(artifacts)
    except DiskImageError as error:
        then.subjects.append(reports.of_failure(plan.spec, error))
        raise
    return 0


@dataclass(frozen=True)
class _Many:
    """How to go about many images."""

    at_once: int | None
    keep_going: bool
    cluster: tuple[str, str] | None
    """Address of a scheduler, and the URL where the images go"""


def _build_all(jobs: Sequence[Job], how: BuildOptions, then: _Then, many: _Many) -> int:
    """Build many images, some of them at the same time; returns the highest exit code."""
    from diskimage_create.farm import display

    started, outcomes = time.monotonic(), []
    with display.display(jobs) as shown:
        for outcome in _outcomes(jobs, how, many, shown.told):
            outcome = _finished(outcome, then)
            shown.ended(outcome)
            outcomes.append(outcome)
    if outcomes:
        click.echo(display.summary(outcomes, time.monotonic() - started), err=True)
    return max((outcome.error.exit_code for outcome in outcomes if outcome.error), default=0)


def _outcomes(jobs: Sequence[Job], how: BuildOptions, many: _Many, told: Listener) -> Iterator[Outcome]:
    if many.cluster:
        from diskimage_create.farm import cluster

        return cluster.build_all(jobs, how, cluster.Cluster(*many.cluster), told, keep_going=many.keep_going)
    from diskimage_create.farm import order, pool

    number, why_no_more = order.most_at_once(jobs, many.at_once)
    if why_no_more:
        click.echo(f"note: {why_no_more}", err=True)
    return pool.build_all(jobs, how, number, told, keep_going=many.keep_going)


def _finished(outcome: Outcome, then: _Then) -> Outcome:
    """Do with an image of many what is to be done with it."""
    from diskimage_create import reports

    spec = outcome.job.plan.spec
    try:
        if outcome.error:
            raise outcome.error
        then.made(outcome.artifacts, outcome.at)
        return outcome
    except DiskImageError as error:
        click.echo(f"image {outcome.job.name}", err=True)
        report_error(error)
        then.subjects.append(reports.of_failure(spec, error, outcome.seen))
        return replace(outcome, error=error)


def _attest(artifacts: Sequence[Artifact], signer: Signer | None) -> None:
    """Write what can be said of images beside them; one in a daemon has no files beside it."""
    from diskimage_create import provenance

    for artifact in artifacts:
        if artifact.path.is_file():
            provenance.attest(artifact.path, signer)
