"""``crystallize tui``: the command that opens the terminal UI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tui(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="The folder to look for experiments in. By default that of the project.", show_default=False
        ),
    ] = None,
) -> None:
    """See, create, run and compare experiments without leaving the terminal."""
    from crystallize_tui.app import CrystallizeApp

    CrystallizeApp(path).run()
