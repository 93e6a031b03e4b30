"""``crystallize run``: an experiment, after what it depends on."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystallize.cli import errors, option_values, options, screen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.cli.progress import ProgressPlugin, RunProgress
    from crystallize.errors import GraphRunError
    from crystallize.experiments.designs.design import Design
    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.treatment import Treatment
    from crystallize.graphs.graph import ExperimentGraph
    from crystallize.results.result import Result
    from crystallize.statistics.stopping.rule import StoppingRule


_NOT_WITH_DEBUG = ("replicates", "execution", "workers", "only", "resume", "stop_when")


def run(
    ctx: typer.Context,
    name: options.ExperimentName,
    *,
    replicates: Annotated[
        int | None,
        typer.Option(
            "--replicates",
            "-n",
            min=1,
            help="How many replicates the experiment gets, and what it depends on if that has no number of its own.",
            show_default=False,
        ),
    ] = None,
    treatments: Annotated[
        list[str] | None,
        typer.Option(
            "--treatment",
            "-t",
            help="Run only this treatment and the baseline. May be given several times.",
            autocompletion=options.complete_treatments,
            show_default=False,
        ),
    ] = None,
    factors: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="FACTOR=LEVEL,...",
            help="Run these levels of a parameter in place of the treatments of config.yaml, each combination if it is "
            "given several times. Levels are read as in YAML: --grid lr=0.1,0.01 --grid depth=2,4.",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Give the steps a parameter that config.yaml leaves open. "
            "The value is read as in YAML: 1e-3, true, [1, 2], text. May be given several times.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="The master seed, which repeats a run.", show_default=False),
    ] = None,
    execution: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="How replicates are driven: serial, thread, process, async, another installed strategy, or the "
            "dotted path package.module:Class of any.",
            autocompletion=options.complete_executions,
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many threads or processes at the same time; with --execution, or the strategy of config.yaml.",
            show_default=False,
        ),
    ] = None,
    stop_when: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="End the run when a rule has seen enough, such as 'decided(rmse, max=200)' or 'precise(rmse, "
            "half_width=0.5)'; --replicates is then how many there are at most.",
            show_default=False,
        ),
    ] = None,
    on_error: Annotated[
        str | None,
        typer.Option(
            metavar="continue|stop",
            help="Whether a run goes on when an outcome has failed. stop is short for --max-failures 0.",
            show_default=False,
        ),
    ] = None,
    max_failures: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="How many outcomes of an experiment may fail; with one more its run stops.",
            show_default=False,
        ),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(min=0, help="How often an outcome that failed is tried again.", show_default=False),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long one condition of one replicate may take.",
            show_default=False,
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            metavar="interleaved|randomised",
            help="In which order in time replicates and their conditions are run. randomised is against drift of the "
            "machine, and drawn from the seed.",
            show_default=False,
        ),
    ] = None,
    use_cache: Annotated[
        bool,
        typer.Option("--use-cache", help="Use the step cache, also where config.yaml says cache: false."),
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Run every step, and keep no outputs.")
    ] = False,
    refresh_cache: Annotated[
        bool,
        typer.Option(
            "--refresh-cache", help="Run every step, and keep the outputs in place of the old ones."
        ),
    ] = False,
    cached_steps: Annotated[
        list[str] | None,
        typer.Option(
            "--cache",
            metavar="STEP|no:STEP",
            help="Where the step cache is used: cache this step of the experiment, or do not, "
            "whatever its files say of it. May be given several times.",
            show_default=False,
        ),
    ] = None,
    plugins: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--plugin",
            metavar="no:NAME",
            help="Leave an installed plugin out. May be given several times.",
            autocompletion=options.complete_plugins,
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        bool,
        typer.Option(
            "--only",
            help="Run this experiment alone, on what the experiments that it depends on have stored.",
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the newest run, of each experiment: run what it lacks and what has changed since.",
        ),
    ] = False,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Run everything anew, which is the default.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Run one replicate, in this process, and log each step. What it stores goes to a temporary folder.",
        ),
    ] = False,
    replicate: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="I",
            help="With --debug: run this replicate alone, under one condition, with the seed of the newest run or "
            "--seed, on what the experiments that it depends on have stored.",
            show_default=False,
        ),
    ] = None,
    condition: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --replicate: the condition; the baseline, if it is not given.",
            autocompletion=options.complete_treatments,
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Tell what would run and, by the time that earlier runs took, what it would cost. Nothing runs.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the results as one JSON object, by experiment, for programs to read."
        ),
    ] = False,
) -> None:
    """Run an experiment, after the experiments that it depends on.

    Progress and failures are shown on standard error, the results on standard
    output. What was measured is stored below ./data, or where config.yaml
    says, and `crystallize show` prints it again.

    The exit code is 0; 1 if anything failed; 2 if nothing was run, because
    something is wrong with the command, the experiment or the folder that it
    is stored in; and 130 after Ctrl-C, which leaves the last complete run as
    it was.
    """
    from crystallize.cli.dry_run import look_ahead, show
    from crystallize.cli.progress import ProgressPlugin, make_display, show_log
    from crystallize.config.build import load_nodes
    from crystallize.config.folders import resolve

    _check_together(ctx.params)
    design = None if not factors else option_values.read_grid(factors)
    rule = None if stop_when is None else option_values.read_stop_when(stop_when)
    folder = resolve(name)
    overrides: dict[str, Any] = {
        "seed": seed,
        "cache": False if no_cache else "refresh" if refresh_cache else use_cache or None,
        "cached_steps": option_values.read_cached_steps(cached_steps or ()),
        "execution": "serial" if debug else option_values.read_execution(folder.config, execution, workers),
        "context": option_values.read_settings(settings or ()),
        "disable_plugins": option_values.read_disabled_plugins(plugins or ()),
    }
    if replicate is not None or condition is not None:
        from crystallize.cli.outcome import run_outcome

        run_outcome(folder.config, replicate or 0, condition, overrides, _debugging_folder())
        return
    given = {"on_error": on_error, "max_failures": max_failures, "retries": retries, "timeout": timeout}
    policy = {key: value for key, value in given.items() if value is not None}
    again = None if debug else options.words_given(ctx, without=("resume", "rerun"))
    display = make_display(plain=debug)
    progress = ProgressPlugin(display)
    with screen.stdout_kept_clean(as_json), show_log(display, logging.DEBUG if debug else logging.WARNING):
        try:
            extra = [progress, *_debugging_plugins(debug)]
            nodes = load_nodes(folder.config, **overrides, plugins=extra, is_alone=only)
            _adjust(nodes, policy, design, rule, order)
            if dry_run:
                ahead = look_ahead(_graph(nodes, treatments, replicates, only=only), treatments)
            else:
                outcome = run_nodes(nodes, treatments, replicates, only=only, debug=debug, resume=resume)
        except KeyboardInterrupt as error:
            display.close()
            if measured := getattr(error, "results", None):
                try:
                    _print_results(measured, as_json)
                except Exception as broken:
                    # Of a library whose import was interrupted, and cannot be done again.
                    screen.echo(
                        f"What was measured cannot be shown now: {type(broken).__name__}: {broken}.", err=True
                    )
            _print_interruption(progress, again)
            raise typer.Exit(getattr(error, "code", errors.INTERRUPTED)) from None
        finally:
            display.close()
    if dry_run:
        show(ahead, as_json=as_json)
        return
    _print_and_exit(progress, *outcome, as_json=as_json, again=again)


def _check_together(asked: Mapping[str, Any]) -> None:
    """Refuse options, by the names of their parameters, that exclude each other."""
    if asked["debug"] and any(map(asked.get, _NOT_WITH_DEBUG)):
        raise typer.BadParameter(
            "it stands for one replicate of everything, run serially: leave the other option out",
            param_hint="--debug",
        )
    is_one_outcome = asked["replicate"] is not None or asked["condition"] is not None
    if is_one_outcome and (not asked["debug"] or asked["treatments"] or asked["as_json"]):
        raise typer.BadParameter(
            "it goes with --debug, and without --treatment and --json",
            param_hint="--condition" if asked["replicate"] is None else "--replicate",
        )
    if asked["resume"] and asked["rerun"]:
        raise typer.BadParameter("it runs everything anew, and --resume does not", param_hint="--rerun")
    if asked["dry_run"] and (asked["debug"] or asked["resume"]):
        raise typer.BadParameter(
            "it tells of a whole run: leave the other option out", param_hint="--dry-run"
        )
    if asked["factors"] and (asked["treatments"] or is_one_outcome):
        raise typer.BadParameter(
            "it says what the treatments are: leave the other option out", param_hint="--grid"
        )
    if asked["no_cache"] and (asked["refresh_cache"] or asked["use_cache"]):
        other = "--refresh-cache" if asked["refresh_cache"] else "--use-cache"
        raise typer.BadParameter(f"it keeps no outputs, and {other} does", param_hint="--no-cache")


def _adjust(
    nodes: Sequence[Experiment],
    policy: Mapping[str, Any],
    design: Design | None,
    rule: StoppingRule | None,
    order: str | None,
) -> None:
    """Have all experiments, or the last, which is the one that is named, be as the options say."""
    from crystallize.experiments.order import check_order

    named = nodes[-1]
    if design is not None:
        named.treatments = _with_own_baseline(named, design)
    if rule is not None:
        named.stop_when = rule
    for node in nodes:
        node.failure_policy = node.failure_policy.changed(**policy)
        node.order = node.order if order is None else check_order(order)


def _with_own_baseline(experiment: Experiment, design: Design) -> tuple[Treatment, ...]:
    """Return a design's treatments, and the one of the experiment that gives the baseline its settings."""
    from crystallize.experiments.treatment import as_treatments
    from crystallize.store.layout import BASELINE

    return as_treatments([*(each for each in experiment.treatments if each.name == BASELINE), design])


def _debugging_plugins(debug: bool) -> list[object]:
    if not debug:
        return []
    from crystallize.plugins.artifact import ArtifactPlugin
    from crystallize.plugins.logging import LoggingPlugin

    # One replicate must not take the place of a whole run that is stored.
    elsewhere = ArtifactPlugin(root_dir=_debugging_folder(), versioned=False)
    return [LoggingPlugin(verbose=True, log_level="DEBUG"), elsewhere]


def _debugging_folder() -> Path:
    """Return the user's temporary folder for such runs, of which the last one stays."""
    from tempfile import gettempdir, mkdtemp

    user = getattr(os, "getuid", lambda: 0)()
    folder = Path(gettempdir()) / f"crystallize-debug-{user}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid == user and not folder.is_symlink():
            return folder
    return Path(mkdtemp(prefix="crystallize-debug-"))  # somebody else has put something there


# -- running -------------------------------------------------------------------------------------------------


def _graph(
    nodes: Sequence[Experiment], treatments: list[str] | None, replicates: int | None, *, only: bool
) -> ExperimentGraph:
    """Return what is to be run: the last of the experiments, after the others unless it is the `only` one."""
    from crystallize.graphs.graph import ExperimentGraph
    from crystallize.graphs.stored import check_stored_runs

    named = nodes[-1]
    for node in nodes if replicates is not None else ():
        if node is named or node.replicates is None:  # what is upstream keeps its own number
            node.replicates = replicates
    if only:
        check_stored_runs(nodes, treatments)
        nodes = [named]
    return ExperimentGraph(*nodes)


def run_nodes(
    nodes: Sequence[Experiment],
    treatments: list[str] | None,
    replicates: int | None,
    *,
    only: bool,
    debug: bool,
    resume: bool,
) -> tuple[dict[str, Result], Exception | None]:
    """Run the last of the experiments; return the results, and the error that kept the rest from having one."""
    from crystallize.errors import CrystallizeError, GraphRunError

    try:
        graph = _graph(nodes, treatments, replicates, only=only)
        strategy = "resume" if resume else "rerun"
        results = graph.run(treatments=treatments, replicates=1 if debug else None, strategy=strategy)
        failure: Exception | None = None
    except GraphRunError as error:
        results, failure = error.results, error
    except CrystallizeError as error:
        return {}, error
    for result in results.values() if debug else ():
        result.preregistration = None  # one replicate is no run of the plan
    return results, failure


def _print_and_exit(
    progress: ProgressPlugin,
    results: Mapping[str, Result],
    error: Exception | None,
    *,
    as_json: bool,
    again: Sequence[str] | None,
) -> None:
    """Print the results, then the errors, and end with the exit code that says how it went."""
    from crystallize.errors import GraphRunError

    if progress.runs:
        _print_results(results, as_json)
        _print_cache(results)
    if error is not None:
        code = errors.FAILED if progress.runs else errors.WRONG_USE
        if not isinstance(error, GraphRunError):
            errors.fail(error, code)
        _print_failed_experiments(error)
        is_in_part = any(run.path is None for run in progress.runs)
        if is_in_part and _broke_off(error.__cause__):
            _print_resume_command(progress, again)
        raise typer.Exit(code)
    failed = {name: len(result.errors) for name, result in results.items() if result.errors}
    if failed:
        listed = ", ".join(f"{count} of {name!r}" for name, count in failed.items())
        screen.echo_error(f"{listed}.", "Failed outcomes:")
        raise typer.Exit(errors.FAILED)


def _print_results(results: Mapping[str, Result], as_json: bool) -> None:
    from crystallize.cli.tables import print_result

    if as_json:
        paths = {name: None if result.path is None else str(result.path) for name, result in results.items()}
        screen.print_json(
            {name: result.to_dict() | {"path": paths[name]} for name, result in results.items()}
        )
        return
    for number, (name, result) in enumerate(results.items()):
        if number:
            screen.echo()
        print_result(name, result)


def _print_cache(results: Mapping[str, Result]) -> None:
    """Say how many outputs the step cache has spared, if any step asked for it."""
    reports = {name: result.explain_cache().summary() for name, result in results.items()}
    told = [f"{summary} of {name!r}" for name, summary in reports.items() if summary]
    if told:
        screen.echo(f"From the cache: {', '.join(told)}.", err=True)


def _broke_off(reason: BaseException | None) -> bool:
    """Tell whether a run was tried and failed on its way; else it could not be run as it was asked for."""
    from crystallize.errors import ExecutionError, PluginError, RunFailedError, SerializationError, StoreError

    return isinstance(reason, RunFailedError | PluginError | StoreError | ExecutionError | SerializationError)


def _print_failed_experiments(error: GraphRunError) -> None:
    """Say which experiments failed; why, the log has said as it happened."""
    if errors.state.traceback:
        errors.print_error(error)
    screen.echo_error(f"{', '.join(error.failed)}.", "Failed:")
    for name, producer in error.skipped.items():
        screen.echo(f"Not run: {name}, which depends on {producer}.", err=True)


# -- Ctrl-C --------------------------------------------------------------------------------------------------


def _print_interruption(progress: ProgressPlugin, again: Sequence[str] | None) -> None:
    """Say how far it came; `again` are the words of the command that is to go on."""
    if not progress.runs:
        screen.echo("Interrupted before anything ran.", err=True)
        return
    screen.echo("Interrupted.", err=True)
    for run in progress.runs:
        screen.echo(f"  {run.name}: {_state_of(run)}", err=True)
    _print_resume_command(progress, again)


def _print_resume_command(progress: ProgressPlugin, again: Sequence[str] | None) -> None:
    """Say how to go on, if anything is stored; `again` are the words of the command."""
    if again is not None and any(run.location is not None for run in progress.runs):
        screen.echo(
            f"What was measured by then is stored. Go on with: crystallize run {join(again)} --resume",
            err=True,
        )


def _state_of(run: RunProgress) -> str:
    from crystallize.utils.wording import shown

    if run.ended:
        return f"complete, in {shown(run.path)}" if run.path else "complete; nothing stores its results"
    done = f"{run.done} of {run.replicates} replicates had finished"
    return f"{done}; nothing stores its results" if run.location is None else done
