"""``diskimage-create images``: the container images that charts and TripleO's files name."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from diskimage_create.cli import CONTEXT
from diskimage_create.cli.images_override import mirror, pin

if TYPE_CHECKING:
    from diskimage_create.helm.lint import Finding
    from diskimage_create.helm.model import Section


@click.group(context_settings=CONTEXT)
def images() -> None:
    """Check, pin and mirror the container images that Helm charts, their values, TripleO's files and lists name.

    \b
    Examples:
      diskimage-create images lint ./openstack-helm
      diskimage-create images pin heat/values.yaml -o heat-pinned.yaml
      diskimage-create images mirror heat/values.yaml --to registry.example.com:5000 -o heat-mirror.yaml
    """


images.add_command(pin)
images.add_command(mirror)


@images.command(context_settings=CONTEXT)
@click.argument("paths", nargs=-1, metavar="PATH...", type=click.Path())
@click.option(
    "--defaults",
    metavar="FILE",
    type=click.Path(),
    allow_from_autoenv=False,
    help="The chart's values.yaml: keys that it does not have are findings.  [that of the chart a file is in]",
)
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@click.option("--require-digest", is_flag=True, help="A tag alone is not enough.")
@click.option("--list-rules", is_flag=True, help="Show the rules, and check nothing.")
@click.option(
    "--format",
    "output_format",
    envvar="DISKIMAGE_CREATE_FORMAT",
    type=click.Choice(["text", "json", "github", "gitlab", "sarif"]),
    default="text",
    help="[text]",
)
def lint(
    paths: tuple[str, ...],
    defaults: str | None,
    strict: bool,
    require_digest: bool,
    list_rules: bool,
    output_format: str,
) -> int:
    """Check references to container images: spelled out, pinned, known to the chart, ...

    PATH is a file or a directory: values of charts, charts, trees of charts, Kubernetes' containers, TripleO's
    container_images and Container*Image, and plain lists. Nothing is downloaded, and no registry is asked.
    Exits with 1 for errors. docs/images-lint.md explains the rules.

    \b
    Examples:
      diskimage-create images lint ./openstack-helm
      diskimage-create images lint heat.yaml --defaults openstack-helm/heat/values.yaml --strict
      diskimage-create images lint values/*.yaml --require-digest --format github
    """
    from diskimage_create import findings
    from diskimage_create.errors import InputError, Problem
    from diskimage_create.helm import lint as linting
    from diskimage_create.helm import reading

    if list_rules:
        rules = [linting.RULES[id] for id in sorted(linting.RULES)]
        as_json = output_format == "json"
        click.echo(json.dumps(findings.rules_as_json(rules), indent=1) if as_json else findings.rules_as_text(rules))
        return 0
    if not paths:
        raise InputError([Problem("nothing says which files", "images lint", "name a file or a directory")])
    found = reading.read(paths)
    problems = list(found.problems)
    known: Sequence[Section] = ()
    if defaults is not None:
        given = reading.read([defaults])
        problems += given.problems
        known = given.sections
        if not (known or given.problems):
            problems.append(Problem("has no images section", defaults, "name the values.yaml of a chart"))
    broken = linting.check(linting.Context(found, known, require_digest=require_digest))
    _print(broken, len(found.images), output_format)
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    fails = any(strict or each.rule.severity is findings.Severity.ERROR for each in broken)
    return 1 if fails else 0


def _print(found: list[Finding], checked: int, output_format: str) -> None:
    from diskimage_create import findings
    from diskimage_create.helm.lint import RULES, report

    match output_format:
        case "json":
            click.echo(json.dumps(report.as_json(found, checked), indent=1))
        case "gitlab":
            click.echo(findings.as_gitlab(report.located(found)))
        case "sarif":
            from importlib.metadata import version

            rules = [RULES[id] for id in sorted(RULES)]
            click.echo(findings.as_sarif(report.located(found), rules, version("diskimage-create")))
        case "github" if found:
            click.echo(findings.as_github(report.located(found)))
        case "text" if found and sys.stdout.isatty():
            report.print_table(found)
        case "text" if found:
            click.echo(report.as_text(found))
    click.echo(report.summary(found, checked), err=True)
