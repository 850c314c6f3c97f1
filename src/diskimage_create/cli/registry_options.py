"""The options of commands that ask registries of container images."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from diskimage_create.registries import Access

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--insecure-registry",
        multiple=True,
        metavar="HOST",
        help="This registry has no TLS, or a certificate that nobody knows; can be repeated.",
    ),
    click.option(
        "--registry-ca", type=click.Path(path_type=Path), metavar="FILE", help="Trust these CA certificates, too."
    ),
    click.option(
        "--authfile",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Credentials, as 'podman login' writes them.  [where it does]",
    ),
)


def registry_options(function: Function) -> Function:
    """Add the options."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def access(values: Mapping[str, Any]) -> Access:
    """What the options, and the host, say about registries.

    :raises InputError: a file cannot be read, or is not what it should be
    """
    from diskimage_create.certificates import authorities
    from diskimage_create.registries import Access
    from diskimage_create.registries.access import host_credentials

    certificates: Path | None = values["registry_ca"]
    if certificates:
        authorities([certificates], "--registry-ca")
    environ = dict(os.environ)
    if values["authfile"]:
        environ["REGISTRY_AUTH_FILE"] = str(values["authfile"])
    return Access(host_credentials(environ), frozenset(values["insecure_registry"]), certificates)
