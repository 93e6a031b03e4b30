"""``crystallize plugins``: what is installed and whether it works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.plugins.collection import Installed

app = typer.Typer(help="Look at the installed plugins.", no_args_is_help=True)

_COLOURS = {"active": "green", "disabled": "yellow", "failed": "red"}


@app.callback()
def _group() -> None:
    """Look at the installed plugins."""


@app.command("list")
def list_plugins(
    as_json: Annotated[
        bool | None, typer.Option("--json", help="Print a JSON list of objects, for programs to read.")
    ] = None,
) -> None:
    """List every installed lifecycle plugin, execution strategy and loader.

    A plugin is active, disabled by an environment variable, or failed; the reason why it failed is printed
    with it. Listing imports the plugins that are not disabled, and runs nothing.
    """
    from crystallize.plugins.collection import survey

    installed = survey()
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(each) for each in installed], indent=2))
    else:
        _print_table(installed)


def _print_table(installed: Sequence[Installed]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not installed:
        typer.echo("No plugins are installed, not even Crystallize's own: install crystallize-lab again.")
        return
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("NAME", "GROUP", "STATUS", "DISTRIBUTION", "HOOKS"):
        table.add_column(heading, overflow="fold", ratio=1 if heading == "HOOKS" else None)
    for each in installed:
        table.add_row(
            Text(each.name),
            each.group.removeprefix("crystallize."),
            Text(each.status, style=_COLOURS[each.status]),
            Text(f"{each.distribution} {each.version}"),
            "\n".join(each.hooks),
        )
    console.print(table)
    for each in installed:
        if each.error:
            console.print(Text.assemble("\n", ("failed: ", "red"), each.error))
