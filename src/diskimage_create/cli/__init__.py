"""The command line: parse, one call, print. One small module a command, imported when it is used."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
from click_default_group import DefaultGroup

from diskimage_create.errors import DiskImageError, Interrupted, Problem, of_system, problems_of
from diskimage_create.signals import stop_on_signals as stop_on_signals

#: Command -> what ``--help`` says of it; its module and function have its name
COMMANDS = MappingProxyType(
    {
        "build": "Plan, build, check and record images. The default command.",
        "plan": "Show what would be built, and with what.",
        "validate": "Check an image through a read-only mount.",
        "verify": "Check an image against the record, checksums, SBOMs and signatures beside it.",
        "boot": "Boot an image in QEMU and check it from outside; an amphora under traffic.",
        "sbom": "Print what is in an image: SPDX or CycloneDX.",
        "attest": "Write SBOMs, provenance and checksums beside an image, and sign them.",
        "publish": "Bring an image to docker, podman, registries, Glance, directories, object stores.",
        "elements": "List, show, draw and check elements.",
        "images": "Check, pin and mirror the container images that charts and other files name.",
        "values": "Values of OpenStack-Helm's charts: split, amphora.",
        "diff": "Show what changed between two images or records.",
        "container": "Change, push and list container images.",
        "cache": "List, remove and verify what builds have stored.",
        "worker": "Build images that others ask a cluster for.",
        "config": "Print the JSON Schema of configuration files.",
        "doctor": "Show what this host has, and lacks, for building.",
    }
)
_HELP_OPTIONS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
#: Of every command: each option can be set as DISKIMAGE_CREATE_<LONG_NAME>
CONTEXT: dict[str, Any] = {"auto_envvar_prefix": "DISKIMAGE_CREATE", **_HELP_OPTIONS}

EXIT_CODES = """\b
Exit codes: 0 done; 1 findings; 2 bad usage or input; 3 this host lacks something;
4 the build failed; 5 the image was rejected; 6 a remote failed; 130 interrupted."""


class LazyCommands(DefaultGroup):  # type: ignore[misc]
    """Knows its commands by name, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of a build's life."""
        return list(COMMANDS)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """``build`` where there is no word at all, but not while a shell completes the first one."""
        parse = click.Group.parse_args if ctx.resilient_parsing else DefaultGroup.parse_args
        rest: list[str] = parse(self, ctx, args)
        return rest

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; ``build`` where the word is an option or an argument."""
        name = cmd_name if cmd_name in COMMANDS else self.default_cmd_name
        if name not in self.commands:
            module = import_module(f"diskimage_create.cli.{name}")
            self.add_command(getattr(module, name), name)
        command: click.Command | None = super().get_command(ctx, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    for name in ("diskimage-create", "diskimage-builder"):
        click.echo(f"{name} {version(name)}")
    ctx.exit()


version_option = click.option(
    "-v",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    allow_from_autoenv=False,
    callback=_print_version,
    help="Show the versions of this and of diskimage-builder.",
)


format_option = click.option(
    "--format",
    "output_format",
    envvar="DISKIMAGE_CREATE_FORMAT",
    type=click.Choice(["text", "json"]),
    default="text",
    help="[text]",
)

report_option = click.option(
    "--report",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Write a report there: .html, .xml (JUnit), .json or .txt. Repeatable.",
)


@click.group(
    cls=LazyCommands,
    default="build",
    default_if_no_args=True,
    context_settings=_HELP_OPTIONS,
    epilog=EXIT_CODES,
)
@version_option
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Build, prove and publish OpenStack disk images with diskimage-builder.

    \b
    Examples:
      diskimage-create -i debian                 build a Debian amphora
      diskimage-create plan -i ubuntu -t tar     show what a build would do
      diskimage-create validate X.qcow2          check an image
      diskimage-create diff X.qcow2 Y.qcow2      what changed between two images
      diskimage-create build --help              all options of a build
    """


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    _open_standard_streams()
    arguments = sys.argv[1:] if argv is None else argv
    try:
        status: Any = cli.main(args=arguments, prog_name="diskimage-create", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments:
            raise
        return report_error(error)
    finally:
        _give_up_what_nobody_takes()


def _give_up_what_nobody_takes() -> None:
    """What a stream could not take stays in it, and Python's last attempt to write it would decide the exit status."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except OSError:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (stays open)


def _open_standard_streams() -> None:
    """A closed stream lends its number to the next file that is opened, and is None to whoever prints."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (stays open)
    for stream in (sys.stdout, sys.stderr):
        # File names and variables may be any bytes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def report_error(error: BaseException) -> int:
    """Print an error as ``error: WHAT (WHERE)`` and ``hint: WHAT TO DO``; returns the exit status."""
    if isinstance(error.__cause__, (Interrupted, KeyboardInterrupt)):  # a signal came while Python made a class
        error = error.__cause__
    match error:
        case DiskImageError():
            _print(problems_of(error))
            return error.exit_code
        case click.UsageError():
            hint = f"see '{error.ctx.command_path} --help'" if error.ctx else "see --help"
            _print([Problem(error.format_message(), None, hint)])
            return 2
        case click.ClickException():
            _print([Problem(error.format_message())])
            return 2
        case OSError():
            _print([of_system(error)])
            return 4
        case click.Abort() | KeyboardInterrupt():
            _print([Problem("interrupted")])
            return 130
        case _:
            hint = "this is a bug of diskimage-create: please report what 'diskimage-create --debug ...' shows"
            _print([Problem(f"{type(error).__name__}: {error}", "internal error", hint)])
            return 4


def _print(problems: Any) -> None:
    color = False if os.environ.get("NO_COLOR") else None  # None: on a terminal
    with suppress(OSError):  # nobody listens any more; the exit status still tells
        for problem in problems:
            click.echo(f"{click.style('error:', fg='red', bold=True)} {problem}", err=True, color=color)
            if problem.hint:
                click.echo(f"{click.style('hint:', fg='cyan')} {problem.hint}", err=True, color=color)
