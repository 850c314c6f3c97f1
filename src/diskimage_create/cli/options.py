"""The options that ``build`` and ``plan`` share. Values are checked in :mod:`diskimage_create.config`, all at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from diskimage_create import host
from diskimage_create.cli import CONTEXT
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import Source
from diskimage_create.request import Request

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option("-a", "--arch", metavar="ARCH", help="i386, amd64, armhf, arm64, aarch64 or ppc64le.  [the host's]"),
    click.option("-b", "--backend", metavar="NAME", help="haproxy.  [haproxy]"),
    click.option("-c", "--cache-dir", metavar="DIR", help="Cache directory.  [~/.cache/image-create]"),
    click.option("-d", "--release", metavar="NAME", help="Release of the distribution.  [per OS]"),
    click.option("-e", "--enforce-mac", is_flag=True, default=None, help="SELinux enforcing, full AppArmor."),
    click.option("-f", "--no-tmpfs", is_flag=True, default=None, help="Do not build in a tmpfs."),
    click.option("-g", "--git-branch", metavar="BRANCH", help="Agent from this OpenStack branch.  [released agent]"),
    click.option(
        *("-i", "--os"),
        metavar="NAME",
        help="ubuntu, ubuntu-minimal, debian, debian-minimal, fedora, centos, centos-minimal, rocky or rhel.  [ubuntu]",
    ),
    click.option("-k", "--kernel", metavar="PACKAGE", help="Kernel package.  [the one for virtual machines]"),
    click.option("-l", "--logfile", metavar="FILE", help="Write the full log of the build there too.  [X.log]"),
    click.option("-m", "--cpu-pinning", is_flag=True, default=None, help="vCPU pinning optimisations."),
    click.option("-n", "--no-sshd", is_flag=True, default=None, help="No SSH server in the image."),
    click.option("-o", "--output", metavar="FILE", help="Output file.  [per profile, e.g. amphora-x64-haproxy]"),
    click.option("-p", "--package-agent", is_flag=True, default=None, help="Agent from distribution packages."),
    click.option(
        *("-r", "--root-password"),
        metavar="PASSWORD",
        help="Enable root with this password; - takes it from DIB_PASSWORD, or asks.  [disabled]",
    ),
    click.option("-s", "--size", metavar="GB", help="Size of the image.  [per profile, 5]"),
    click.option(
        *("-t", "--type"),
        metavar="TYPE,...",
        help="qcow2, tar, raw, vhd, tgz, squashfs, docker, ramdisk; several, comma separated.  [per profile, qcow2]",
    ),
    click.option("-w", "--work-dir", metavar="DIR", help="Working directory.  [a private one, in TMPDIR]"),
    click.option("-x", "--trace", count=True, help="Trace the build; twice for more."),
    click.option("-y", "--fips", is_flag=True, default=None, help="FIPS mode."),
    click.option("-u", "--uncompressed", is_flag=True, default=None, help="Do not compress the image."),
    click.option("--compat-compression", is_flag=True, default=None, help="Compress with zlib, for QEMU before 5.1."),
    click.option("--docker-target", metavar="NAME:TAG", help="For -t docker.  [image:OUTPUT-NAME]"),
    click.option("--profile", metavar="NAME|FILE", help="Kind of image: a name, or a YAML file.  [amphora]"),
    click.option("--snapshot", metavar="TIME", help="Packages as they were then, e.g. 2026-11-01.  [as they are now]"),
    click.option("--element", multiple=True, metavar="NAME", help="Add an element; can be repeated."),
    click.option("--package", multiple=True, metavar="NAME", help="Add a package; can be repeated."),
    click.option(
        "--ca-certificate",
        multiple=True,
        type=click.Path(),
        metavar="FILE",
        help="Let the image trust these CA certificates (PEM); can be repeated.",
    ),
    click.option("--env", multiple=True, metavar="K=V", help="Set a variable for the build; can be repeated."),
    click.argument("unexpected", nargs=-1, metavar=""),
)
_FILE_OPTIONS = (
    click.option("--config", multiple=True, metavar="FILE", help="Images of a file; can be repeated."),
    click.option("--image", multiple=True, metavar="NAME", help="Of --config: this image; can be repeated."),
    click.option(
        "--matrix",
        multiple=True,
        metavar="AXIS=VALUE,... ...",
        help="An image for every combination, e.g. os=debian,ubuntu arch=amd64,arm64.",
    ),
    click.option("--output-directory", metavar="DIR", help="Of --config and --matrix: where the images go.  [.]"),
    click.option("--skip/--no-skip", default=None, help="Of --config: leave images alone that exist.  [--no-skip]"),
)
_NAMES_OF_FILE_OPTIONS = ("config", "image", "matrix", "output_directory", "skip")

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def age(ctx: click.Context, option: str, text: str, problems: list[Problem]) -> timedelta:
    """The length of time that an option was given: ``90m``, ``24h``, ``30d``.

    :param problems: gets one more when it is none
    """
    if match := re.fullmatch(r"([0-9]{1,6})([smhd])", text, re.ASCII):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    hint = "a number and s, m, h or d, e.g. 24h"
    problems.append(Problem(f"{text!r} is no length of time", where(ctx, option), hint))
    return timedelta()


def where(ctx: click.Context, option: str) -> str:
    """How the user spelled an option."""
    if ctx.get_parameter_source(option) is ParameterSource.ENVIRONMENT:
        return f"{CONTEXT['auto_envvar_prefix']}_{option.upper()}"
    return f"--{option.replace('_', '-')}"


_SOURCES = {ParameterSource.COMMANDLINE: Source.FLAG, ParameterSource.ENVIRONMENT: Source.ENVIRONMENT}


def image_options(function: Function) -> Function:
    """Add the options that say what to build."""
    for option in reversed((*_OPTIONS, *_FILE_OPTIONS)):
        function = option(function)
    return function


def requests(ctx: click.Context, options: dict[str, Any], problems: list[Problem]) -> list[Request]:
    """What the user asked for: one image, those of configuration files, or those of a matrix.

    :param problems: gets what is wrong with the options
    :raises InputError: with the problems of the files
    """
    config, images, matrix, directory, skip = (options.pop(name) for name in _NAMES_OF_FILE_OPTIONS)
    words = (*matrix, *(options.pop("unexpected") if matrix else ()))
    if config and matrix:
        what, hint = "configuration files have their own images", "leave out either --matrix or --config"
        problems.append(Problem(what, where(ctx, "matrix"), hint))
    if config:
        return _of_files(ctx, _request(ctx, options), config, images, directory or ".", bool(skip), problems)
    for name, value in (("image", images), ("skip", skip)):
        if value not in (None, ()):
            problems.append(Problem("it says nothing without --config", where(ctx, name), "name a file with --config"))
    if matrix:
        return _of_matrix(_request(ctx, {**options, "output_directory": directory}), words, ctx, problems)
    if directory is not None:
        what = "it says nothing without --config or --matrix"
        problems.append(Problem(what, where(ctx, "output_directory"), "say it with -o, e.g. -o DIR/NAME"))
    return [_request(ctx, options)]


def _of_matrix(
    command_line: Request, words: Sequence[str], ctx: click.Context, problems: list[Problem]
) -> list[Request]:
    from diskimage_create import matrix
    from diskimage_create.config import distribution
    from diskimage_create.once import same_answers

    with same_answers():
        found, note = matrix.expand(command_line, words, where(ctx, "matrix"), distribution, problems)
    if note and found:
        click.echo(f"note: {note}", err=True)
    return found


def _of_files(
    ctx: click.Context,
    command_line: Request,
    config: Sequence[str],
    images: Sequence[str],
    directory: str,
    skip: bool,
    problems: list[Problem],
) -> list[Request]:
    from diskimage_create import imageconfig
    from diskimage_create.imageconfig.as_request import NOT_WITH_CONFIG, request

    for name in NOT_WITH_CONFIG:
        if command_line.options.get(name) is not None:
            problems.append(Problem("it cannot hold for several images", where(ctx, name), "say it in the file"))
    try:
        found = imageconfig.read([Path(os.path.expanduser(path)) for path in config], images, problems)
    except InputError as error:
        raise InputError([*problems, *error.problems]) from None
    place = Path(os.path.expanduser(directory))
    asked = [(image, request(image, command_line, place)) for image in found]
    skipped = [image for image, each in asked if skip and image.exists(place, _first_type(each))]
    for image in skipped:
        click.echo(f"{place / image.name} exists: skipped", err=True)
    return [each for image, each in asked if image not in skipped]


def _first_type(request: Request) -> str:
    """The first of the files that an image will be."""
    from diskimage_create import profiles

    given = str(request.options.get("type") or "").partition(",")[0]
    name = str(request.options.get("profile"))
    default = profiles.load(name).types[0] if name in profiles.names() else "qcow2"
    return "initramfs" if "ramdisk" in (given, default) else given or default


def _request(ctx: click.Context, options: dict[str, Any]) -> Request:
    """What the command line says, with where each part of it came from."""
    if options.get("root_password") == "-":
        options["root_password"] = os.environ.get("DIB_PASSWORD") or click.prompt(
            "Root password", hide_input=True, confirmation_prompt=True, err=True
        )
    sources = {}
    for name in options:
        source = ctx.get_parameter_source(name)
        if source in _SOURCES:
            sources[name] = _SOURCES[source]
    return Request(options, sources, os.environ, host.detect(os.environ))
