"""``crystallize runs``: which runs are stored, and what is kept of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from crystallize.cli import option_values, options, screen
from crystallize.cli.errors import WRONG_USE, fail
from crystallize.cli.removing import DryRun, Yes, is_wanted
from crystallize.cli.tail import tail
from crystallize.utils import quantities
from crystallize.utils.wording import counted, first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta

    from crystallize.results.runs import Runs, StoredRun
    from crystallize.store.retention import Removed

_MOST_LEVELS = 8

app = typer.Typer(help="List, show, keep and remove stored runs.", no_args_is_help=True)


# -- arguments -----------------------------------------------------------------------------------------------


def _complete_statuses(incomplete: str) -> list[str]:
    from crystallize.results.runs import STATUSES

    return options.starting_with(incomplete, STATUSES)


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar=f"[{options.EXPERIMENT}]...",
        help="The experiments; all that have stored runs, if none is named.",
        autocompletion=options.complete_experiments,
        show_default=False,
    ),
]
Status = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help="Only runs that are complete, failed, interrupted, running, deleted, damaged, newer or unknown. "
        "Give it again for another one.",
        autocompletion=_complete_statuses,
        show_default=False,
    ),
]
OlderThan = Annotated[
    Any,
    typer.Option(
        "--older-than",
        metavar="AGE",
        parser=option_values.read_age,
        help="Only runs that ended longer ago: 30d, 12h, 45m.",
        show_default=False,
    ),
]
NewerThan = Annotated[
    Any,
    typer.Option(
        "--newer-than",
        metavar="AGE",
        parser=option_values.read_age,
        help="Only runs that did not end so long ago.",
        show_default=False,
    ),
]
LargerThan = Annotated[
    Any,
    typer.Option(
        "--larger-than",
        metavar="SIZE",
        parser=option_values.read_size,
        help="Only runs whose artifacts have more bytes: 10MB, 1.5GB.",
        show_default=False,
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="FILTER",
        help="Only runs where a metric's mean over replicates compares so: 'rmse < 60' under any condition, "
        "'ridge.rmse < 60' under this one. Given again, all have to hold.",
        show_default=False,
    ),
]


class _Filters(NamedTuple):
    """The options that say which runs are meant; None where one is not given."""

    status: list[str] | None
    older_than: timedelta | None
    newer_than: timedelta | None
    larger_than: int | None
    where: list[str] | None

    def select(self, found: Runs) -> Runs:
        """Return the runs that are meant."""
        return found.select(
            status=self.status or (),
            older_than=self.older_than,
            newer_than=self.newer_than,
            larger_than=self.larger_than,
            where=self.where or (),
        )


# -- looking -------------------------------------------------------------------------------------------------


@app.command("list")
def list_runs(
    names: Names = None,
    *,
    status: Status = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    larger_than: LargerThan = None,
    where: Where = None,
    last: Annotated[
        int | None,
        typer.Option(
            "--last", "-n", min=1, help="Only so many of the newest of each experiment.", show_default=False
        ),
    ] = None,
    as_json: options.JsonList = False,
) -> None:
    """List the stored runs, the newest of each experiment last.

    The size is that of the artifacts that are there. Runs that were deleted
    are listed with `--status deleted` only.
    """
    everything = _read(names, with_deleted="deleted" in (status or ()))
    found = _Filters(status, older_than, newer_than, larger_than, where).select(everything)
    if last is not None:
        found = _newest(found, last)
    if as_json:
        screen.print_json([run.to_dict() for run in found])
    elif found:
        for line in _table(found):
            screen.echo(line)
        for run in found:
            if run.problem:
                screen.echo(f"{run.experiment} {run.name} is {run.status}: {run.problem}", err=True)
    elif everything:
        screen.echo(f"None of the {counted(len(everything), 'run')} is what you ask for.")
    else:
        screen.echo("No runs are stored: make one with 'crystallize run NAME'.")


@app.command()
def show(
    name: options.ExperimentName,
    version: options.Version = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with all metadata, for programs to read.")
    ] = False,
) -> None:
    """Show what is known of one run: when, with what, how it ended.

    What it measured is shown by `crystallize show`.
    """
    from crystallize.store.metadata import read_metadata

    run = _one(name, version)
    metadata = read_metadata(run.path) or {}
    if as_json:
        screen.print_json(run.to_dict() | {"metadata": metadata})
        return
    screen.echo(screen.styled(f"{run.experiment} {run.name}", bold=True))
    for key, value in _facts(run, metadata):
        screen.echo(f"{key + ':':12}{value}")


app.command()(tail)


# -- keeping and removing ------------------------------------------------------------------------------------


@app.command()
def pin(
    name: options.ExperimentName,
    version: options.Version = None,
    off: Annotated[bool, typer.Option("--off", help="Let the run go again.")] = False,
) -> None:
    """Keep a run: it is not pruned, deleted or replaced until it is let go."""
    from crystallize.store import retention

    run = _one(name, version)
    (retention.unpin if off else retention.pin)(run.path)
    screen.echo(f"{run.experiment} {run.name} is {'no longer ' if off else ''}pinned.")


@app.command()
def prune(
    names: Names = None,
    *,
    status: Status = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    larger_than: LargerThan = None,
    where: Where = None,
    keep: Annotated[
        int,
        typer.Option(
            "--keep", min=0, help="So many of the newest complete runs of each experiment keep all."
        ),
    ] = 1,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove the artifacts of old runs; results and metadata stay.

    The manifest keeps size and hash of each file. Left alone are runs that
    are pinned, that somebody makes or reads, that cannot be read, and those
    that failed or were interrupted after the newest complete one, which can
    be resumed.
    """
    from crystallize.store.retention import removable_artifacts, remove_artifacts

    everything = _read(names)
    spared = _spared(everything, keep)
    meant = _Filters(status, older_than, newer_than, larger_than, where).select(everything)
    chosen = [run for run in meant if run.size and not run.pinned]
    for run in chosen:
        if why := spared.get(run.path):
            screen.echo(f"{run.experiment} {run.name} is left alone: {why}", err=True)
    _remove(
        [run for run in chosen if run.path not in spared],
        removable_artifacts,
        remove_artifacts,
        "the artifacts of ",
        dry_run=dry_run,
        yes=yes,
    )


@app.command()
def delete(
    name: options.ExperimentName,
    *,
    version: Annotated[
        list[int] | None,
        typer.Option(
            "--version", min=0, help="Which run. Give it again for another one.", show_default=False
        ),
    ] = None,
    status: Status = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    larger_than: LargerThan = None,
    where: Where = None,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="So many of the newest runs that are meant stay.")
    ] = 0,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove runs: their results, their artifacts, everything.

    A record stays, with the metadata and the size and hash of each file, and
    the number is never used again. Say which runs: by number, or by what they
    are. One that is pinned, or that somebody makes or reads, is not removed;
    nor is one that cannot be read, unless --version or --status names it.
    """
    from crystallize.errors import InvalidValueError
    from crystallize.store.retention import delete as delete_run
    from crystallize.store.retention import removable

    filters = _Filters(status, older_than, newer_than, larger_than, where)
    if not (version or keep) and all(each is None for each in filters):
        fail(InvalidValueError("nothing says which runs", hint="Give --version, or one of the filters"))
    everything = _read([name])
    if version:
        everything = _only(everything, name, version)
    meant = filters.select(everything)
    is_named = bool(version or status)
    kept = {run.path for run in _newest(meant, keep)}
    chosen = []
    for run in meant:
        if run.path in kept:
            continue
        if run.pinned and version:
            unpin = f"crystallize runs pin {run.experiment} --version {run.version} --off"
            fail(InvalidValueError(f"{run.experiment} {run.name} is pinned", hint=f"Let it go: '{unpin}'"))
        if run.pinned:
            screen.echo(f"{run.experiment} {run.name} is pinned and stays.", err=True)
        elif run.problem and not is_named:
            screen.echo(f"{run.experiment} {run.name} is left alone: {run.problem}", err=True)
        else:
            chosen.append(run)
    _remove(chosen, removable, delete_run, "", dry_run=dry_run, yes=yes)


def _remove(
    chosen: Sequence[StoredRun],
    measure: Callable[[Path], Removed],
    remove: Callable[[Path], Removed],
    what: str,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove something of each run, if it is wanted, and tell what went and what was left alone."""
    from crystallize.errors import StoreError

    if not chosen:
        screen.echo("There is nothing to remove.")
        return
    for line in _table(chosen):
        screen.echo(line)
    size = sum(measure(run.path).size for run in chosen)
    total = f"{what}{counted(len(chosen), 'run')}, {quantities.format_size(size)}"
    if not is_wanted(total, dry_run=dry_run, yes=yes):
        return
    removed = size = 0
    refused = False
    for run in chosen:
        try:
            gone = remove(run.path)
        except StoreError as error:
            refused = True
            screen.echo_error(f"{run.experiment} {run.name}: {error}")
        else:
            removed, size = removed + 1, size + gone.size
    screen.echo(f"Removed {what}{counted(removed, 'run')}, {quantities.format_size(size)}.")
    if refused:
        raise typer.Exit(WRONG_USE)


# -- finding them --------------------------------------------------------------------------------------------


def _read(names: Iterable[str] | None, *, with_deleted: bool = False) -> Runs:
    from crystallize.cli.stored import all_locations, find_location
    from crystallize.results.runs import read_runs

    locations = [find_location(name) for name in dict.fromkeys(names)] if names else all_locations()
    return read_runs(locations, with_deleted=with_deleted)


def _one(name: str, version: int | None) -> StoredRun:
    from crystallize.cli.stored import find_location
    from crystallize.results.runs import read_runs
    from crystallize.store.finding import LATEST, find_version

    location = find_location(name)
    folder = find_version(location, LATEST if version is None else version)
    return next(run for run in read_runs([location], with_deleted=True) if run.name == folder.name)


def _only(everything: Runs, name: str, numbers: Sequence[int]) -> Runs:
    from crystallize.errors import StoreError
    from crystallize.results.runs import Runs

    there = {run.version for run in everything}
    for number in numbers:
        if number not in there:
            have = ", ".join(run.name for run in everything) or "none"
            raise StoreError(
                f"version {number} is not stored of experiment {name!r}", hint=f"There are {have}"
            )
    return Runs(run for run in everything if run.version in numbers)


def _spared(everything: Runs, keep: int) -> dict[Path, str]:
    """Return the runs that are not pruned, each with what there is to say of it."""
    from crystallize.store.metadata import FAILED, FINISHED, INTERRUPTED

    spared = {}
    newer = Counter[Path]()
    for run in reversed(everything):
        complete = newer[run.path.parent]
        if run.status == FINISHED:
            newer[run.path.parent] += 1
            if complete < keep:
                spared[run.path] = ""
        elif run.status not in (FAILED, INTERRUPTED):
            spared[run.path] = run.problem or f"it is {run.status}"
        elif not complete:
            spared[run.path] = f"it is {run.status}, and can be resumed until a newer run is complete"
        elif complete < keep:
            spared[run.path] = ""
    return spared


def _newest(found: Runs, count: int) -> Runs:
    """Return the `count` newest runs of each experiment."""
    from crystallize.results.runs import Runs

    newer = Counter[Path]()
    chosen = []
    for run in reversed(found):
        newer[run.path.parent] += 1
        if newer[run.path.parent] <= count:
            chosen.append(run)
    return Runs(reversed(chosen))


# -- showing them --------------------------------------------------------------------------------------------


def _table(found: Sequence[StoredRun]) -> list[str]:
    from crystallize.utils.text_table import TextTable
    from crystallize.utils.wording import shown

    same_name = Counter(folder.name for folder in {run.path.parent for run in found})
    columns = {
        "experiment": [
            run.experiment if same_name[run.experiment] == 1 else shown(run.path.parent) for run in found
        ],
        **_on_the_left("run", [run.name for run in found]),
        **_on_the_left("status", [run.full_status for run in found]),
        **_on_the_left("when", [quantities.format_time(run.when) for run in found]),
        "n": ["" if run.replicates is None else str(run.replicates) for run in found],
        "failed": [str(run.failed_outcomes) if run.failed_outcomes else "" for run in found],
        "size": [quantities.format_size(run.size) for run in found],
    }
    if not any(columns["failed"]):
        del columns["failed"]
    return TextTable(tuple(columns), list(zip(*columns.values(), strict=True)), names=1).lines()


def _on_the_left(header: str, cells: Sequence[str]) -> dict[str, list[str]]:
    """Return a column of texts that is not to be cut: only the experiments' names are, where a table is too wide."""
    width = max(map(len, [header, *cells]))
    return {header.ljust(width): [cell.ljust(width) for cell in cells]}


def _levels(levels: Sequence[object]) -> str:
    shown = [str(level) for level in levels]
    return first_of(shown) if len(shown) <= _MOST_LEVELS else counted(len(shown), "level")


def _facts(run: StoredRun, metadata: dict[str, Any]) -> Iterable[tuple[str, object]]:
    """Yield what is known of a run, each with what it is called."""
    from crystallize.results.load import coordinates_of
    from crystallize.store.retention import pruned_of
    from crystallize.utils.levels import factors_of
    from crystallize.utils.wording import shown

    yield "Status", run.full_status
    for key, when in (("Started", run.started), ("Ended", run.finished)):
        if when is not None:
            yield key, quantities.format_time(when)
    if run.took is not None:
        yield "Took", quantities.format_duration(run.took.total_seconds())
    if run.replicates is not None:
        yield "Replicates", run.replicates
    if run.conditions:
        yield "Conditions", first_of(run.conditions)
    factors = factors_of(coordinates_of(metadata).values())
    if factors:
        yield "Factors", ", ".join(f"{name} ({_levels(levels)})" for name, levels in factors.items())
    if metadata.get("order") == "randomised":
        yield "Order", "randomised"
    if run.failed_outcomes:
        yield "Failed", counted(run.failed_outcomes, "outcome")
    if "master_seed" in metadata:
        yield "Seed", metadata["master_seed"]
    yield "Artifacts", quantities.format_size(run.size)
    pruned = pruned_of(run.path)
    if pruned.files:
        yield "Pruned", f"{counted(pruned.files, 'file')}, {quantities.format_size(pruned.size)}"
    if earlier := metadata.get("earlier_sessions"):
        yield "Sessions", f"{len(earlier) + 1}; below is the last one, and metadata.json has all"
    code = metadata.get("code")
    if isinstance(code, dict) and code.get("git_commit"):
        yield "Commit", code["git_commit"] + (", with uncommitted changes" if code.get("dirty") else "")
    if isinstance(command := metadata.get("command"), list):
        yield "Command", join(map(str, command))
    yield "Folder", shown(run.path)
