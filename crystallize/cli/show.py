"""``crystallize show``: what a stored run measured."""

from __future__ import annotations

import json
from enum import StrEnum
from shlex import join
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystallize.cli import options, screen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize.results.best import BestSet
    from crystallize.results.effects import Effects
    from crystallize.results.result import Result


class Direction(StrEnum):
    """Where better lies."""

    MIN = "min"
    MAX = "max"


def show(
    name: options.ExperimentName,
    *,
    version: options.Version = None,
    tree: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Print how each number came about instead, as a tree: 'condition > replicate > step', or its levels "
            "in another order.",
            show_default=False,
        ),
    ] = None,
    effects: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="Print what each factor of a grid does to this metric instead: main effects and interactions.",
            show_default=False,
        ),
    ] = None,
    best: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="Print which conditions cannot be told from the best by this metric instead, and how much worse than "
            "the best each one can be.",
            show_default=False,
        ),
    ] = None,
    direction: Annotated[
        Direction | None,
        typer.Option(
            help="With --best: whether small values are good, or large ones; by default, what a hypothesis says.",
            show_default=False,
        ),
    ] = None,
    detail: Annotated[
        bool,
        typer.Option(
            "--detail",
            help="Print all that is known of each comparison: effect sizes, what pairing was worth, verdicts.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object: status, metadata, metrics, errors and summary, for programs to read.",
        ),
    ] = False,
) -> None:
    """Show the stored results of an experiment.

    They are read from the store, without importing anything of yours. An
    experiment that a script has stored below ./data is found by its name, too.

    The exit code is 2 if nothing is stored.
    """
    if sum(each is not None for each in (tree, effects, best)) > 1:
        raise typer.BadParameter(
            "each is printed instead of all else", param_hint="--tree, --effects, --best"
        )
    if as_json and tree is not None:
        raise typer.BadParameter("a tree is text, and no JSON", param_hint="--tree, --json")
    if direction is not None and best is None:
        raise typer.BadParameter("it goes with --best METRIC", param_hint="--direction")
    from crystallize.cli.stored import find_named_version
    from crystallize.cli.tables import print_result
    from crystallize.results.load import load_run
    from crystallize.store.metadata import FINISHED, status_of

    folder = find_named_version(name, version)
    result, metadata = load_run(folder)
    if tree is not None:
        screen.echo(result.provenance.tree(tree))
        return
    if effects is not None:
        _print(result.effects(effects), as_json=as_json)
        return
    if best is not None:
        found = result.best(best, direction=direction)  # type: ignore[arg-type]
        _print(found, as_json=as_json)
        if not as_json and (words := _words_for(name, result, metadata, found.names[0])) is not None:
            again = [*words, "--seed", str(result.master_seed + 1), "--replicates", str(result.arrived)]
            screen.echo(f"  crystallize run {join(again)}")
        return
    status = status_of(folder, metadata)
    if as_json:
        screen.print_json(
            {
                "experiment": result.experiment,
                "path": str(result.path),
                "status": status,
                "metadata": metadata,
                "metrics": {name: result.condition(name).metrics for name in result.conditions},
                "errors": [error._asdict() for error in result.errors],
                "summary": result.summary(detail=True).to_dict(),
            }
        )
        return
    ended = "" if status == FINISHED else f", which is {status}"
    print_result(result.experiment, result, f"Run of {metadata.get('started')}{ended}", detail=detail)


def _print(found: Effects | BestSet, *, as_json: bool) -> None:
    if as_json:
        screen.print_json(found.to_dict())
    else:
        screen.echo(str(found))


def _words_for(name: str, result: Result, metadata: Mapping[str, Any], condition: str) -> list[str] | None:
    """Return what `crystallize run` needs to run one condition as a stored run had it; None if it cannot be told.

    An experiment of a script has no folder, and a treatment or a setting may be gone, or not stored as it was.
    """
    from crystallize.config.folders import resolve
    from crystallize.config.reader import read_config
    from crystallize.config.recorded import recorded_context
    from crystallize.config.treatments import treatments_of
    from crystallize.errors import CrystallizeError
    from crystallize.store.layout import BASELINE

    try:
        defined = treatments_of(read_config(resolve(name).config).treatments)
        settings = recorded_context(metadata, {})
    except CrystallizeError:
        return None
    words = [name, *_assigned("--set", settings)]
    if condition in {BASELINE, *(each.name for each in defined)}:
        return [*words, "--treatment", condition]
    coordinates = result.condition(condition).coordinates
    return [*words, *_assigned("--grid", coordinates)] if coordinates else None


def _assigned(option: str, values: Mapping[str, Any]) -> list[str]:
    return [word for key, value in values.items() for word in (option, f"{key}={json.dumps(value)}")]
