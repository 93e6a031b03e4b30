"""``crystallize runs tail``: a run that another process makes, outcome by outcome."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystallize.cli import options, screen
from crystallize.utils.terminal import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.store.journal import Entry

_SECONDS_BETWEEN_LOOKS = 0.2
_MOST_METRICS = 4


def tail(
    name: options.ExperimentName,
    version: Annotated[
        int | None,
        typer.Option("--version", min=0, help="Which run; by default the newest.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each outcome, for programs to read.")
    ] = False,
) -> None:
    """Follow a run that another process makes: print each outcome as it arrives.

    It ends with the run; of one that has ended, it prints all outcomes. Ctrl-C
    ends the printing, not the run.
    """
    from crystallize.cli.stored import find_location
    from crystallize.results.follow import RunFollower, find_newest, follow
    from crystallize.store.finding import find_version

    location = find_location(name)
    run = find_newest(location) if version is None else find_version(location, version)
    follower = RunFollower(run)
    for entry in follow(follower, lambda: time.sleep(_SECONDS_BETWEEN_LOOKS)):
        screen.echo(_json_line(entry) if as_json else one_line(_line(entry)))
    follower.warn_of_damage()
    if not as_json:
        screen.echo(_end(location.experiment, run))


def _line(entry: Entry) -> str:
    replicate, outcome = entry
    head = f"{replicate:5}  {outcome.condition}  {outcome.status}  {outcome.seconds:.2f} s"
    if outcome.error is not None:
        return f"{head}  {outcome.error.kind}: {outcome.error.message}"
    metrics = [f"{metric} {_values(values)}" for metric, values in outcome.metrics.items()]
    more = f", and {len(metrics) - _MOST_METRICS} more" if len(metrics) > _MOST_METRICS else ""
    return f"{head}  {', '.join(metrics[:_MOST_METRICS])}{more}".rstrip()


def _values(values: list[Any]) -> str:
    last = values[-1] if values else None
    shown = f"{last:.4g}" if isinstance(last, float) else str(last)
    return shown if len(values) == 1 else f"{shown} (last of {len(values)})"


def _json_line(entry: Entry) -> str:
    from crystallize.utils.json_text import to_json

    replicate, outcome = entry
    error = None if outcome.error is None else outcome.error._asdict()
    return to_json(
        {
            "replicate": replicate,
            "condition": outcome.condition,
            "attempt": outcome.attempt,
            "status": outcome.status,
            "started": outcome.started,
            "seconds": outcome.seconds,
            "seed": outcome.seed,
            "metrics": outcome.metrics,
            "error": error,
        },
        strict=True,
    )


def _end(experiment: str, run: Path) -> str:
    from crystallize.store.finding import during_swap
    from crystallize.store.metadata import read_metadata, status_of

    place = during_swap(run)  # it may have got its number meanwhile
    return f"The run of {experiment} is {status_of(place, read_metadata(place)) or 'unknown'}."
