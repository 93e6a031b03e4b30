"""``crystallize plan``: how many replicates an experiment needs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from crystallize.cli import errors, options, screen

if TYPE_CHECKING:
    from crystallize.results.result import Result


def plan(
    name: options.ExperimentName,
    *,
    effect: Annotated[
        float,
        typer.Option(
            help="The smallest difference to the baseline that matters, in the metric's unit; of a test against a "
            "margin, the margin.",
            show_default=False,
        ),
    ],
    pilot: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="REPLICATES",
            help="Run a pilot of so many replicates first; without it, the newest stored run is the pilot.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="The metric; not needed if there is one only, or one that hypotheses ask for.",
            show_default=False,
        ),
    ] = None,
    treatment: Annotated[
        str | None,
        typer.Option(
            "--treatment",
            "-t",
            help="Plan for this treatment; by default for the one that needs most.",
            autocompletion=options.complete_treatments,
            show_default=False,
        ),
    ] = None,
    power: Annotated[float, typer.Option(help="The chance that the run finds such a difference.")] = 0.8,
    assurance: Annotated[
        float, typer.Option(help="The share of pilots whose plan really has this power.")
    ] = 0.8,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="The level of the tests, for all of them together; by default the hypothesis's, or 0.05.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the plan and its curve.")
    ] = False,
) -> None:
    """Say how many replicates an experiment needs to find an effect.

    The spread is taken from a pilot: of the newest stored run, which is read
    without importing anything of yours, or of one that is run now and stored.

    The exit code is 1 if the pilot fails, and 2 if nothing can be planned.
    """
    from crystallize.results.plan import power as make_plan
    from crystallize.utils.checks import check_share, check_size

    check_size("effect", effect)  # not after the pilot
    for setting, value in (("power", power), ("assurance", assurance), ("alpha", alpha)):
        if value is not None:
            check_share(setting, value)
    result = _stored(name) if pilot is None else _run(name, pilot, treatment, as_json=as_json)
    made = make_plan(
        result,
        effect=effect,
        metric=metric,
        treatment=treatment,
        power=power,
        assurance=assurance,
        alpha=alpha,
    )
    if as_json:
        screen.print_json(made.to_dict())
    else:
        screen.echo(str(made))


def _stored(name: str) -> Result:
    from crystallize.cli.stored import find_named_version
    from crystallize.results.load import load_result

    return load_result(find_named_version(name))


def _run(name: str, replicates: int, treatment: str | None, *, as_json: bool) -> Result:
    from crystallize.cli.progress import ProgressPlugin, make_display, show_log
    from crystallize.cli.run import run_nodes
    from crystallize.config.build import load_nodes
    from crystallize.config.folders import resolve
    from crystallize.experiments.treatment import choose_condition

    display = make_display()
    progress = ProgressPlugin(display)
    with screen.stdout_kept_clean(as_json), show_log(display, logging.WARNING):
        try:
            nodes = load_nodes(resolve(name).config, plugins=[progress])
            if treatment is not None:  # not after the pilot
                choose_condition(nodes[-1].treatments, treatment)
            results, error = run_nodes(nodes, None, replicates, only=False, debug=False, resume=False)
        except KeyboardInterrupt as interrupt:
            screen.echo("Interrupted.", err=True)
            raise typer.Exit(getattr(interrupt, "code", errors.INTERRUPTED)) from None
        finally:
            display.close()
    if error is not None:
        errors.fail(error, errors.FAILED if progress.runs else errors.WRONG_USE)
    return results[nodes[-1].folder_name]
