"""``crystallize plugins``: what is installed and whether it works."""

from __future__ import annotations

from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.plugins.collection import Installed

app = typer.Typer(help="Look at the installed plugins.", no_args_is_help=True)

_COLOURS = {"active": "green", "disabled": "yellow", "failed": "red"}
_HEADINGS = ("NAME", "GROUP", "STATUS", "DISTRIBUTION", "HOOKS")
_NARROWEST_HOOKS = 20


@app.callback()
def _group() -> None:
    """Look at the installed plugins."""


@app.command(
    "list",
    help="List every installed lifecycle plugin, execution strategy, loader, verifier and command.\n\n"
    "Each is active, disabled by an environment variable, or failed, with the reason. "
    "To find out, the plugins that are not disabled are imported; nothing is run.",
)
def list_plugins(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of objects, for programs to read.")
    ] = False,
) -> None:
    """Print what :func:`crystallize.plugins.collection.survey` finds."""
    from crystallize.plugins.collection import survey

    installed = [_as_command(each) for each in survey()]
    if as_json:
        import json

        typer.echo(json.dumps([each._asdict() for each in installed], indent=2))
    elif installed:
        for line in _table(installed):
            typer.echo(line)
    else:
        typer.echo("No plugin is installed, not even Crystallize's own: install crystallize-lab again.")


def _as_command(each: Installed) -> Installed:
    """Look at a command once more, as the command line sees it: Typer may refuse it, or its name be ours."""
    from crystallize.cli.commands import fault
    from crystallize.discovery import COMMANDS, find

    if each.group != COMMANDS or each.status == "failed":
        return each
    reasons = (fault(found) for found in find(COMMANDS) if found.name == each.name)
    reason = next(filter(None, reasons), "")
    return each._replace(status="failed", error=reason) if reason else each


def _table(installed: Sequence[Installed]) -> Iterator[str]:
    """Lay the records out, by hand: loading rich for it would take longer than all else here."""
    rows = [
        (
            each.name,
            each.group.removeprefix("crystallize."),
            each.status,
            f"{each.distribution} {each.version}",
        )
        for each in installed
    ]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=False)]
    indent = sum(widths) + 2 * len(widths)
    room = max(get_terminal_size().columns - indent, _NARROWEST_HOOKS)
    padded = [heading.ljust(width) for heading, width in zip(_HEADINGS, widths, strict=False)]
    yield typer.style("  ".join([*padded, _HEADINGS[-1]]), bold=True)
    for each, row in zip(installed, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[2] = typer.style(cells[2], fg=_COLOURS[each.status])
        first, *more = wrap(" ".join(each.hooks), room) or [""]
        yield "  ".join([*cells, first]).rstrip()
        yield from (" " * indent + line for line in more)
    for each in installed:
        if each.error:
            yield ""
            yield from wrap(f"failed: {each.error}", get_terminal_size().columns, subsequent_indent="  ")
