"""Results as people read them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from crystallize.results.result import Result


def print_result(name: str, result: Result, subtitle: str = "") -> None:
    """Print a run's summary with what its hypotheses found, its seed, and where it is stored."""
    from crystallize.config.errors import shown

    typer.secho(name, bold=True)
    if subtitle:
        typer.echo(subtitle)
    if sys.stdout.isatty():
        from crystallize.cli.options import console

        console().print(result.summary())
    else:  # plain text of its own width
        typer.echo(str(result.summary()))
    typer.echo(f"Seed: {result.master_seed}")
    path = result.path
    typer.echo(f"Results: {shown(path)}" if path else "Results: not stored, since no plugin stores them")
