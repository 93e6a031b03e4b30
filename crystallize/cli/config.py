"""``crystallize config``: what config.yaml may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystallize.cli.screen import echo

app = typer.Typer(no_args_is_help=True)


@app.callback()  # without it, an app of one command would be that command
def _group() -> None:
    """Look at what config.yaml may hold."""


@app.command("schema")
def schema(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write it to this file instead of printing it.", show_default=False
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of config.yaml, for editors.

    With it, an editor that has a YAML language server completes and checks
    config.yaml as you type. Write the schema to a file once:

        crystallize config schema --output schema.json

    and name that file, by its path from config.yaml, in the first line of
    each config.yaml:

        # yaml-language-server: $schema=../../schema.json

    The schema knows keys and types. What it cannot know, such as the names of
    your functions, `crystallize check` does.
    """
    from crystallize.config.schema import json_schema
    from crystallize.utils.json_text import to_json

    text = to_json(json_schema(), indent=2)
    if output is None:
        echo(text)
    else:
        from crystallize.utils.writing import write_file

        write_file(output, f"{text}\n".encode())
        echo(f"Wrote {output}")
