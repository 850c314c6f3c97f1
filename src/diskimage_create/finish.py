"""From the raw image to finished ones: check all its content, make every type of it, check those too."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from diskimage_create import validate
from diskimage_create.convert import convert
from diskimage_create.errors import DiskImageError, ImageRejected
from diskimage_create.model import BuildPlan, Expectation, Report, Status
from diskimage_create.progress import Tracker
from diskimage_create.validate.view import ImageView, Unavailable
from diskimage_create.workspace import Workspace


@dataclass(frozen=True)
class Finished:
    """An image that is built and checked, but has not got its final name yet."""

    type: str
    path: Path
    report: Report | None
    proof: Report | None = None
    """Of the boot test of one of the images that were made together"""


#: Boots one of these images, if any of them boots
Prove = Callable[[list[Finished]], Report | None]


def finish(
    view: ImageView,
    plan: BuildPlan,
    work: Workspace,
    expected: Expectation,
    tracker: Tracker,
    *,
    check: bool,
    keep_failed: bool,
    prove: Prove | None = None,
) -> list[Finished]:
    """Make the images of a plan.

    :param view: the raw image
    :param check: whether to look at them
    :param keep_failed: keep a rejected image as ``X.failed``
    :param prove: is asked at the end whether what was made works
    :raises ImageRejected: it is not what was asked for
    """
    finished = _checked(view, plan, work, expected, tracker, check=check, keep_failed=keep_failed)
    if prove is None:
        return finished
    with tracker.step("prove", "boot"):
        proof = prove(finished)
    if proof and not proof.ok:
        raise _rejected(view, plan, work, proof, keep_failed, before=finished[0].report)
    return [replace(image, proof=proof) for image in finished]


def _checked(
    view: ImageView,
    plan: BuildPlan,
    work: Workspace,
    expected: Expectation,
    tracker: Tracker,
    *,
    check: bool,
    keep_failed: bool,
) -> list[Finished]:
    """Make the images, and look at them."""
    spec = plan.spec
    targets = {kind: work.partial_file(spec.path_of(kind)) for kind in spec.types}
    without = replace(expected, suites=())
    with ThreadPoolExecutor(max_workers=1) as pool:
        # Reading all content and compressing it do not wait for each other.
        looking = pool.submit(validate.validate_view, view, without, validate.How(deep=True)) if check else None
        for kind, target in targets.items():
            with tracker.step("convert", kind):
                convert(view.path, kind, target, spec, view.tree)
        if looking is None:
            return [Finished(kind, target, None) for kind, target in targets.items()]
        with tracker.step("validate", "content"):
            content = looking.result()
    if expected.suites:
        with tracker.step("validate", "element-checks"):
            content = content.amended(
                validate.validate_view(view, expected, validate.How(selection=validate.OF_ELEMENTS))
            )
    if not content.ok:
        raise _rejected(view, plan, work, content, keep_failed)
    finished = []
    for kind, target in targets.items():
        with tracker.step("validate", kind):
            report = _final_report(target, spec.path_of(kind), without, content)
        if not report.ok:
            raise _rejected(view, plan, work, report, keep_failed)
        finished.append(Finished(kind, target, report))
    return finished


def _final_report(partial: Path, final: Path, expected: Expectation, content: Report) -> Report:
    """The checks of the finished file, completed by those of all content and of elements: they ran on the raw image."""
    report = validate.validate(partial, expected)
    deep = {finding.id: finding for finding in content.findings}
    findings = [
        deep.get(finding.id, finding) if finding.status is Status.SKIP else finding for finding in report.findings
    ]
    findings += [finding for finding in content.findings if validate.is_of_element(finding)]
    return Report(final, tuple(findings), report.seconds + content.seconds)


def _rejected(
    view: ImageView,
    plan: BuildPlan,
    work: Workspace,
    report: Report,
    keep_failed: bool,
    *,
    before: Report | None = None,
) -> ImageRejected:
    """The error, which carries what was found.

    :param before: what was found good before
    """
    hint = "--keep-failed keeps the image for a look"
    if keep_failed:
        image_type = plan.spec.types[0]
        final = plan.spec.path_of(image_type)
        kept = final.with_name(f"{final.name}.failed")
        half = work.partial_file(kept)
        try:
            convert(view.path, image_type, half, plan.spec, view.tree)
            half.replace(kept)
            hint = f"the image is kept as {kept}"
        except (DiskImageError, OSError, Unavailable) as error:  # why it was rejected matters more
            hint = f"the image could not be kept: {error}"
    return ImageRejected(report.why(), hint, [before, report] if before else [report])
