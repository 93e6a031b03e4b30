"""``crystallize tui``: the command that opens the terminal UI."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from crystallize.utils.terminal import is_terminal


def tui(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="The folder to look for experiments in. By default `root` under tool.crystallize in "
            "pyproject.toml, or else ./experiments.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """See, create, run and compare experiments without leaving the terminal.

    The first screen lists the experiments of this project, with how their
    last runs ended. Enter runs the one under the cursor, n makes a new one, and
    ? shows all keys.

    `crystallize` alone opens it too. CRYSTALLIZE_DISABLE_PLUGINS=tui brings its
    help back; NO_COLOR does without colours.
    """
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)) or os.environ.get("TERM") == "dumb":
        raise typer.BadParameter("it needs a terminal; 'crystallize list' and 'crystallize run' do not")
    from crystallize_tui.app import CrystallizeApp

    app = CrystallizeApp(path)
    app.run()
    for line in app.active.farewell():
        typer.echo(line)
    raise typer.Exit(app.return_code or 0)
