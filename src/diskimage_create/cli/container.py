"""``diskimage-create container``: container images."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from diskimage_create.cli import CONTEXT, format_option, stop_on_signals
from diskimage_create.cli.container_prepare import prepare
from diskimage_create.cli.registry_options import access, registry_options

if TYPE_CHECKING:
    from diskimage_create.registries import Access


def tell(line: str) -> None:
    """A line about what is being done."""
    click.echo(line, err=True)


@click.group(context_settings=CONTEXT)
def container() -> None:
    """Prepare, change, push and list container images.

    \b
    Example:
      diskimage-create container image prepare -e containers-prepare-parameters.yaml --dry-run
    """


@container.group(context_settings=CONTEXT)
def image() -> None:
    """Prepare, change, push and list container images.

    \b
    Examples:
      diskimage-create container image prepare -e containers-prepare-parameters.yaml --dry-run
      diskimage-create container image hotfix --image localhost/nova:16.2 --rpms-path ~/rpms --tag fix1
      diskimage-create container image push --local --registry-url 192.168.24.1:8787 localhost/nova:16.2-fix1
      diskimage-create container image list --registry 192.168.24.1:8787
    """


@image.command(context_settings=CONTEXT)
@click.option("--image", "images", multiple=True, metavar="IMAGE", help="Full name of an image; can be repeated.")
@click.option("--rpms-path", type=click.Path(), metavar="DIR", help="RPM packages to install.")
@click.option("--debs-path", type=click.Path(), metavar="DIR", help="Debian packages to install.")
@click.option("--tag", default="latest", metavar="TAG", help="Comes after the tag of each image.  [latest]")
@registry_options
def hotfix(images: tuple[str, ...], rpms_path: str | None, debs_path: str | None, tag: str, **options: Any) -> None:
    """Install files of packages in images: a new layer, under a new tag, in this host's storage of images.

    Of NAME:16.2 it makes NAME:16.2-TAG. The versions that are installed in it are those of the files, or there is
    no new image: what is older than what the image has is refused. Prints the names of the new images.

    \b
    Example:
      diskimage-create container image hotfix --image localhost/nova:16.2 --rpms-path ~/rpms --tag fix1
    """
    from diskimage_create.containers import hotfix as hotfixes
    from diskimage_create.errors import InputError, Problem
    from diskimage_create.registries import Registries

    if not images:
        raise InputError([Problem("nothing says which images", "container image hotfix", "--image IMAGE")])
    given = {"rpms_path": rpms_path, "debs_path": debs_path}
    paths = {name: str(Path(path).absolute()) for name, path in given.items() if path}
    planned = hotfixes.plan(images, paths, tag)
    stop_on_signals("new images that are complete stay")
    with Registries(access(options)) as registries:
        for name in hotfixes.apply(planned, paths, registries, tell):
            click.echo(name)


@image.command(context_settings=CONTEXT)
@click.argument("name", metavar="IMAGE")
@click.option("--local", is_flag=True, help="IMAGE is in this host's storage of images.  [in its registry]")
@click.option("--registry-url", metavar="HOST[:PORT]", help="Where it goes.  [this undercloud's registry]")
@click.option("--append-tag", default="", metavar="TEXT", help="Comes after the tag of IMAGE.")
@click.option("--username", metavar="NAME", help="Of that registry.  [as podman and skopeo]")
@click.option(
    "--password",
    metavar="-",
    help="With --username: - reads it from standard input. Otherwise DISKIMAGE_CREATE_PASSWORD, or it is asked for.",
)
@registry_options
def push(
    name: str,
    local: bool,
    registry_url: str | None,
    append_tag: str,
    username: str | None,
    password: str | None,
    **options: Any,
) -> None:
    """Store an image in a registry, under the name that it has.

    Prints its name there. A registry that has no TLS, and that no credentials are known for, is used without.

    \b
    Example:
      diskimage-create container image push --local --registry-url 192.168.24.1:8787 localhost/nova:16.2-fix1
    """
    from diskimage_create.containers import push as pushing
    from diskimage_create.containers.undercloud import local_registry
    from diskimage_create.registries import Registries

    source, destination = pushing.destination_of(name, registry_url or local_registry(), append_tag)
    reached = _reached(destination.registry or "", access(options), _credentials(username, password))
    stop_on_signals("the image is not stored")
    with Registries(reached) as registries:
        digest = pushing.push(source, destination, local, registries)
    tell(f"{destination}: {digest}")
    click.echo(destination)


def _credentials(username: str | None, password: str | None) -> Callable[[], tuple[str, str]] | None:
    """What asks for the password, when all else is known to be right."""
    from diskimage_create.errors import InputError, Problem

    if username is None:
        if password is not None and "DISKIMAGE_CREATE_PASSWORD" not in os.environ:
            raise InputError([Problem("there is no --username to this password", "--password")])
        return None
    if password == "-":
        return lambda: (username, sys.stdin.readline().rstrip("\n"))
    if password is None:
        return lambda: (username, click.prompt(f"Password of {username}", hide_input=True, err=True))
    if password != os.environ.get("DISKIMAGE_CREATE_PASSWORD"):
        hint = "--password -, DISKIMAGE_CREATE_PASSWORD, or 'podman login' before"
        raise InputError([Problem("everybody on this host can see a password here", "--password", hint)])
    return lambda: (username, password)


def _reached(host: str, how: Access, credentials: Callable[[], tuple[str, str]] | None) -> Access:
    """How registries are reached, with credentials of one; without TLS where it has none."""
    from dataclasses import replace

    from diskimage_create.registries import Credentials
    from diskimage_create.registries.plain import speaks_plain_http

    if credentials:
        return replace(how, credentials={**how.credentials, host: Credentials(*credentials())})
    if host not in how.insecure and speaks_plain_http(host, how):
        tell(f"{host} has no TLS: it is used without")
        return replace(how, insecure=how.insecure | {host})
    return how


@image.command("list", context_settings=CONTEXT)
@click.option("--registry", metavar="HOST[:PORT]", help="Whose images.  [this undercloud's registry]")
@registry_options
@format_option
def list_images(registry: str | None, output_format: str, **options: Any) -> None:
    """Show the images in a registry: every repository, with all its tags.

    \b
    Examples:
      diskimage-create container image list
      diskimage-create container image list --registry 192.168.24.1:8787 --format json
    """
    from diskimage_create.containers import listing
    from diskimage_create.containers.push import host_of
    from diskimage_create.containers.undercloud import local_registry
    from diskimage_create.registries import Registries

    host = host_of(registry or local_registry(), "--registry")
    with Registries(_reached(host, access(options), None)) as registries:
        found = listing.of_registry(host, registries)
    if output_format == "json":
        images = [{"repository": name, "tags": tags} for name, tags in found.items()]
        click.echo(json.dumps({"registry": host, "images": images}, indent=1))
    elif found:
        click.echo(listing.as_text(host, found))


image.add_command(prepare)
