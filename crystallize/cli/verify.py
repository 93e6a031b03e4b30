"""``crystallize verify``: whether a stored run can be measured again."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from crystallize.cli import errors, options, screen


def verify(
    run: options.RunName,
    *,
    replicates: Annotated[
        int | None,
        typer.Option(
            "--replicates",
            "-n",
            min=1,
            help="Run only so many of the first replicates again.",
            show_default=False,
        ),
    ] = None,
    replicate: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            metavar="I",
            help="Run only this replicate again. May be given several times.",
            show_default=False,
        ),
    ] = None,
    execution: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Verify it under another execution strategy than the one that it had.",
            autocompletion=options.complete_executions,
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A value that the run was given with --set and that is not stored: a secret, or a long text. May be "
            "given several times.",
            show_default=False,
        ),
    ] = None,
    rtol: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="How far a number may be from the stored one, as a fraction of the larger.",
            show_default=False,
        ),
    ] = 0.0,
    atol: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="How far a number may be from the stored one, in its unit. With --rtol, it is enough to keep to one.",
            show_default=False,
        ),
    ] = 0.0,
    calibrate: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="K",
            help="Run it K times, and take the tolerance of each metric from how much these runs differ.",
            show_default=False,
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Do not compare this metric or artifact. May be given several times.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the scratch folder where it is, and print its path.")
    ] = False,
    as_json: options.JsonObject = False,
) -> None:
    """Run a stored run again, and tell whether it measures the same.

    It is run in a scratch folder, with the seed, conditions, settings and
    inputs that it had, and compared outcome by outcome, to the last bit
    unless a tolerance is given: metrics, artifacts, failures, hypotheses.

    The exit code is 0 for PASS; 1 for DIFF, if something differs and nothing
    in code or environment has changed; 3 for INCONCLUSIVE, if something has,
    or what the run needs is gone; and 2 if nothing could be run.
    """
    from crystallize.cli.option_values import read_settings
    from crystallize.cli.progress import ProgressPlugin, make_display, show_log
    from crystallize.cli.stored import find_definition, find_named_run
    from crystallize.config.build import load_nodes
    from crystallize.config.recorded import recorded_overrides, recorded_treatments
    from crystallize.errors import ExecutionError, PluginError, SerializationError
    from crystallize.experiments.failure_policy import outcome_command
    from crystallize.experiments.verification import verify as verify_run
    from crystallize.results.verification import DIFF, PASS
    from crystallize.store.metadata import read_metadata
    from crystallize.utils.wording import shown

    if replicates is not None and replicate:
        raise typer.BadParameter("it goes without --replicate", param_hint="--replicates")
    folder = find_named_run(run)
    config = find_definition(run, folder).config
    metadata = read_metadata(folder) or {}
    overrides = recorded_overrides(metadata, read_settings(settings or ()))
    if execution is not None:
        overrides["execution"] = execution
    display = make_display()
    with screen.stdout_kept_clean(), show_log(display, logging.WARNING):
        try:
            progress = ProgressPlugin(display, tells_failures=False)  # a failure that is stored is no news
            experiment = load_nodes(config, **overrides, plugins=[progress])[-1]
            experiment.treatments = recorded_treatments(metadata, experiment.treatments)
            found = verify_run(
                experiment,
                folder,
                replicates=replicate or replicates,
                rtol=rtol,
                atol=atol,
                calibrate=calibrate,
                ignore=ignore or (),
                keep=keep,
            )
        except KeyboardInterrupt as error:
            screen.echo("Interrupted. The stored run is as it was.", err=True)
            raise typer.Exit(getattr(error, "code", errors.INTERRUPTED)) from None
        except (ExecutionError, PluginError, SerializationError) as error:  # of a rerun that broke off
            display.close()
            errors.fail(error, errors.INCONCLUSIVE)
        finally:
            display.close()
    if as_json:
        screen.print_json(found.to_dict())
    else:
        screen.echo(str(replace(found, run=Path(shown(found.run)))))
        outcome = found.findings.first
        if outcome is not None and outcome.condition is not None and not overrides["context"]:
            assert outcome.replicate is not None
            name = experiment.command_name or experiment.folder_name
            command = outcome_command(name, outcome.replicate, outcome.condition, metadata["master_seed"])
            screen.echo(f"look at it: {command}")
    raise typer.Exit({PASS: errors.DONE, DIFF: errors.FAILED}.get(found.verdict, errors.INCONCLUSIVE))
