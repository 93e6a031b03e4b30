"""``crystallize list``: the experiments of a project."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol, TypeVar

import typer

from crystallize.cli import options  # noqa: TC001 - Typer looks at it
from crystallize.cli.quantities import format_time
from crystallize.cli.screen import Styled, echo, print_json, styled, wants_colours
from crystallize.utils.text_table import columns_of, padded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from crystallize.config.folders import ExperimentFolder

GRAPH = "\N{CHART WITH UPWARDS TREND}"
BROKEN = "Broken"


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
    last_run : dict or None
        Its newest complete run: path, started, finished, failed_outcomes, and why it cannot be read; None if
        there is none.
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
    last_run: dict[str, Any] | None = None
    error: str = ""


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
    from crystallize.config.folders import experiments_root, find_folders
    from crystallize.utils.suggest import shown

    root = experiments_root()
    everything_found = [_read(folder) for folder in find_folders(root)]
    found = [each for each in everything_found if everything or not each.hidden]
    found = in_order(found)
    if as_json:
        print_json([each._asdict() | {"path": str(each.path)} for each in found])
    elif found:
        _print(found)
    elif everything_found:
        echo("All experiments are hidden: see them with 'crystallize list --all'.")
    else:
        echo(
            f"There are no experiments in {shown(root)}: make one with 'crystallize new NAME', "
            "or look at an example with 'crystallize demo'."
        )


def _read(folder: ExperimentFolder) -> Listed:
    from crystallize.cli.stored import last_run, location_of
    from crystallize.config.errors import ConfigError
    from crystallize.config.reader import read_config
    from crystallize.config.treatments import treatments_of
    from crystallize.experiments.treatment import with_baseline

    try:
        config = read_config(folder.config)
    except ConfigError as error:
        reason = str(error.problems[0])
        return Listed(folder.name, "", folder.path, BROKEN, 0, "", "", False, [], [], None, reason)
    cli = config.cli
    location = location_of(folder.name, config)
    return Listed(
        folder.name,
        config.description,
        folder.path,
        cli.group,
        cli.priority,
        cli.icon,
        cli.color,
        cli.hidden,
        list(with_baseline(each.name for each in treatments_of(config.treatments))[1:]),
        list(dict.fromkeys(each.experiment for each in config.references())),
        None if location is None else last_run(location),
    )


class _Grouped(Protocol):
    """What can be put in order: a :class:`Listed`, or whatever else has these."""

    @property
    def name(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def error(self) -> str: ...


_T = TypeVar("_T", bound=_Grouped)


def in_order(found: Sequence[_T]) -> list[_T]:
    """Return experiments by group, priority and name, broken ones last; a group stands where its first one would."""
    first: dict[str, int] = {}
    for each in found:
        first[each.group] = min(each.priority, first.get(each.group, each.priority))

    def sort_key(each: _T) -> tuple[Any, ...]:
        return bool(each.error), first[each.group], each.group, each.priority, each.name

    return sorted(found, key=sort_key)


def _print(found: Sequence[Listed]) -> None:
    width = max(columns_of(each.name) for each in found)
    ended = [_ended(each) for each in found]
    ended_width = max(map(len, ended))
    group = None
    for each, when in zip(found, ended, strict=True):
        if each.group != group:
            if group is not None:
                echo()
            group = each.group
            echo(styled(_one_line(group), bold=True))
        sign = " ".join(filter(None, (_one_line(each.icon), GRAPH if each.depends_on else "")))
        problem = "" if each.last_run is None else each.last_run["problem"] or ""
        details = [each.error or _one_line(each.description), problem]
        if each.depends_on:
            details.insert(0, f"depends on {', '.join(each.depends_on)}")
        about = f"{sign}{'  ' if sign else ''}{'. '.join(filter(None, details))}"
        failed = problem or (each.last_run is not None and each.last_run["failed_outcomes"])
        echo(
            "  ",
            _coloured(padded(each.name, width), "red" if each.error else each.color),
            "  ",
            styled(when.ljust(ended_width), fg="red" if failed else None, dim=not failed),
            f"  {about}".rstrip(),
        )


def _ended(each: Listed) -> str:
    """Return when the last run ended, by the clock on the wall, and how much of it failed."""
    from crystallize.store.metadata import time_in

    if each.error:
        return ""
    if each.last_run is None:
        return "no complete run"
    if each.last_run["problem"]:
        return "unreadable"
    failed = each.last_run["failed_outcomes"]
    when = format_time(time_in(each.last_run, "finished")) or "date unknown"
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
