"""``crystallize show``: what a stored run measured."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from crystallize.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.results.result import ConditionMetrics
    from crystallize.results.summary import Summary
    from crystallize.store.layout import RunLocation


def show(
    name: options.ExperimentName,
    version: Annotated[
        int | None,
        typer.Option(
            min=0, help="The version to show; by default the newest complete one.", show_default=False
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object: metadata, metrics and summary, for programs to read."
        ),
    ] = False,
) -> None:
    """Show the stored results of an experiment.

    They are read from the store, without importing anything of yours. An
    experiment that a script has stored below ./data is found by its name, too.

    The exit code is 2 if nothing is stored.
    """
    from crystallize.cli.tables import print_place, print_summary

    stored = _read(_location(name), version)
    summary = _summary(stored)
    if as_json:
        options.print_json(
            {
                "experiment": stored.name,
                "path": str(stored.path),
                "metadata": stored.metadata,
                "metrics": stored.metrics,
                "summary": summary.to_dict(),
            }
        )
        return
    started = str(stored.metadata.get("started") or "at an unknown time")
    status = stored.metadata.get("status")
    typer.secho(stored.name, bold=True)
    typer.echo(f"Run of {started}" + ("" if status in (None, "complete") else f", which is {status}"))
    print_summary(summary)
    if stored.unaligned:
        typer.echo(
            f"Without differences, since replicates failed and the values of the rest cannot be paired: "
            f"{', '.join(sorted(stored.unaligned))}."
        )
    print_place(stored.path)


# -- finding it ----------------------------------------------------------------------------------------------


def _location(name: str) -> RunLocation:
    """Return where the experiment stores its runs, from its config.yaml alone."""
    from pathlib import Path

    from crystallize.config.folders import resolve
    from crystallize.config.reader import read_config
    from crystallize.errors import StoreError, UnknownNameError
    from crystallize.store.layout import RunLocation

    root = "data"  # where ArtifactPlugin stores, if nothing else is said
    try:
        folder = resolve(name)
    except UnknownNameError:
        if name not in ("", ".", "..") and "/" not in name and Path(root, name).is_dir():
            return RunLocation(root, name, versioned=True)
        raise
    settings = read_config(folder.config).plugins.get("artifact", {})
    if settings is False:
        raise StoreError(
            f"experiment {folder.name!r} stores no results",
            str(folder.config),
            "Its config.yaml switches the plugin 'artifact' off: remove that, and run it again",
        )
    arguments = settings if isinstance(settings, dict) else {}
    return RunLocation(str(arguments.get("root_dir", root)), folder.name, bool(arguments.get("versioned")))


class _Stored(NamedTuple):
    """A stored run; `unaligned` are the conditions whose values cannot be told to belong to a replicate."""

    name: str
    path: Path
    metadata: dict[str, Any]
    replicates: int
    metrics: dict[str, dict[str, list[Any]]]
    unaligned: set[str]


def _read(location: RunLocation, version: int | None) -> _Stored:
    from crystallize.errors import StoreError
    from crystallize.store.layout import BASELINE, COMPLETE, RESULTS
    from crystallize.store.metadata import read_metadata
    from crystallize.store.versions import find_run, versions

    path = find_run(location, version)
    if path is None:
        have = ", ".join(each.name for each in reversed(versions(location.folder)))
        wanted = "no complete run is" if version is None else f"version {version} is not"
        raise StoreError(
            f"{wanted} stored of experiment {location.experiment!r}",
            str(location.folder),
            f"There are {have}"
            if have and version is not None
            else f"Run 'crystallize run {location.experiment}'",
        )
    metadata = read_metadata(path) or {}
    names = list(metadata.get("conditions") or ())
    if not names:  # made by another tool
        names = sorted(each.parent.name for each in path.glob(f"*/{RESULTS}"))
    names.sort(key=lambda name: name != BASELINE)
    metrics: dict[str, dict[str, list[Any]]] = {}
    for name in names:
        file = path / name / RESULTS
        try:
            metrics[name] = {
                metric: list(values) for metric, values in json.loads(file.read_bytes())["metrics"].items()
            }
        except FileNotFoundError:
            metrics[name] = {}  # an interrupted run has none
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                "the results of a run cannot be read", str(file), f"Run the experiment again ({error!r})"
            ) from error
    if not any(metrics.values()) and metadata.get("status") not in (None, "complete"):
        raise StoreError(
            f"the run of experiment {location.experiment!r} is {metadata['status']} and has no results",
            str(path),
            f"Run 'crystallize run {location.experiment}'",
        )
    count = metadata.get("replicates")
    longest = max((len(values) for each in metrics.values() for values in each.values()), default=0)
    unaligned = {name for name in names if not (path / name / COMPLETE).exists()}
    return _Stored(location.experiment, path, metadata, count or longest, metrics, unaligned)


# -- its summary ---------------------------------------------------------------------------------------------


class _Result:
    """As much of a result as its summary needs."""

    def __init__(self, stored: _Stored) -> None:
        self.replicates = stored.replicates
        self._conditions = {name: _condition(name, stored) for name in stored.metrics}
        self.conditions = tuple(self._conditions)

    def condition(self, name: str) -> ConditionMetrics:
        return self._conditions[name]


def _condition(name: str, stored: _Stored) -> ConditionMetrics:
    from crystallize.results.columns import Column
    from crystallize.results.result import ConditionMetrics

    columns = {}
    # One size for all columns, so that they can be compared.
    size = max((len(values) for each in stored.metrics.values() for values in each.values()), default=0)
    size = max(size, stored.replicates)
    for metric, values in stored.metrics[name].items():
        width, rest = divmod(len(values), stored.replicates) if stored.replicates else (0, 0)
        if rest or not width:  # some replicates have fewer: each value counts for itself
            width = 1
            stored.unaligned.add(name)
        column = columns[metric] = Column(size)
        for replicate in range(len(values) // width):
            column.put(replicate, values[replicate * width : (replicate + 1) * width], len(columns))
    return ConditionMetrics(name, columns, {}, [None] * stored.replicates, [])


def _summary(stored: _Stored) -> Summary:
    from crystallize.results.summary import summarize

    result: Any = _Result(stored)
    if not result.conditions:
        from crystallize.results.summary import Summary

        return Summary((), stored.replicates, 0.95)
    unpaired = set(result.conditions) if result.conditions[0] in stored.unaligned else stored.unaligned
    summary = summarize(result)
    rows = tuple(
        replace(row, difference=None, interval=None, pairs=0) if row.condition in unpaired else row
        for row in summary.rows
    )
    return replace(summary, rows=rows)
