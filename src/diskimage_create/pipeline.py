"""From a request to finished images: the module to read first.

    Request -> prepare.prepare -> BuildPlan -> build -> images under their final names, each with its record

Nothing gets its final name before all of it was built, converted and found good.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from diskimage_create import build as builds
from diskimage_create import docker, process, profiles, record, requirements, validate
from diskimage_create import plan as plans
from diskimage_create.certificates import fingerprints, marks
from diskimage_create.convert import convert
from diskimage_create.dated import resolve_snapshot
from diskimage_create.errors import DiskImageError, ImageRejected
from diskimage_create.host import HostFacts
from diskimage_create.model import Artifact, BuildPlan, Expectation, PhaseTiming, Report, Status
from diskimage_create.progress import Display, Tracker, load_history, save_history
from diskimage_create.validate.image import ImageView, Unavailable, open_image
from diskimage_create.validate.inventory import package_versions
from diskimage_create.workspace import Workspace, workspace


@dataclass(frozen=True)
class BuildOptions:
    """How to go about a build, as opposed to what to build."""

    validate: bool = True
    keep_failed: bool = False


@dataclass(frozen=True)
class Finished:
    """An image that is built and checked, but has not got its final name yet."""

    type: str
    path: Path
    report: Report | None


def build(plan: BuildPlan, host: HostFacts, display: Display, options: BuildOptions) -> list[Artifact]:
    """Build, check and record the images of a plan; returns what was made.

    :raises HostError: this host cannot build it
    :raises RemoteError: the archives have no snapshot of the time that was asked for
    :raises BuildError: diskimage-builder failed
    :raises ImageRejected: it built something, but not what was asked for
    """
    spec = plan.spec
    parent = spec.work_dir or Path(tempfile.gettempdir())
    requirements.require(plan, host, parent)
    plan = resolve_snapshot(plan)
    spec.cache_dir.mkdir(parents=True, exist_ok=True)
    history = spec.cache_dir / "timings" / f"{spec.profile}-{spec.os}-{spec.release}-{spec.arch}.json"
    tracker = Tracker(display, load_history(history))
    expected = _expectation(plan, host)
    started, clock = datetime.now(UTC), time.monotonic()
    with ExitStack() as stack:
        work = stack.enter_context(workspace(parent))
        log = stack.enter_context(builds.build_log(spec))
        raw = builds.run_build(plan, work, tracker, log)
        view = stack.enter_context(open_image(raw, workspace=work.path))
        finished = _finish(view, plan, work, expected, tracker, options)
        packages, tools = package_versions(view), _tool_versions()
        artifacts = [_measured(image, plan) for image in finished]
        total = PhaseTiming("total", "", time.monotonic() - clock)
        named: list[tuple[Path, Path]] = []
        for image, artifact in zip(finished, artifacts, strict=True):
            made = record.make(
                plan,
                [artifact, *(other for other in artifacts if other is not artifact)],
                image.report,
                packages=packages,
                timings=[*tracker.timings, total],
                expectation=validate.to_json(expected),
                tools=tools,
                started=started,
            )
            if image.type != "docker":
                named.append((image.path, artifact.path))
            for path, text in record.texts_beside(artifact, made):
                partial = work.partial_file(path)
                partial.write_text(text, encoding="utf-8")
                named.append((partial, path))
        # All is on the disk now. What follows needs no space, and takes no time to be killed in.
        for partial, path in named:
            partial.replace(path)
    save_history(history, tracker.timings)
    return artifacts


def _expectation(plan: BuildPlan, host: HostFacts) -> Expectation:
    """What the image must be, and what of this host it must not hold."""
    lent = host.ca_certificates if "DISKIMAGE_CREATE_CA_BUNDLE" in plan.environment else ()
    return replace(
        plans.expectation(plan, profiles.load(plan.spec.profile)),
        secrets=builds.secrets(plan) | builds.lent(plan, host) | marks(lent),
        lent_certificates=fingerprints(lent),
    )


def _finish(
    view: ImageView,
    plan: BuildPlan,
    work: Workspace,
    expected: Expectation,
    tracker: Tracker,
    options: BuildOptions,
) -> list[Finished]:
    """Check the raw image with all its content, make every type of it, and check those too."""
    spec = plan.spec
    content: Report | None = None
    if options.validate:
        with tracker.step("validate", "content"):
            content = validate.validate_view(view, expected, deep=True)
        if not content.ok:
            raise _rejected(view, plan, work, content, options)
    finished = []
    for image_type in spec.types:
        target = work.partial_file(spec.path_of(image_type))
        with tracker.step("convert", image_type):
            convert(view.path, image_type, target, spec, view.root.path)
        report = content
        if content is not None:
            with tracker.step("validate", image_type):
                report = _final_report(target, spec.path_of(image_type), expected, content)
            if not report.ok:
                raise _rejected(view, plan, work, report, options)
        finished.append(Finished(image_type, target, report))
    return finished


def _final_report(partial: Path, final: Path, expected: Expectation, content: Report) -> Report:
    """The checks of the finished file, completed by those that need all content and ran on the raw image."""
    report = validate.validate(partial, expected)
    deep = {finding.id: finding for finding in content.findings}
    findings = tuple(
        deep.get(finding.id, finding) if finding.status is Status.SKIP else finding for finding in report.findings
    )
    return Report(final, findings, report.seconds + content.seconds)


def _rejected(
    view: ImageView, plan: BuildPlan, work: Workspace, report: Report, options: BuildOptions
) -> ImageRejected:
    hint = "--keep-failed keeps the image for a look"
    if options.keep_failed:
        image_type = plan.spec.types[0]
        final = plan.spec.path_of(image_type)
        kept = final.with_name(f"{final.name}.failed")
        half = work.partial_file(kept)
        try:
            convert(view.path, image_type, half, plan.spec, view.root.path)
            half.replace(kept)
            hint = f"the image is kept as {kept}"
        except (DiskImageError, OSError, Unavailable) as error:  # why it was rejected matters more
            hint = f"the image could not be kept: {error}"
    return ImageRejected(_why(report), hint)


def _why(report: Report) -> str:
    failed = [finding for finding in report.findings if finding.status is Status.FAIL]
    lines = [f"  {finding.id}: {finding.message}" for finding in failed]
    return "\n".join([f"the image failed {len(failed)} of {len(report.findings)} checks", *lines])


def _measured(image: Finished, plan: BuildPlan) -> Artifact:
    """A finished image as its record tells of it; docker gets its image already here, to say its digest."""
    final = plan.spec.path_of(image.type)
    size = image.path.stat().st_size
    if image.type == "docker":
        assert plan.spec.docker_target is not None
        digest = docker.import_archive(image.path, plan.spec.docker_target)
        image.path.unlink()
    else:
        digest = record.sha256(image.path)
    return Artifact(image.type, final, digest, size)


def _tool_versions() -> Mapping[str, str]:
    """What the image was built with, for its record."""
    commands: Sequence[Sequence[str]] = (
        ("mmdebstrap", "--version"),
        ("debootstrap", "--version"),
        ("qemu-img", "--version"),
    )
    found = {name: version(name) for name in ("diskimage-create", "diskimage-builder", "uv")}
    for command in commands:
        if process.which(command[0]):
            found[command[0]] = process.run(command).stdout.partition("\n")[0].removeprefix(command[0]).strip()
    return found
