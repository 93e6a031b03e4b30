"""``crystallize list``: the experiments of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from crystallize.config.folders import ExperimentFolder

_GRAPH = "\N{CHART WITH UPWARDS TREND}"
_BROKEN = "Broken"


class Listed(NamedTuple):
    """One experiment of the list.

    Attributes
    ----------
    name, description : str
        Its name, and what it says of itself.
    path : pathlib.Path
        Its folder.
    group, icon, color : str
        How config.yaml wants it shown.
    priority : int
        Small ones come first in their group.
    hidden : bool
        Whether it is left out unless all are asked for.
    treatments : list of str
        Its treatments.
    depends_on : list of str
        The experiments whose outputs it reads.
    error : str
        The first thing that is wrong with its config.yaml; empty for most.
    """

    name: str
    description: str
    path: Path
    group: str
    priority: int
    icon: str
    color: str
    hidden: bool
    treatments: list[str]
    depends_on: list[str]
    error: str = ""


def list_experiments(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of objects, for programs to read.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="List those too that config.yaml hides with cli.hidden.")
    ] = False,
) -> None:
    """List the experiments of this project.

    Those are all folders with a config.yaml below ./experiments, or below the
    `root` that the table tool.crystallize of pyproject.toml names. They are
    listed in the groups and the order that config.yaml asks for under `cli`.

    Experiments that read outputs of others have the sign \N{CHART WITH UPWARDS TREND} and name them. One
    whose config.yaml has mistakes is listed with the first of them, and
    `crystallize check` tells them all. No module of yours is imported.
    """
    from crystallize.config.errors import shown
    from crystallize.config.folders import experiments_root, find_folders

    root = experiments_root()
    everything_found = [_read(folder) for folder in find_folders(root)]
    found = [each for each in everything_found if everything or not each.hidden]
    found.sort(key=_sort_key(found))
    if as_json:
        from crystallize.cli.options import print_json

        print_json([each._asdict() | {"path": str(each.path)} for each in found])
    elif found:
        _print(found)
    elif everything_found:
        typer.echo("All experiments are hidden: see them with 'crystallize list --all'.")
    else:
        typer.echo(
            f"There are no experiments in {shown(root)}: make one with 'crystallize new NAME', "
            "or look at an example with 'crystallize demo'."
        )


def _read(folder: ExperimentFolder) -> Listed:
    from crystallize.config.errors import ConfigError
    from crystallize.config.reader import read_config

    try:
        config = read_config(folder.config)
    except ConfigError as error:
        reason = str(error.problems[0])
        return Listed(folder.name, "", folder.path, _BROKEN, 0, "", "", False, [], [], reason)
    cli = config.cli
    return Listed(
        folder.name,
        config.description,
        folder.path,
        cli.group,
        cli.priority,
        cli.icon,
        cli.color,
        cli.hidden,
        list(config.treatments),
        list(dict.fromkeys(each.experiment for each in config.references())),
    )


def _sort_key(found: Sequence[Listed]) -> Any:
    """Return the key that sorts by group, priority and name; a group stands where its first experiment would."""
    first: dict[str, int] = {}
    for each in found:
        first[each.group] = min(each.priority, first.get(each.group, each.priority))

    def sort_key(each: Listed) -> tuple[Any, ...]:
        return bool(each.error), first[each.group], each.group, each.priority, each.name

    return sort_key


def _print(found: Sequence[Listed]) -> None:
    width = max(len(each.name) for each in found)
    heading = None
    for each in found:
        if each.group != heading:
            if heading is not None:
                typer.echo()
            heading = each.group
            typer.secho(heading, bold=True)
        sign = " ".join(filter(None, (each.icon, _GRAPH if each.depends_on else "")))
        details = [each.error or " ".join(each.description.split())]
        if each.depends_on:
            details.insert(0, f"depends on {', '.join(each.depends_on)}")
        name = _coloured(each.name.ljust(width), "red" if each.error else each.color)
        line = f"  {name}  {sign}{'  ' if sign else ''}{'. '.join(filter(None, details))}"
        typer.echo(line.rstrip())


def _coloured(text: str, color: str) -> str:
    """Colour a text; a name or ``#rrggbb`` that the terminal does not have stays without."""
    import sys

    if not color or not sys.stdout.isatty():
        return text
    from rich.errors import StyleSyntaxError
    from rich.style import Style

    from crystallize.cli.options import console

    try:
        style = Style.parse(color)
    except StyleSyntaxError:
        return text
    screen = console()
    with screen.capture() as captured:
        screen.print(text, style=style, end="")
    return captured.get()
