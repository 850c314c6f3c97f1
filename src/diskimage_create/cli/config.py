"""``diskimage-create config``: the format of configuration files."""

from __future__ import annotations

import click

from diskimage_create.cli import CONTEXT


@click.group(context_settings=CONTEXT)
def config() -> None:
    """Print the JSON Schema of configuration files.

    \b
    Example:
      diskimage-create config schema > images.schema.json
    """


@config.command(context_settings=CONTEXT)
def schema() -> None:
    """Print the JSON Schema of the files that --config takes.

    An editor that knows it completes keys and explains them: with the YAML language server, by the comment
    "# yaml-language-server: $schema=images.schema.json" in the file.

    \b
    Example:
      diskimage-create config schema > images.schema.json
    """
    from diskimage_create.yamlfile import schema_text

    click.echo(schema_text("config"), nl=False)
