"""The options that ``build`` and ``plan`` share. Values are checked in :mod:`diskimage_create.config`, all at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from diskimage_create import host
from diskimage_create.errors import Problem
from diskimage_create.model import Source
from diskimage_create.request import Request

Function = TypeVar("Function", bound=Callable[..., Any])

#: Every option can be set as DISKIMAGE_CREATE_<LONG_NAME>
CONTEXT: dict[str, Any] = {
    "auto_envvar_prefix": "DISKIMAGE_CREATE",
    "help_option_names": ["-h", "--help"],
    "max_content_width": 110,
}

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
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def request(ctx: click.Context, options: dict[str, Any]) -> Request:
    """What the user said, with where each part of it came from."""
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
