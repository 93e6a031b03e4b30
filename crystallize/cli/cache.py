"""``crystallize cache``: what the step cache holds, why a step runs again, and what is removed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystallize.cli import option_values, options, screen
from crystallize.cli.errors import fail
from crystallize.cli.removing import DryRun, Yes, is_wanted
from crystallize.utils import quantities

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from crystallize.experiments.experiment import Experiment
    from crystallize.pipelines.cache.step_key import StepCode
    from crystallize.pipelines.cache.upkeep import StoredEntry, StoredStep
    from crystallize.pipelines.pipeline_step import PipelineStep
    from crystallize.results.cache_report import CacheReport

app = typer.Typer(help="Look into the step cache, and remove what is in it.", no_args_is_help=True)


# -- arguments -----------------------------------------------------------------------------------------------

Name = Annotated[
    str | None,
    typer.Argument(
        metavar=options.EXPERIMENT,
        help="The experiment whose steps are meant; all that is stored, if none is named.",
        autocompletion=options.complete_experiments,
        show_default=False,
    ),
]
Step = Annotated[
    str | None,
    typer.Argument(
        metavar="STEP", help="The step, by its name in steps.py or in results.", show_default=False
    ),
]


# -- looking -------------------------------------------------------------------------------------------------


@app.command()
def info(
    name: Name = None,
    step: Step = None,
    as_json: options.JsonList = False,
) -> None:
    """Show what the step cache holds, step by step.

    A step has a version for each state of its code and its parameters.
    """
    stored = [each for each in _stored(name, step) if each.entries]
    if as_json:
        screen.print_json([_as_json(each) for each in stored])
    elif stored:
        for line in _table(stored):
            screen.echo(line)
        screen.echo(f"\n{_counted(stored)} in {_root()}.")
    else:
        screen.echo(f"Nothing{'' if name is None else ' of it'} is stored in {_root()}.")


@app.command()
def why(
    name: options.ExperimentName,
    step: Annotated[
        str, typer.Argument(metavar="STEP", help="The step, by its name in steps.py or in results.")
    ],
    as_json: options.JsonObject = False,
) -> None:
    """Say what of a step has changed since its outputs were stored last.

    If nothing has, it says what the newest run took from the cache, and why
    the rest had to be made.
    """
    from crystallize.pipelines.cache.history import changes_since
    from crystallize.pipelines.cache.settings import cache_folder
    from crystallize.pipelines.cache.step_key import StepCode, step_hash, step_parts
    from crystallize.pipelines.cache.upkeep import read_steps

    experiment = _load(name)
    shown_name, found = _find_step(experiment, step)
    _check_cached(experiment, shown_name, found)
    root, code, parts = cache_folder(), StepCode.of(found), step_parts(found)
    folder = root / step_hash(code.name, parts)
    entries = sum(len(each.entries) for each in read_steps(root) if each.folder == folder)
    changes = [] if entries else changes_since(root, code, parts)
    report = _newest_report(experiment) if entries else None
    if as_json:
        screen.print_json(
            {
                "step": shown_name,
                "entries": entries,
                "changes": changes,
                "newest_run": None if report is None else _report_as_json(report, shown_name),
            }
        )
        return
    for line in _explained(shown_name, entries, changes, report):
        screen.echo(line)


def _explained(
    step: str, entries: int, changes: Sequence[str] | None, report: CacheReport | None
) -> list[str]:
    if not entries:
        if not changes:
            return [f"{step}: nothing is stored yet."]
        return [
            f"{step} has changed since its outputs were stored last:",
            *(f"  {change}" for change in changes),
        ]
    stored = "1 entry is" if entries == 1 else f"{entries} entries are"
    lines = [f"{step}: nothing has changed, and {stored} stored. Equal input gives a stored output."]
    if report is not None and step in report.steps:
        lines += ["In the newest run:", *(f"  {line}" for line in report.lines(step))]
    return lines


def _check_cached(experiment: Experiment, name: str, step: PipelineStep) -> None:
    from crystallize.errors import InvalidValueError

    if not experiment.cache:
        what = f"experiment {experiment.folder_name!r} does without the cache"
        fail(InvalidValueError(what, hint="Remove 'cache: false' from its config.yaml"))
    if not step.cacheable:
        hint = (
            "Decorate it with @pipeline_step(cacheable=True), or give its class 'cacheable = True', or write "
            "'cache: true' beside its name in config.yaml"
        )
        fail(InvalidValueError(f"step {name!r} is not cacheable", hint=hint))


def _newest_report(experiment: Experiment) -> CacheReport | None:
    """Return what the cache did in the newest complete run; None if none can be read."""
    from crystallize.errors import StoreError
    from crystallize.results.load import load_result
    from crystallize.store.finding import find_run

    location = experiment.location()
    try:
        run = None if location is None else find_run(location)
        return None if run is None else load_result(run).explain_cache()
    except (StoreError, OSError):
        return None


def _report_as_json(report: CacheReport, step: str) -> dict[str, Any]:
    return {
        "hits": report.count("hit", step),
        "misses": report.count("miss", step),
        "reasons": report.reasons(step),
    }


# -- removing ------------------------------------------------------------------------------------------------


@app.command()
def clear(name: Name = None, step: Step = None, *, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Remove what is stored: of everything, an experiment's steps, or one step."""
    stored = _stored(name, step)
    _remove(stored, [entry for each in stored for entry in each.entries], dry_run=dry_run, yes=yes)


@app.command()
def prune(
    name: Name = None,
    step: Step = None,
    *,
    max_size: Annotated[
        Any,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            parser=option_values.read_size,
            help="Remove the least recently used entries until the rest has no more bytes: 500MB, 2GB.",
            show_default=False,
        ),
    ] = None,
    older_than: Annotated[
        Any,
        typer.Option(
            "--older-than",
            metavar="AGE",
            parser=option_values.read_age,
            help="Remove entries that were not used for so long: 30d, 12h, 45m.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove entries by size and age, the least recently used ones first.

    Without either, the limits are those of CRYSTALLIZE_CACHE_MAX_MB and
    CRYSTALLIZE_CACHE_MAX_DAYS.
    """
    from crystallize.errors import InvalidValueError
    from crystallize.pipelines.cache.settings import MOST_DAYS, MOST_MEGABYTES, NO_LIMITS, CacheLimits
    from crystallize.pipelines.cache.upkeep import beyond

    limits = CacheLimits(max_size, None if older_than is None else older_than.total_seconds())
    if limits == NO_LIMITS:
        limits = CacheLimits.of_environment()
    if limits == NO_LIMITS:
        hint = f"Give --max-size or --older-than, or set {MOST_MEGABYTES} or {MOST_DAYS}"
        fail(InvalidValueError("nothing says what to remove", hint=hint))
    stored = _stored(name, step)
    _remove(stored, beyond(stored, limits), dry_run=dry_run, yes=yes)


def _remove(
    stored: Sequence[StoredStep], entries: Collection[StoredEntry], *, dry_run: bool, yes: bool
) -> None:
    """Remove entries, if it is wanted, and tell what went."""
    from crystallize.pipelines.cache.upkeep import remove

    if not entries:
        screen.echo("There is nothing to remove.")
        if not dry_run:
            remove(stored, ())  # what crashed processes have left
        return
    chosen = set(entries)
    going = [
        each._replace(entries=tuple(entry for entry in each.entries if entry in chosen)) for each in stored
    ]
    going = [each for each in going if each.entries]
    for line in _table(going):
        screen.echo(line)
    if not is_wanted(_counted(going), dry_run=dry_run, yes=yes):
        return
    removed = remove(stored, entries)
    screen.echo(f"Removed {_amount(removed.entries, removed.size)}.")
    if removed.problem is not None:
        fail(removed.problem)


# -- finding steps -------------------------------------------------------------------------------------------


def _stored(name: str | None, step: str | None) -> list[StoredStep]:
    """Return what is stored: everything, or of the steps that are meant."""
    from crystallize.pipelines.cache.settings import cache_folder
    from crystallize.pipelines.cache.step_key import StepCode
    from crystallize.pipelines.cache.upkeep import read_steps

    stored = read_steps(cache_folder())
    if name is None:
        return stored
    experiment = _load(name)
    meant = experiment.pipeline.bind(experiment.outputs).steps
    if step is not None:
        meant = (_find_step(experiment, step)[1],)
    codes = {StepCode.of(each) for each in meant}
    folders = {_folder_of(each) for each in meant}
    return [each for each in stored if each.code in codes or each.folder in folders]


def _folder_of(step: PipelineStep) -> Path | None:
    """Return where outputs of a step are: equal steps of two experiments have one place. None if it cannot be known."""
    from crystallize.errors import UnhashableContentError
    from crystallize.pipelines.cache.settings import cache_folder
    from crystallize.pipelines.cache.step_key import StepCode, step_hash, step_parts

    try:
        return cache_folder() / step_hash(StepCode.of(step).name, step_parts(step))
    except (UnhashableContentError, OSError):
        return None


def _load(name: str) -> Experiment:
    from crystallize.config.build import load_experiment
    from crystallize.config.folders import resolve

    folder = resolve(name)
    with screen.stdout_kept_clean():
        return load_experiment(folder.config)


def _find_step(experiment: Experiment, name: str) -> tuple[str, PipelineStep]:
    """Return a step, and what it is called in results.

    Raises
    ------
    UnknownNameError
        If the experiment has no such step, with the nearest name.
    """
    from crystallize.errors import UnknownNameError
    from crystallize.utils.signatures import name_of
    from crystallize.utils.wording import name_hint

    pipeline = experiment.pipeline.bind(experiment.outputs)
    steps = dict(zip(pipeline.names, pipeline.steps, strict=True))
    if name in steps:
        return name, steps[name]
    by_function = {name_of(getattr(step, "fn", type(step))): each for each, step in reversed(steps.items())}
    if name in by_function:
        return by_function[name], steps[by_function[name]]
    raise UnknownNameError(
        f"there is no step {name!r}",
        f"experiment {experiment.folder_name!r}",
        name_hint(name, "Its steps are", dict.fromkeys([*reversed(by_function), *steps])),
    )


def _root() -> str:
    from crystallize.pipelines.cache.settings import cache_folder
    from crystallize.utils.wording import shown

    return shown(cache_folder())


# -- showing them --------------------------------------------------------------------------------------------


def _table(stored: Sequence[StoredStep]) -> list[str]:
    from crystallize.utils.text_table import TextTable
    from crystallize.utils.wording import shown

    versions: dict[StepCode, list[StoredStep]] = {}
    for each in stored:
        versions.setdefault(each.code, []).append(each)
    rows = [
        (
            *((code.name.partition(".")[2], shown(Path(code.file))) if code.file else (code.name, "")),
            str(len(group)),
            str(sum(len(each.entries) for each in group)),
            quantities.format_size(sum(each.size for each in group)),
            quantities.format_time(_moment(max(each.entries[-1].used for each in group))),
        )
        for code, group in sorted(versions.items())
    ]
    return TextTable(("step", "file", "versions", "entries", "size", "last used"), rows).lines()


def _as_json(stored: StoredStep) -> dict[str, Any]:
    return {
        "step": stored.code.name,
        "file": stored.code.file,
        "folder": str(stored.folder),
        "entries": len(stored.entries),
        "bytes": stored.size,
        "first_used": _moment(stored.entries[0].used).isoformat(),
        "last_used": _moment(stored.entries[-1].used).isoformat(),
        "seconds": stored.seconds(),
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone()


def _counted(stored: Sequence[StoredStep]) -> str:
    return _amount(sum(len(each.entries) for each in stored), sum(each.size for each in stored))


def _amount(entries: int, size: int) -> str:
    return f"{entries} {'entry' if entries == 1 else 'entries'}, {quantities.format_size(size)}"
