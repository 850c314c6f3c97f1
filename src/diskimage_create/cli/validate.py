"""``diskimage-create validate``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from diskimage_create.cli import CONTEXT, format_option, report_option, stop_on_signals
from diskimage_create.errors import ImageRejected, InputError, Problem

if TYPE_CHECKING:
    from diskimage_create.model import Element

Value = TypeVar("Value")


@click.command(context_settings=CONTEXT)
@click.argument("image", required=False, type=click.Path(path_type=Path))
@click.option("--deep", is_flag=True, help="Read all content too.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "loop", "fuse", "guestfs"]),
    default="auto",
    # DISKIMAGE_CREATE_BACKEND is build's, of a load balancer.
    allow_from_autoenv=False,
    envvar="DISKIMAGE_CREATE_VALIDATE_BACKEND",
    help="How to look into it.  [auto]",
)
@click.option(
    "--expect",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="What the image should be, over what its record says: os, release, arch, size_gib, package, element,"
    " datasource, sshd, root_password; can be repeated.",
)
@click.option("--only", multiple=True, metavar="ID,...", allow_from_autoenv=False, help="Run these checks only.")
@click.option("--skip", multiple=True, metavar="ID,...", allow_from_autoenv=False, help="Leave these checks out.")
@click.option(
    "--element-checks",
    is_flag=True,
    help="Run the checks that the image's elements bring. Programs of the image run, in a sandbox.",
)
@click.option(
    "--checks",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Run tests for pytest-testinfra, too, likewise in a sandbox; can be repeated.",
)
@click.option("--list", "list_checks", is_flag=True, allow_from_autoenv=False, help="Show all checks; needs no image.")
@report_option
@format_option
def validate(
    image: Path | None,
    deep: bool,
    backend: str,
    expect: tuple[str, ...],
    only: tuple[str, ...],
    skip: tuple[str, ...],
    element_checks: bool,
    checks: tuple[Path, ...],
    list_checks: bool,
    report: tuple[Path, ...],
    output_format: str,
) -> int:
    """Check an image (qcow2, raw, vhd, tar, ...) through a read-only mount.

    What it should be is read from the record beside it, or from what diskimage-builder left inside. IDs are those of
    --list; they may have * and ?. docs/checks/ explains each.

    \b
    Examples:
      diskimage-create validate amphora-x64-haproxy.qcow2 --format json
      diskimage-create validate amphora-x64-haproxy.qcow2 --report report.html --report junit.xml
      diskimage-create validate other.qcow2 --expect os=debian,release=bookworm,package=haproxy
      diskimage-create validate other.qcow2 --skip 'build-*' --deep
    """
    from diskimage_create import reports
    from diskimage_create.validate import CHECKS, How, selection, suites
    from diskimage_create.validate import report as show
    from diskimage_create.validate import validate as check

    problems: list[Problem] = []
    chosen = _kept(problems, lambda: selection.select(only, skip)) or selection.EVERYTHING
    said = _kept(problems, lambda: _said(expect)) or {}
    tests = _kept(problems, lambda: suites.of_directories(checks, "--checks")) or ()
    if not list_checks and image is None:
        problems.append(Problem("no image is named", "validate", "see 'diskimage-create validate --help'"))
    kept = reports.kept_beside(image) if image else []
    _kept(problems, lambda: reports.refuse(report, kept))
    if problems:
        raise InputError(problems)
    if list_checks or image is None:
        listed = [each for each in CHECKS if chosen.wants(each.id) and not chosen.skips(each.id)]
        as_json = output_format == "json"
        click.echo(json.dumps(selection.as_json(listed), indent=1) if as_json else selection.as_text(listed))
        return 0
    stop_on_signals()
    if element_checks:
        tests = (*tests, *suites.of_elements((name, element.path) for name, element in _elements().items()))
    with reports.collected(report, kept) as subjects:
        how = How(deep, backend, chosen, said, tests, content=reports.show_content(report))
        result = check(image, how=how)
        subjects.append(reports.of_validation(result))
    if output_format == "json":
        click.echo(show.as_json(result))
    else:
        show.print_report(result, sys.stdout)
    return 0 if result.ok else ImageRejected.exit_code


def _kept(problems: list[Problem], read: Callable[[], Value]) -> Value | None:
    """What an option says; what is wrong with it is kept, to be told with all else."""
    try:
        return read()
    except InputError as error:
        problems += error.problems
        return None


def _said(expect: tuple[str, ...]) -> dict[str, Any]:
    from diskimage_create.validate import CHECKS
    from diskimage_create.validate.said import parse

    known = set(_elements()).union(*(check.elements for check in CHECKS)) if expect else ()
    return parse(expect, known)


def _elements() -> Mapping[str, Element]:
    """All elements that there are, those of installed packages too."""
    from diskimage_create import elements, places

    named = places.named(os.environ, elements.OURS, elements.builtin())
    where = places.insert(named, places.installed(os.environ))
    return elements.find_all(place.path for place in where)
