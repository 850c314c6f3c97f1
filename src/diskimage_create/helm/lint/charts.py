"""Rules about ``images`` sections, and about charts as a whole."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from diskimage_create.findings import Severity
from diskimage_create.helm import placeholders
from diskimage_create.helm.lint.model import Broken, Context, of, rule
from diskimage_create.helm.model import Chart, Kind, Layout, Section, Word

#: https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_PULL_POLICY = "pull_policy"
_DB_SYNC = "db_sync"

_RUNS_IMAGES = re.compile(
    r"^[ \t]*(?:-[ \t]+)?image[ \t]*:[ \t]*\S"
    r"|\.Values\.images\b"
    r"|helm-toolkit\.(?:snippets\.image\b|manifests\.job[_-])",
    re.MULTILINE,
)
#: Manifests and snippets of helm-toolkit, by the key of the image that they run
_TOOLKIT = {
    "dep_check": re.compile(r"helm-toolkit\.(?:snippets\.)?kubernetes_entrypoint_init_container\b"),
    "db_init": re.compile(r"helm-toolkit\.(?:manifests\.)?job[_-]db[_-]init"),
    _DB_SYNC: re.compile(r"helm-toolkit\.(?:manifests\.)?job[_-]db[_-]sync"),
    "ks_user": re.compile(r"helm-toolkit\.(?:manifests\.)?job[_-]ks[_-]user"),
    "ks_service": re.compile(r"helm-toolkit\.(?:manifests\.)?job[_-]ks[_-]service"),
    "ks_endpoints": re.compile(r"helm-toolkit\.(?:manifests\.)?job[_-]ks[_-]endpoints?"),
}
_DIRECTLY = re.compile(r"\.Values\.images(?:(?:\.tags)?\s+\"(?P<quoted>\w+)\"|\.(?:tags\.)?(?P<key>\w+))")


@rule("IMG203", "unknown pull policy", Severity.ERROR)
def pull_policy(context: Context) -> Iterator[Broken]:
    """`pull_policy` of an `images` section, or `imagePullPolicy` of a container, is none that Kubernetes knows: it
    refuses every pod of the chart.

    `Always`, `IfNotPresent` or `Never`, in this spelling.
    """
    for policy in context.found.pull_policies:
        if policy.text not in _PULL_POLICIES and not placeholders.has(policy.text):
            message = f"{policy.text!r} is no pull policy{_guess(policy.text, _PULL_POLICIES)}"
            yield Broken(message, policy.file, policy.line, policy.place, None, policy.chart)


def _guess(text: str, known: tuple[str, ...]) -> str:
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(text.lower(), lower, n=1)
    return f": did you mean {lower[close[0]]}?" if close else f": one of {', '.join(known)}"


@rule("IMG201", "unknown key", Severity.WARNING)
def unknown_key(context: Context) -> Iterator[Broken]:
    """A section overrides an image that the chart's `values.yaml` does not have: no template reads it, and the image
    that was to be replaced stays what it is.

    Correct the key. The chart is the one whose directory the file is in, or which the file's section, or its
    directory in `values_overrides`, is named after, as far as it is among the paths; with `--defaults FILE` it is
    that file's. A chart that has `images.tags` does not read `images.KEY`, and the other way round. Keys in
    `local_registry.exclude` are looked at, too.
    """
    for section in context.found.sections:
        default = context.default(section)
        if default is not None:
            known = [each.text for each in default.keys]
            yield from _unknown(section, section.keys, known, default.layout)
            yield from _unknown(section, section.excluded, known, section.layout)
        else:
            own = [each.text for each in section.keys]
            if section.place == ("images",) and own and _is_default(section, context):
                yield from _unknown(section, section.excluded, own, section.layout)


def _is_default(section: Section, context: Context) -> bool:
    chart = context.charts.get(section.chart or "")
    return chart is not None and chart.images is not None and chart.images.file == section.file


def _unknown(section: Section, words: tuple[Word, ...], known: list[str], layout: Layout) -> Iterator[Broken]:
    chart = section.chart or "the chart"
    for word in words:
        if layout is not section.layout:
            message = f"{chart} does not read this: its images are in {layout}"
        elif word.text not in known:
            close = difflib.get_close_matches(word.text, known, n=1)
            message = f"{chart} has no image {word.text}{f': did you mean {close[0]}?' if close else ''}"
        else:
            continue
        yield Broken(message, section.file, word.line, word.place, None, section.chart)


@rule("IMG205", "image in a template", Severity.WARNING)
def in_template(context: Context) -> Iterator[Broken]:
    """A template has the name of an image, or a part of it, written into it, so that no override can replace the
    image: not by a pinned one, and not by one of a mirror.

    Give it a key in `images.tags` of `values.yaml`, and write `{{ .Values.images.tags.KEY }}`.
    """
    for used in context.found.images:
        if used.kind is Kind.TEMPLATE:
            yield of(used, f"{used.text} is written into the template: no values can replace it")


@rule("IMG206", "no images section", Severity.WARNING)
def no_section(context: Context) -> Iterator[Broken]:
    """Templates of a chart run containers, but its `values.yaml` has no `images` section: nobody can see, or override,
    which images it runs.

    Add `images`, with `tags` for the names and a `pull_policy`. Files whose names begin with an underscore only lend
    parts to others, and do not count.
    """
    for chart in context.found.charts:
        runs = next((each for each in chart.templates if not each.partial and _RUNS_IMAGES.search(each.code)), None)
        if chart.complete and chart.images is None and runs is not None:
            file = chart.directory / "values.yaml"
            if not file.is_file():
                file = chart.directory / "Chart.yaml"
            name = runs.path.relative_to(chart.directory)
            yield Broken(f"{chart.name} runs images ({name}), and has no images section", file, 1, (), None, chart.name)


@rule("IMG207", "standard key missing", Severity.WARNING)
def missing_key(context: Context) -> Iterator[Broken]:
    """Templates of a chart use one of the keys that all charts share, and its `images` section does not have it: the
    job gets no image.

    The keys are `dep_check` (waits for what a container depends on), `db_init`, `db_sync`, `ks_user`, `ks_service`,
    `ks_endpoints` and `pull_policy`. Used are those that a template names (`.Values.images.tags.db_init`), and those
    that manifests of helm-toolkit need which it includes. A key of the service's own, such as `heat_db_sync`, will do
    for `db_sync`.
    """
    for chart in context.found.charts:
        section = chart.images
        if section is None or not chart.complete:
            continue
        used = _used(chart)
        for key in (*_TOOLKIT, _PULL_POLICY):
            if key in used and not _has(section, key):
                within = ("tags",) if section.layout is Layout.TAGS and key != _PULL_POLICY else ()
                message = f"{chart.name} uses {key} ({used[key]}), which its values lack"
                place = (*section.place, *within, key)
                yield Broken(message, section.file, section.line, place, None, chart.name)


def _has(section: Section, key: str) -> bool:
    if key == _PULL_POLICY:
        return section.pull_policy is not None
    return any(each.text == key or (key == _DB_SYNC and each.text.endswith(f"_{key}")) for each in section.keys)


def _used(chart: Chart) -> dict[str, str]:
    """Standard keys that templates of a chart use, each with the first that does."""
    used: dict[str, str] = {}
    for template in chart.templates:
        name = str(template.path.relative_to(chart.directory))
        for match in _DIRECTLY.finditer(template.code):
            used.setdefault(match["key"] or match["quoted"], name)
        for key, pattern in _TOOLKIT.items():
            if key not in used and pattern.search(template.code):
                used[key] = name
    return used
