"""``diskimage-create elements``: the element catalogue."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from diskimage_create.cli import CONTEXT, format_option

if TYPE_CHECKING:
    from diskimage_create.catalogue import Catalogue

path_option = click.option(
    "--path",
    multiple=True,
    type=click.Path(),
    metavar="DIR",
    help="Look for elements in this directory first; can be repeated.",
)
_IMAGE_OPTIONS = (
    click.option("--profile", metavar="NAME", allow_from_autoenv=False, help="The elements of this kind of image."),
    click.option("-i", "--os", metavar="NAME", help="With --profile: operating system.  [the profile's]"),
    click.option("-d", "--release", metavar="NAME", help="With --profile: release.  [per OS]"),
    click.option("-a", "--arch", metavar="ARCH", help="With --profile: architecture.  [the host's]"),
)


def image_options(function: Any) -> Any:
    """Add the options that name an image."""
    for option in reversed(_IMAGE_OPTIONS):
        function = option(function)
    return function


@click.group(context_settings=CONTEXT)
def elements() -> None:
    """List, show, draw and check elements: ours, yours, and those of every installed package.

    \b
    Examples:
      diskimage-create elements list 'overcloud-*'
      diskimage-create elements show cloud-init --os debian
      diskimage-create elements graph --profile amphora -i debian -o amphora.svg
      diskimage-create elements lint --path ./elements
    """


@elements.command("list", context_settings=CONTEXT)
@click.argument("pattern", required=False)
@path_option
@format_option
def list_elements(pattern: str | None, path: tuple[str, ...], output_format: str) -> None:
    """Show every element that is installed: its name, where it is from, what it is.

    PATTERN is a part of the name, or a pattern with *, ? and [].
    The first place that has an element of a name wins; the others' are shown as shadowed.

    \b
    Examples:
      diskimage-create elements list
      diskimage-create elements list 'block-device-*' --format json
    """
    from diskimage_create.catalogue import listing

    catalogue = _read(path)
    entries = listing.matching(catalogue, pattern)
    if output_format == "json":
        click.echo(json.dumps(listing.as_json(catalogue, entries), indent=1))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if entries:
        click.echo(listing.as_text(catalogue, entries, width))
    click.echo(f"{len(entries)} element{'' if len(entries) == 1 else 's'}", err=True)


@elements.command(context_settings=CONTEXT)
@click.argument("name")
@path_option
@click.option("-i", "--os", metavar="NAME", help="Show packages as this distribution names them, e.g. debian.")
@click.option("-d", "--release", metavar="NAME", help="With --os: names of packages that only a release has.")
@format_option
def show(name: str, path: tuple[str, ...], os: str | None, release: str | None, output_format: str) -> None:
    """Show all that is known of an element.

    Hooks are listed in the order in which they run. Variables are those of diskimage-builder that its README or
    its scripts name, and others that both do.

    \b
    Example:
      diskimage-create elements show openvswitch --os debian
    """
    from diskimage_create.catalogue import showing

    catalogue = _read(path)
    (entry,) = catalogue.get([name])
    distro = _distribution(os)
    if output_format == "json":
        click.echo(json.dumps(showing.as_json(catalogue, entry, distro, release), indent=1))
    else:
        click.echo(showing.as_text(catalogue, entry, distro, release))


def _distribution(name: str | None) -> str | None:
    """The distribution that packages are shown for."""
    from diskimage_create.catalogue import packages
    from diskimage_create.errors import InputError, Problem

    if name is None:
        return None
    distro = packages.distribution(name)
    if distro not in packages.DISTRIBUTIONS:
        raise InputError([Problem(f"unknown os {name!r}", "--os", f"one of {', '.join(packages.DISTRIBUTIONS)}")])
    return distro


_GRAPH_FORMATS = ("text", "dot", "svg", "json")


@elements.command(context_settings=CONTEXT)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@path_option
@image_options
@click.option("-o", "--output", "output", metavar="FILE", allow_from_autoenv=False, help="Write there.  [print it]")
@click.option(
    "--format",
    "output_format",
    envvar="DISKIMAGE_CREATE_FORMAT",
    type=click.Choice(_GRAPH_FORMATS),
    help="[what the file's extension says, otherwise text]",
)
def graph(
    names: tuple[str, ...], path: tuple[str, ...], output: str | None, output_format: str | None, **image: str | None
) -> None:
    """Draw what elements depend on: those of the given names, or those of an image.

    As text, a tree: what stands further up already ends with '...'. SVG needs Graphviz (package graphviz).

    \b
    Examples:
      diskimage-create elements graph os-collect-config
      diskimage-create elements graph --profile amphora -i debian -o amphora.svg
    """
    from diskimage_create.catalogue import graph as graphs

    catalogue, wanted = _wanted(names, path, image)
    drawn = graphs.of(wanted, catalogue.elements)
    if output_format is None:
        extension = (output or "").rpartition(".")[2]
        output_format = extension if extension in _GRAPH_FORMATS else "text"
    if output_format == "json":
        text = json.dumps(graphs.as_json(drawn, catalogue), indent=1)
    elif output_format == "text":
        text = graphs.as_text(drawn, catalogue)
    else:
        from diskimage_create.catalogue import drawing

        text = (drawing.as_svg if output_format == "svg" else drawing.as_dot)(drawn, catalogue)
    _put(text.rstrip("\n"), output)


def _wanted(names: tuple[str, ...], path: tuple[str, ...], image: dict[str, str | None]) -> tuple[Catalogue, list[str]]:
    """The elements that the user named, and the catalogue that they are in: an image's own search path, or all."""
    from diskimage_create.errors import InputError, Problem

    if image["profile"] is None:
        if not names:
            raise InputError([Problem("nothing says which elements", "elements graph", "NAME..., or --profile NAME")])
        catalogue = _read(path)
        return catalogue, [entry.name for entry in catalogue.get(names)]
    return _of_profile(names, path, image)


def _of_profile(
    names: tuple[str, ...], path: tuple[str, ...], image: dict[str, str | None]
) -> tuple[Catalogue, list[str]]:
    import diskimage_create.catalogue as catalogues
    from diskimage_create.catalogue import images

    environ = dict(os.environ)
    if path:
        more = (str(Path(each).absolute()) for each in path)
        environ["DIB_LOCAL_ELEMENTS_PATH"] = os.pathsep.join([*more, environ.get("DIB_LOCAL_ELEMENTS_PATH", "")])
    plan = images.plan({**image, "element": names}, environ)
    used = {Path(place) for place in plan.environment["ELEMENTS_PATH"].value.split(os.pathsep)}
    everywhere = catalogues.where(os.environ, path)
    return catalogues.read(place for place in everywhere if place.path in used), images.wanted(plan)


@elements.command(context_settings=CONTEXT)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    *("--path", "path"),
    multiple=True,
    type=click.Path(),
    metavar="DIR",
    help="Check the elements in this directory; can be repeated.",
)
@image_options
@click.option("--all", "everything", is_flag=True, help="Check all elements, those of other people too.")
@click.option("--only", multiple=True, metavar="ID,...", help="Check these rules only.")
@click.option("--skip", multiple=True, metavar="ID,...", help="Leave these rules out.")
@click.option("--shellcheck/--no-shellcheck", default=None, help="Ask shellcheck.  [where it is installed]")
@click.option("--list-rules", is_flag=True, help="Show the rules, and check nothing.")
@click.option(
    "--format",
    "output_format",
    envvar="DISKIMAGE_CREATE_FORMAT",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="[text]",
)
def lint(
    names: tuple[str, ...],
    path: tuple[str, ...],
    everything: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    shellcheck: bool | None,
    list_rules: bool,
    output_format: str,
    **image: str | None,
) -> int:
    """Check elements: whether hooks run, dependencies exist, files clash, secrets are left in the image, ...

    Without names it checks this project's elements, and those in DIB_LOCAL_ELEMENTS_PATH and ELEMENTS_PATH. Names
    among which is an operating system, and --profile, are checked as an image, too.
    Exits with 1 for errors and warnings; hints are no reason to. docs/elements-lint.md explains the rules.

    \b
    Examples:
      diskimage-create elements lint --path ./elements
      diskimage-create elements lint --profile amphora -i debian
      diskimage-create elements lint --all --only EL401,EL402 --format json
    """
    from diskimage_create import findings
    from diskimage_create.catalogue import lint as linting
    from diskimage_create.catalogue.lint import answers, report, selection

    rules = linting.choose(only, skip, shellcheck)
    if list_rules:
        as_json = output_format == "json"
        click.echo(json.dumps(findings.rules_as_json(rules), indent=1) if as_json else findings.rules_as_text(rules))
        return 0
    if image["profile"] is None:
        chosen = selection.of_names(_read(path), names, own_directories=bool(path), everything=everything)
    else:
        catalogue, wanted = _of_profile(names, path, image)
        chosen = selection.of_image(catalogue, wanted, f"the image {image['profile']}", everything=everything)
    place = answers.default_place(os.environ)
    found = linting.check(chosen.catalogue, chosen.entries, rules, chosen.images, place)
    if output_format == "json":
        click.echo(json.dumps(report.as_json(found, [entry.name for entry in chosen.entries], rules), indent=1))
    elif found:
        click.echo(report.as_github(found) if output_format == "github" else report.as_text(found))
    click.echo(report.summary(found, len(chosen.entries)), err=True)
    return 0 if report.is_clean(found) else 1


def _read(path: tuple[str, ...]) -> Catalogue:
    """Every element that there is."""
    from diskimage_create import catalogue

    return catalogue.read(catalogue.where(os.environ, path))


def _put(text: str, output: str | None) -> None:
    """Print it, or write a file that is never there half-written."""
    if output is None:
        click.echo(text)
        return
    from diskimage_create.files import write

    write(output, f"{text}\n")
    click.echo(f"wrote {output}", err=True)
