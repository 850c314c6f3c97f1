"""``diskimage-create publish``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from diskimage_create.cli import CONTEXT, format_option, stop_on_signals
from diskimage_create.cli.registry_options import access, registry_options
from diskimage_create.errors import InputError, Problem, RemoteProblems

if TYPE_CHECKING:
    from diskimage_create.progress import Transfers
    from diskimage_create.publish import Destination, Receipt
    from diskimage_create.publish.model import Glance

#: Option -> the kinds of places that it says something to; the others say something to all
_ONLY = MappingProxyType(
    {
        **dict.fromkeys(("os_cloud", "properties", "tags", "visibility"), frozenset({"glance"})),
        **dict.fromkeys(("form", "compression", "registry_ca", "insecure_registry", "authfile"), frozenset({"oci"})),
        "keep_last": frozenset({"glance", "directory"}),
    }
)


@click.command(context_settings=CONTEXT)
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("places", nargs=-1, required=True, metavar="DESTINATION...")
@click.option("--force", is_flag=True, help="Replace another image that has the name.")
@click.option(
    "--as", "form", type=click.Choice(["image", "artifact"]),
    help="What a registry gets: a container image, or the file as it is.  [tar, tgz: image; others: artifact]",
)  # fmt: skip
@click.option(
    "--compression", type=click.Choice(["gzip", "zstd"]), default="gzip", help="Of a container image's layer.  [gzip]"
)
@registry_options
@click.option("--os-cloud", envvar="OS_CLOUD", metavar="NAME", help="Glance: the cloud in clouds.yaml.")
@click.option("--property", "properties", multiple=True, metavar="K=V", help="Glance: set it; can be repeated.")
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG",
    help="Glance: the tag that it takes over from older images; can be repeated.  [of an amphora: amphora]",
)  # fmt: skip
@click.option(
    "--visibility", type=click.Choice(["private", "shared", "community", "public"]), help="Glance: who sees it."
)
@click.option(
    "--keep-last", type=click.IntRange(min=1), metavar="N", help="Glance, directories: remove older ones.  [keep all]"
)
@format_option
def publish(image: Path, places: tuple[str, ...], output_format: str, **values: Any) -> int:
    """Publish an image that a build has made, as the record beside it tells.

    DESTINATION is docker:NAME:TAG, podman:NAME:TAG, oci://HOST[:PORT]/NAME:TAG, glance:NAME, DIRECTORY/, or a URL
    like s3://bucket/path/. Where the very same image is already, nothing is transferred: after a failure, the same
    command repeats only what failed. Exits with 6 when a destination failed; the others are done all the same.

    \b
    Examples:
      diskimage-create publish amphora.tar docker:image:amphora-x64-haproxy
      diskimage-create publish amphora.qcow2 oci://registry.example.com/images/amphora:trixie
      diskimage-create publish amphora.qcow2 glance:amphora-x64-haproxy --os-cloud site --keep-last 2
    """
    from diskimage_create import progress
    from diskimage_create.publish import Options, Status, report, source
    from diskimage_create.publish import publish as publish_to
    from diskimage_create.publish.model import Compression, Form

    glance, wanted, registries, read = _all_of(
        lambda: _glance(values),
        lambda: _places(places),
        lambda: access(values),
        lambda: source.read(image),
    )
    stop_on_signals("what is not complete has no name at its destination, and the same command goes on")
    with progress.transfers(len(wanted)) as display:
        shown = _Shown(display)
        options = Options(
            force=values["force"],
            keep_last=values["keep_last"],
            access=registries,
            form=Form(values["form"]) if values["form"] else None,
            compression=Compression(values["compression"]),
            glance=glance,
            progress=shown.progress,
            say=lambda line: click.echo(line, err=True),
        )
        receipts = publish_to(read, wanted, options, shown.receipt)
    click.echo(report.as_json(read, receipts) if output_format == "json" else report.as_text(receipts))
    failed = [Problem(each.message, each.destination, each.hint) for each in receipts if each.status is Status.FAILED]
    if failed:
        raise RemoteProblems(failed)
    return 0


def _all_of(*readers: Callable[[], Any]) -> list[Any]:
    """What each of them reads.

    :raises InputError: all that is wrong with any of it
    """
    found: list[Any] = []
    problems: list[Problem] = []
    for read in readers:
        try:
            found.append(read())
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return found


def _places(texts: tuple[str, ...]) -> list[Destination]:
    """The destinations; each option of the command line says something to one of them.

    Those of the environment may be there for other runs.

    :raises InputError: they cannot be understood, or an option says nothing to any of them
    """
    from diskimage_create.publish import destinations

    wanted = destinations.parse(texts)
    kinds = {destinations.kind(text) for text in texts}
    ctx = click.get_current_context()
    problems = [
        Problem(f"it says nothing to {', '.join(texts)}", parameter.opts[0], f"it is for {', '.join(sorted(only))}")
        for parameter in ctx.command.params
        if (only := _ONLY.get(parameter.name or "")) and not only & kinds
        if ctx.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    ]
    if problems:
        raise InputError(problems)
    return wanted


class _Shown:
    """What goes on, on a display; each destination begins when something of it is transferred."""

    def __init__(self, display: Transfers) -> None:
        self._display = display
        self._begun: dict[str, int] = {}

    def progress(self, what: str, done: int, total: int) -> None:
        """So many bytes are there."""
        if self._begun.get(what) != total:
            self._begun[what] = total
            self._display.begin(what, total)
        self._display.advance(what, done)

    def receipt(self, receipt: Receipt) -> None:
        """A destination is over."""
        self._display.end(receipt.destination, str(receipt.status))


def _glance(values: dict[str, Any]) -> Glance:
    """What is said to Glance.

    :raises InputError: a property has no value
    """
    from diskimage_create.publish.model import Glance

    pairs = [text.partition("=") for text in values["properties"]]
    wrong = ["=".join((name, value)) if sign else name for name, sign, value in pairs if not (sign and name)]
    if wrong:
        raise InputError([Problem(f"{text!r} is no property", "--property", "write it NAME=VALUE") for text in wrong])
    properties = {name: value for name, _, value in pairs}
    return Glance(values["os_cloud"], properties, tuple(values["tags"]), values["visibility"])
