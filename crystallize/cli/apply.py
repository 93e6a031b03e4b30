"""``crystallize apply``: an experiment's pipeline, once, for use."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from crystallize.cli import errors, options, screen


def apply(
    name: options.ExperimentName,
    treatment: Annotated[
        str | None,
        typer.Option(
            "--treatment",
            "-t",
            help="The treatment to apply; the baseline, if not given.",
            autocompletion=options.complete_treatments,
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What the pipeline starts with, in place of the data source's data. The file's suffix says how it "
            "is read: .json, .yaml, .csv, .npy, .txt, or that of an installed loader.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="The seed of all random numbers.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print JSON in any case: what JSON lacks becomes text, and arrays become lists."
        ),
    ] = False,
) -> None:
    """Run an experiment's pipeline once and print what the last step returns.

    It is printed as JSON if it can be, else as Python shows it. Stored runs
    stay as they are; artifacts go to the folder `apply` beside them. What other
    experiments publish is read as it is stored.

    The exit code is 0; 1 if a step fails; and 2 if something is wrong with the
    command or the experiment.
    """
    from crystallize.cli.progress import PlainLines, show_log
    from crystallize.config.build import load_experiment
    from crystallize.config.folders import resolve
    from crystallize.experiments.treatment import choose_condition

    folder = resolve(name)
    given = {} if data is None else {"data": _load(data)}
    with screen.stdout_kept_clean(), show_log(PlainLines(), logging.WARNING):
        experiment = load_experiment(folder.config)
        condition, _ = choose_condition(experiment.treatments, treatment)
        try:
            result = experiment.apply(treatment, seed=seed, **given)
        except Exception as error:
            raised = errors.users_traceback(error)
            if not raised:
                raise
            screen.echo(raised, err=True, end="")
            screen.echo_error(f"experiment {folder.name!r} failed under {condition!r}")
            raise typer.Exit(errors.FAILED) from None
    if as_json:
        screen.print_json(result)
    else:
        screen.echo(_text(result))


def _text(result: Any) -> str:
    from crystallize.utils.failures import safe_repr
    from crystallize.utils.json_text import to_json

    try:
        return to_json(result, indent=2, default=_refuse)
    except TypeError:
        return safe_repr(result)


def _refuse(value: Any) -> Any:
    raise TypeError(f"JSON has no form for {type(value).__name__}")


def _load(file: Path) -> Any:
    from crystallize.errors import ArtifactError, UnknownNameError
    from crystallize.loaders.lookup import loader_for

    if not file.is_file():
        raise typer.BadParameter(f"there is no file {str(file)!r}", param_hint="--data")
    try:
        loader = loader_for(file)
    except UnknownNameError as error:
        raise typer.BadParameter(error.what, param_hint="--data") from error
    try:
        return loader.load(file)
    except Exception as error:  # a loader may raise anything
        raise ArtifactError(
            f"the loader {type(loader).__name__} cannot read the file: {type(error).__name__}: {error}",
            str(file),
            "Give it the suffix that fits its content",
        ) from error
