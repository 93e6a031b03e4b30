"""The command ``crystallize``."""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer

from crystallize.cli import plugins

app = typer.Typer(
    name="crystallize",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(plugins.app, name="plugins")


def _print_version(asked: bool) -> None:
    if asked:
        import crystallize

        typer.echo(f"crystallize {crystallize.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Replicated, reproducible experiments whose every part is a plugin."""


def main() -> None:
    """Run the command line; a mistake of the user's ends it with a message and exit code 2."""
    from crystallize.errors import CrystallizeError

    gc.set_threshold(50_000)  # imports make objects by the ten thousand, and no garbage to look for
    try:
        app()
    except CrystallizeError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
