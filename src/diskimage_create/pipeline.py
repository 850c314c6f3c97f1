"""From a request to finished images: the module to read first.

    Request -> prepare.prepare -> BuildPlan -> build -> images under their final names, each with its record

What is stored already is not made again. Nothing gets its final name before all of it was built,
converted and found good.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from diskimage_create import boot, engines, process, record, remote, requirements, snapshot, validate
from diskimage_create import build as builds
from diskimage_create import plan as plans
from diskimage_create.certificates import fingerprints, marks
from diskimage_create.content import is_current
from diskimage_create.dated import resolve_snapshot
from diskimage_create.digests import sha256
from diskimage_create.errors import BuildError, DiskImageError, HostError, ImageRejected, Interrupted
from diskimage_create.finish import Finished, finish
from diskimage_create.host import HostFacts
from diskimage_create.inputs import fingerprint, merged
from diskimage_create.model import (
    IMAGE,
    Artifact,
    BuildPlan,
    Expectation,
    ImageSpec,
    PhaseTiming,
    RemoteInput,
    Report,
    Suite,
)
from diskimage_create.packagecache import own_archives
from diskimage_create.progress import Display, Tracker, history_of, load_history, save_history
from diskimage_create.references import go_name
from diskimage_create.store import Entry, Store, link, reuse, sharing, stages
from diskimage_create.store.turns import Turns
from diskimage_create.validate import suites
from diskimage_create.validate.image import open_image
from diskimage_create.validate.system.inventory import package_versions
from diskimage_create.workspace import Workspace, parent_of, workspace


@dataclass(frozen=True)
class BuildOptions:
    """How to go about a build, as opposed to what to build."""

    validate: bool = True
    keep_failed: bool = False
    refresh: bool = False
    """Use nothing that is stored"""
    keep: bool = True
    """Store what can be used again"""
    offline: bool = False
    """Use what is stored without asking the network whether it is still right"""
    max_age: timedelta = timedelta(hours=24)
    """How long what cannot be known is trusted not to have changed"""
    why: bool = False
    """Say all that differs from what is stored, not the first of it"""
    prove: bool = False
    """Boot the image before it gets its name"""
    shared: str | None = None
    """URL where other machines find what is stored, and we find what they have stored"""


@dataclass(frozen=True)
class _Job:
    """A plan, with all that is needed to carry it out."""

    plan: BuildPlan
    host: HostFacts
    options: BuildOptions
    needs: reuse.Needs
    store: Store
    display: Display
    say: Callable[[str], None]
    """Tells the user something"""
    turns: Turns
    """The stages that nobody else makes meanwhile"""

    @property
    def work_parent(self) -> Path:
        return parent_of(self.plan.spec.work_dir)


@dataclass(frozen=True)
class _Result:
    """An image on its way to its final name."""

    path: Path | None
    """Where it is now; None where it is no file, but in a daemon"""
    artifact: Artifact
    record: Mapping[str, Any]


def build(
    plan: BuildPlan, host: HostFacts, display: Display, options: BuildOptions, say: Callable[[str], None]
) -> list[Artifact]:
    """Build, check and record the images of a plan, or take them from the store; returns what was made.

    :param say: tells the user why something is made, or is not
    :raises HostError: this host cannot build it
    :raises RemoteError: the archives have no snapshot of the time that was asked for
    :raises BuildError: diskimage-builder failed
    :raises ImageRejected: it built something, but not what was asked for
    """
    if options.prove:
        boot.require(plan.spec.arch)
    plan = plan if options.offline else resolve_snapshot(plan)
    store = Store(plan.spec.cache_dir)
    store.create()
    with ExitStack() as stack:
        job = _Job(plan, host, options, _needs(plan, options), store, display, say, Turns(store, stack, say))
        wait = partial(say, "another build makes this image: waiting for it")
        stack.enter_context(store.building(job.needs.fingerprint, wait))
        if options.keep and not options.refresh and not options.offline:
            _share(job, sharing.fetch)
            job.turns.take(job.needs.identities, job.needs.reusable)
        stored = _stored(job, stack)
        results = _reuse(job, stored) if stored and stored.step == IMAGE else _make(job, stored)
        if options.keep:
            _share(job, sharing.offer)
    return [result.artifact for result in results]


def _share(job: _Job, how: Callable[[Store, str, reuse.Needs], object]) -> None:
    """Fetch from other machines, or offer to them; it only saves work, and so it fails no build."""
    if not job.options.shared:
        return
    try:
        how(job.store, job.options.shared, job.needs)
    except Interrupted:
        raise
    except (DiskImageError, OSError) as error:
        job.say(f"warning: {job.options.shared}: {error}")


def _refuse_half_a_snapshot(job: _Job) -> None:
    """Which addresses are dated, and must not stay in the image, only the mirror knows."""
    if job.options.offline and snapshot.TIMESTAMP in job.plan.environment:
        hint = "leave one of the two out; a finished image would be taken from the store"
        raise HostError("nothing is built of a snapshot --offline: the mirror has to be asked", hint)


def _needs(plan: BuildPlan, options: BuildOptions) -> reuse.Needs:
    """The inputs of a plan, completed by those that only the network knows."""
    answers: Sequence[RemoteInput] = ()
    if not options.offline:
        environment = {name: setting.value for name, setting in plan.environment.items()}
        answers = remote.resolve(environment, plan.resolved, plan.spec, plan.spec.cache_dir)
    return reuse.needs(plan, stages.reusable(plan.resolved), answers, max_age=options.max_age, offline=options.offline)


def _stored(job: _Job, stack: ExitStack) -> Entry | None:
    """The furthest step that is stored and intact, kept until the stack is closed; says why there is no further one."""
    if job.options.refresh:
        job.say("nothing that is stored is used; starting from the beginning")
        return None
    why = reuse.look_up(job.store, job.needs)
    chosen = None
    for entry in why.found:
        with ExitStack() as attempt:
            if attempt.enter_context(job.store.using(entry)):
                stack.push(attempt.pop_all())
                chosen = entry
                break
        if job.store.remove_damaged(entry.path):
            job.say(f"warning: {entry.title} was damaged in the store: it is removed, and made again")
    if chosen is None and job.options.offline:
        reasons = "".join(f"\n  {reason}" for reason in why.reasons)
        raise HostError(f"nothing that is stored fits this image{reasons}", "build it once without --offline")
    for line in why.explained(chosen, every=job.options.why):
        job.say(line)
    return chosen


def _reuse(job: _Job, stored: Entry) -> list[_Result]:
    """Give stored images their names here."""
    spec, started, clock = job.plan.spec, datetime.now(UTC), time.monotonic()
    with builds.build_log(spec) as log, workspace(job.work_parent) as work:
        found = [_taken(stored, kind, spec, work) for kind in spec.types]
        with (stored.path / "log").open(encoding="utf-8") as made:
            shutil.copyfileobj(made, log)
        artifacts, seconds = [each.artifact for each in found], time.monotonic() - clock
        results = []
        for each in found:
            all_of_it = record.first(each.artifact, artifacts)
            data = record.reused(each.record, all_of_it, stored.created, started, seconds)
            results.append(replace(each, record=data))
        if job.options.validate:
            results = _checked_again(job, results)
        if job.options.prove and not all((each.record.get("boot") or {}).get("ok") for each in results):
            proof = _prove(job, {each.artifact.type: each.path for each in results if each.path})
            if not proof.ok:
                raise ImageRejected(proof.why(), "--refresh builds the image again", [proof])
            results = [replace(each, record=record.proved(each.record, proof)) for each in results]
        _give_names(work, results)
    return results


def _checked_again(job: _Job, results: list[_Result]) -> list[_Result]:
    """Run the checks of elements that have changed since the image was stored; its content does not depend on them.

    :raises ImageRejected: it is not what they ask for
    """
    tests, checked = _suites(job.plan), []
    digest = suites.digest(tests)
    for each in results:
        if each.path and each.record["validation"] and each.record.get("element_checks") != digest:
            job.say("the elements' own checks have changed since it was stored: they are run again")
            expected = replace(validate.from_json(each.record["expectation"]), suites=tests)
            report = validate.validate(each.path, expected, validate.How(selection=validate.OF_ELEMENTS))
            if not report.ok:
                raise ImageRejected(report.why(), "--refresh builds the image again")
            each = replace(each, record=record.checked(each.record, report.findings, digest))
        checked.append(each)
    return checked


def _taken(stored: Entry, kind: str, spec: ImageSpec, work: Workspace) -> _Result:
    """A stored image, on its way to its name here; one for docker is there already."""
    made = record.read(stored.path / f"{kind}.json")
    artifact = record.artifact_of(made, spec.path_of(kind))
    if kind == "docker":
        digest = _import(stored.path / kind, spec, engines.labels(made, made["started"]))
        return _Result(None, replace(artifact, sha256=digest), made)
    path = work.partial_file(artifact.path)
    link(stored.path / kind, path, shared=False)
    return _Result(path, artifact, made)


def _make(job: _Job, stage: Entry | None) -> list[_Result]:
    """Build images, from the beginning or from a stage, and store what can be used again."""
    plan, spec, started, clock = job.plan, job.plan.spec, datetime.now(UTC), time.monotonic()
    _refuse_half_a_snapshot(job)
    requirements.require(plan, job.host, job.work_parent)
    job = replace(job, needs=job.needs.resumed_from(stage))
    history = history_of(spec)
    tracker = Tracker(job.display, load_history(history), stages.finished_phases(stage.step) if stage else ())
    expected = _expectation(plan, job.host)
    with _doubting(stage), ExitStack() as stack:
        # From here on the log of what was built before is lost.
        log = stack.enter_context(builds.build_log(spec))
        work = stack.enter_context(workspace(job.work_parent))
        with _saving(job, stage, work) as (listen, variables), _own_packages(plan) as packages:
            raw = builds.run_build(plan, work, tracker, log, {**variables, **packages}, listen)
        view = stack.enter_context(open_image(raw, workspace=work.path))
        check, keep_failed = job.options.validate, job.options.keep_failed
        prove = partial(_prove_finished, job) if job.options.prove else None
        finished = finish(view, plan, work, expected, tracker, check=check, keep_failed=keep_failed, prove=prove)
        installed, tools = package_versions(view), _tool_versions()
        artifacts = [_measured(image, job, started) for image in finished]
        total = PhaseTiming("total", "", time.monotonic() - clock)
        results = [
            _Result(
                image.path if image.type != "docker" else None,
                artifact,
                record.make(
                    plan,
                    record.first(artifact, artifacts),
                    image.report,
                    proof=image.proof,
                    remote=job.needs.remote,
                    resumed_from=stage.step if stage else None,
                    packages=installed,
                    timings=[*tracker.timings, total],
                    expectation=validate.to_json(expected),
                    element_checks=suites.digest(expected.suites) if check else None,
                    tools=tools,
                    started=started,
                ),
            )
            for image, artifact in zip(finished, artifacts, strict=True)
        ]
        if check and job.options.keep and IMAGE in job.needs.reusable:
            _store(job, finished, results, Path(log.name))
        _give_names(work, results)
    if stage is None:
        save_history(history, tracker.timings)
    return results


def _own_packages(plan: BuildPlan) -> AbstractContextManager[Mapping[str, str]]:
    """Packages that other builds may use at the same time, where the image is made of Debian's."""
    if "dpkg" in {element.name for element in plan.resolved}:
        return own_archives(plan.spec.cache_dir, plan.spec.distribution)
    return nullcontext({})


def _prove_finished(job: _Job, finished: Sequence[Finished]) -> Report:
    return _prove(job, {image.type: image.path for image in finished})


def _prove(job: _Job, images: Mapping[str, Path]) -> Report:
    """Boot the first of the images that can be booted: all of them were made of one disk.

    :param images: by type
    """
    plan, spec = job.plan, job.plan.spec
    kind = next(kind for kind in boot.DRIVERS if kind in images)
    final = spec.path_of(kind)
    options = boot.BootOptions(
        arch=spec.arch,
        amphora=boot.AGENT in {element.name for element in plan.resolved},
        failed_console=final.with_name(f"{final.name}.console.log"),
    )
    return replace(boot.boot(images[kind], options, lambda _: None), image=final)


@contextmanager
def _doubting(stage: Entry | None) -> Iterator[None]:
    """Say of a failure that its cause may be in what was stored."""
    try:
        yield
    except (BuildError, ImageRejected) as error:
        if stage:
            again = f"it was started after {stage.step}.d: --refresh starts from the beginning"
            error.hint = f"{error.hint}; {again}" if error.hint else again
        raise


@contextmanager
def _saving(job: _Job, stage: Entry | None, work: Workspace) -> Iterator[tuple[Callable[[str], None], dict[str, str]]]:
    """Resume from a stage, and save those after it.

    Yields what is to hear each line of the build's output, and variables for the build.
    """
    variables = {}
    if stage:
        variables = stages.resumed(job.plan, stage.path, stage.step, work.path / "elements")
    if job.options.offline:
        variables |= {"DIB_OFFLINE": "1", "UV_OFFLINE": "1"}
    saver = stages.Saver(job.store, job.needs, work.path / "stages", partial(is_current, job.plan), job.turns.over)
    try:
        if job.options.keep:
            variables |= saver.want(stage.step if stage else None, job.plan.resolved)
        yield saver.line, variables
    finally:
        saver.finish()
        for problem in saver.problems:
            job.say(f"warning: {problem}")


def _store(job: _Job, finished: Sequence[Finished], results: Sequence[_Result], log: Path) -> None:
    """Keep the images for a build with the same inputs; one that cannot be kept is no failure."""

    def fill(directory: Path) -> None:
        for image, result in zip(finished, results, strict=True):
            link(image.path, directory / image.type)
            record.write(directory / f"{image.type}.json", result.record)
        shutil.copyfile(log, directory / "log")

    needs = job.needs
    try:
        if not is_current(job.plan):
            raise DiskImageError("what it is made of has changed meanwhile")
        job.store.add(IMAGE, needs.label, needs.local, needs.remote, needs.asked, fill)
    except (OSError, DiskImageError) as error:
        job.say(f"warning: the image is not kept in the store: {error}")


def _give_names(work: Workspace, results: Sequence[_Result]) -> None:
    named = []
    for result in results:
        if result.path:
            named.append((result.path, result.artifact.path))
        for path, text in record.texts_beside(result.artifact, result.record):
            partial_file = work.partial_file(path)
            partial_file.write_text(text, encoding="utf-8")
            named.append((partial_file, path))
    # All is on the disk now. What follows needs no space, and takes no time to be killed in.
    for partial_file, path in named:
        partial_file.replace(path)


def _expectation(plan: BuildPlan, host: HostFacts) -> Expectation:
    """What the image must be, and what of this host it must not hold: what was lent, and not asked for as well."""
    expected = plans.expectation(plan)
    lent = host.ca_certificates if "DISKIMAGE_CREATE_CA_BUNDLE" in plan.environment else ()
    kept = "".join(authority.pem for authority in plan.spec.ca_certificates)
    return replace(
        expected,
        secrets={
            **builds.secrets(plan),
            **builds.lent(plan, host),
            **{name: line for name, line in marks(lent).items() if line not in kept},
        },
        suites=_suites(plan),
        lent_certificates=tuple(each for each in fingerprints(lent) if each not in expected.ca_certificates),
    )


def _suites(plan: BuildPlan) -> tuple[Suite, ...]:
    return suites.of_elements((element.name, element.path) for element in plan.resolved)


def _labels(job: _Job, started: datetime) -> dict[str, str]:
    """What a container image says of a build whose record is not made yet."""
    planned, remote = plans.as_json(job.plan), job.needs.remote
    known = {
        "image": planned["image"],
        "environment": planned["environment"],
        "remote_inputs": {name: value for inputs in remote.values() for name, value in inputs.items()},
        "fingerprint": fingerprint(merged(job.plan.inputs, remote)),
    }
    return engines.labels(known, started.isoformat(timespec="seconds"))


def _import(archive: Path, spec: ImageSpec, labels: Mapping[str, str]) -> str:
    """Import a root file system into docker, under the name that the user chose; returns the image's id."""
    assert spec.docker_target is not None
    return engines.import_archive(archive, spec.docker_target, labels, go_name(spec.arch))


def _measured(image: Finished, job: _Job, started: datetime) -> Artifact:
    """A finished image as its record tells of it; docker gets its image already here, to say its digest."""
    spec, size = job.plan.spec, image.path.stat().st_size
    is_imported = image.type == "docker"
    digest = _import(image.path, spec, _labels(job, started)) if is_imported else sha256(image.path)
    return Artifact(image.type, spec.path_of(image.type), digest, size)


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
