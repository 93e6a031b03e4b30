"""What the commands that remove something have in common: their options, and the question before it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from crystallize.cli import errors, screen

DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would be removed, and remove nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def is_wanted(what: str, *, dry_run: bool, yes: bool) -> bool:
    """Ask whether to remove something, and tell the answer; no ends the command, and a dry run only says what it is."""
    if dry_run:
        screen.echo(f"This would remove {what}.")
        return False
    if yes:
        return True
    if not sys.stdin.isatty():
        screen.echo("Nothing was removed: add --yes, where nobody can be asked.", err=True)
        raise typer.Exit(errors.WRONG_USE)
    return typer.confirm(f"Remove {what}?", abort=True)
