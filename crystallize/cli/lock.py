"""``crystallize lock``: the plan of an experiment, written down before it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystallize.cli import errors, options, screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from crystallize.experiments.experiment import Experiment


def lock(
    name: options.ExperimentName,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; say what in the experiment is no longer as it was locked."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an older plan.")] = False,
) -> None:
    """Write down what an experiment is to be, before it is run.

    The plan holds hypotheses with their directions, conditions, replicates,
    seed, and a hash of each piece of code. It is preregistration.json beside
    config.yaml: commit it, or show its hash to others, before you run. A run
    that departs from it says so in its summary, its result and its metadata.

    The exit code is 2 if there is a plan already, and 1 if --check finds that
    the experiment has departed from it.
    """
    from crystallize.config.folders import resolve
    from crystallize.experiments import preregistration
    from crystallize.utils.wording import shown

    if check and force:
        raise typer.BadParameter("it writes nothing: leave --force out", param_hint="--check")
    with screen.stdout_kept_clean():
        experiment = _loaded(resolve(name).config)
        if check:
            found = _compared(experiment)
        else:
            plan = preregistration.lock(experiment, experiment.hypotheses, replace=force)
    if check:
        for line in found.lines():
            screen.echo(line)
        raise typer.Exit(errors.FAILED if found.departures else errors.DONE)
    screen.echo(f"Wrote {shown(plan.path)}.")
    for line in _described(plan.signature):
        screen.echo(line)
    screen.echo(f"Hash: {plan.digest}")
    screen.echo("Commit the file, or show its hash to others, before you run.", err=True)


def _loaded(config: Path) -> Experiment:
    """Return an experiment with the number of replicates that a run of it has, after those that it depends on.

    Raises
    ------
    ValidationError
        If nobody can tell before they have run.
    """
    from crystallize.config.build import load_nodes
    from crystallize.errors import ValidationError
    from crystallize.graphs.dependencies import Dependencies, files_of
    from crystallize.graphs.planning import make_plan

    nodes = load_nodes(config)
    experiment = nodes[-1]
    name = experiment.folder_name
    plan = make_plan(Dependencies({node.folder_name: node for node in nodes}))
    counts = plan.replicates if experiment.stop_when is None else plan.most
    if counts[name] is None and experiment.stop_when is None:
        raise ValidationError(
            f"how many replicates experiment {name!r} has is decided by the stopping rule of what it reads",
            files_of([experiment]),
            "Give it a number of its own, replicates: in its config.yaml",
        )
    experiment.replicates = counts[name]
    return experiment


def _compared(experiment: Experiment) -> Any:
    from crystallize.errors import ValidationError
    from crystallize.experiments.preregistration import compare_with_plan

    found = compare_with_plan(experiment, experiment.hypotheses)
    if found is None:
        raise ValidationError(
            f"experiment {experiment.folder_name!r} has no plan",
            hint="Write one with 'crystallize lock NAME'",
        )
    return found


def _described(planned: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a plan holds, in lines."""
    from crystallize.utils.wording import counted

    rule = planned.get("stop_when")
    replicates = f"{'' if rule is None else 'at most '}{counted(planned['replicates'], 'replicate')}"
    yield f"{replicates} of {', '.join(planned['conditions'])}, with the seed {planned['seed']}"
    if rule is not None:
        yield f"Stopping rule {rule}"
    for name, part in planned["hypotheses"].items():
        metrics = ", ".join(name for group in part["metrics"] or () for name in group)
        better = {"min": ": less is better", "max": ": more is better"}.get(part["direction"], "")
        yield f"Hypothesis {name}, of {metrics or 'all metrics'}{better}"
    if not planned["hypotheses"]:
        yield "No hypotheses"
