"""``crystallize list``: the experiments of a project."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystallize.cli import options  # noqa: TC001 - Typer looks at it
from crystallize.cli.screen import Styled, echo, print_json, styled, wants_colours
from crystallize.utils.quantities import format_time
from crystallize.utils.text_table import columns_of, padded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.config.project import FoundExperiment

    LastRun = dict[str, Any] | None  # see crystallize.cli.stored.last_run


def list_experiments(
    as_json: options.JsonList = False,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="List those too that config.yaml hides with cli.hidden.")
    ] = False,
) -> None:
    """List the experiments of this project.

    Those are all folders with a config.yaml below ./experiments, or below the
    `root` that the table tool.crystallize of pyproject.toml names. They are
    listed in the groups and the order that config.yaml asks for under `cli`.

    Beside each stands when its newest complete run ended, and how many of its
    outcomes failed. Experiments that read outputs of others have the sign \N{CHART WITH UPWARDS TREND}
    and name them. One whose config.yaml has mistakes is listed with the first
    of them, and `crystallize check` tells them all. No module of yours is
    imported.
    """
    from crystallize.cli.stored import last_run
    from crystallize.config.folders import experiments_root
    from crystallize.config.project import find_experiments, in_order
    from crystallize.utils.wording import shown

    root = experiments_root()
    everything_found = list(find_experiments(root))
    wanted = in_order(each for each in everything_found if everything or not each.hidden)
    found = [(each, None if each.runs is None else last_run(each.runs)) for each in wanted]
    if as_json:
        print_json([_as_json(*each) for each in found])
    elif found:
        _print(found)
    elif everything_found:
        echo("All experiments are hidden: see them with 'crystallize list --all'.")
    else:
        echo(
            f"There are no experiments in {shown(root)}: make one with 'crystallize new NAME', "
            "or look at an example with 'crystallize demo'."
        )


def _as_json(each: FoundExperiment, last: LastRun) -> dict[str, Any]:
    return {
        "name": each.name,
        "description": each.description,
        "path": str(each.folder),
        "group": each.group,
        "priority": each.priority,
        "icon": each.icon,
        "color": each.color,
        "hidden": each.hidden,
        "treatments": list(each.treatments),
        "depends_on": list(each.depends_on),
        "last_run": last,
        "error": each.error,
    }


def _print(found: Sequence[tuple[FoundExperiment, LastRun]]) -> None:
    from crystallize.config.project import GRAPH

    width = max(columns_of(each.name) for each, _ in found)
    ended = [_ended(each, last) for each, last in found]
    ended_width = max(map(len, ended))
    group = None
    for (each, last), when in zip(found, ended, strict=True):
        if each.group != group:
            if group is not None:
                echo()
            group = each.group
            echo(styled(_one_line(group), bold=True))
        sign = " ".join(filter(None, (_one_line(each.icon), GRAPH if each.is_graph else "")))
        problem = "" if last is None else last["problem"] or ""
        details = [each.error or problem or _one_line(each.description)]
        if each.is_graph:
            details.insert(0, f"depends on {', '.join(each.depends_on)}")
        about = f"{sign}{'  ' if sign else ''}{'. '.join(filter(None, details))}"
        failed = problem or (last is not None and last["failed_outcomes"])
        echo(
            "  ",
            _coloured(padded(each.name, width), "red" if each.error else each.color),
            "  ",
            styled(when.ljust(ended_width), fg="red" if failed else None, dim=not failed),
            f"  {about}".rstrip(),
        )


def _ended(each: FoundExperiment, last: LastRun) -> str:
    """Return when the last run ended, by the clock on the wall, and how much of it failed."""
    from crystallize.store.metadata import time_in

    if each.error:
        return ""
    if last is None:
        return "no complete run"
    if last["problem"]:
        return "unreadable"
    failed = last["failed_outcomes"]
    when = format_time(time_in(last, "finished")) or "date unknown"
    return f"{when}, {failed} failed" if failed else when


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _coloured(text: str, color: str) -> str | Styled:
    """Colour a text; a name or ``#rrggbb`` that the terminal does not have stays without."""
    if not color or not wants_colours(sys.stdout):
        return text
    from rich.color import ColorParseError, ColorSystem
    from rich.style import Style

    from crystallize.cli.screen import console

    try:
        style = Style(color=color)  # nothing but a colour: a rich style may hold links
    except ColorParseError:
        return text
    system = console().color_system
    if system is None:
        return text
    names = {
        "standard": ColorSystem.STANDARD,
        "256": ColorSystem.EIGHT_BIT,
        "truecolor": ColorSystem.TRUECOLOR,
    }
    known = names.get(system, ColorSystem.WINDOWS)
    return Styled(text, lambda shown: style.render(shown, color_system=known))
