"""``crystallize run --replicate``: one outcome of an experiment again, to see what went wrong in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import typer

from crystallize.cli import errors, screen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crystallize.experiments.experiment import Experiment


def run_outcome(
    config: Path, replicate: int, condition: str | None, overrides: Mapping[str, Any], folder: Path
) -> None:
    """Run one condition of one replicate, log each step, and show the traceback if it fails.

    Parameters
    ----------
    config : pathlib.Path
        The experiment's config.yaml.
    replicate : int
        Which replicate.
    condition : str or None
        Which condition; None for the baseline.
    overrides : mapping
        For :func:`crystallize.config.build.load_nodes`; without a seed, that of the newest run is taken.
    folder : pathlib.Path
        Where artifacts go.

    Raises
    ------
    CrystallizeError
        If the experiment has no such replicate or condition, or cannot be built.
    typer.Exit
        With exit code 1, if the outcome failed again.
    """
    from crystallize.cli.progress import make_display, show_log
    from crystallize.config.build import load_nodes
    from crystallize.config.recorded import recorded_context, recorded_treatments
    from crystallize.experiments.treatment import choose_condition
    from crystallize.plugins.artifact import ArtifactPlugin
    from crystallize.plugins.logging import LoggingPlugin

    logger = LoggingPlugin(verbose=True, log_level="DEBUG")
    experiment = load_nodes(config, **overrides, plugins=[logger], is_alone=True)[-1]
    stored = _newest_metadata(experiment)
    experiment.initial_ctx = recorded_context(stored, experiment.initial_ctx)
    experiment.treatments = recorded_treatments(stored, experiment.treatments)
    name, _ = choose_condition(experiment.treatments, condition)
    _check_replicate(experiment, replicate, stored)
    seed = overrides.get("seed")
    if seed is None:
        seed = stored.get("master_seed", experiment.master_seed)
    artifacts = experiment.plugins.find(ArtifactPlugin)
    if artifacts is not None:  # its own runs stay as they are; those that it reads from are where they were
        artifacts.root_dir = str(folder)
    place = f"replicate {replicate} under {name!r}, with the seed {seed}"
    display = make_display(plain=True)
    with show_log(display, logging.DEBUG):
        try:
            experiment.apply(name, seed=seed, replicate=replicate)
        except Exception as error:
            display.close()
            screen.echo(errors.users_traceback(error), err=True, end="")
            screen.echo_error(f"{place}.", "Failed:")
            raise typer.Exit(errors.FAILED) from None
        except KeyboardInterrupt:
            raise typer.Exit(errors.INTERRUPTED) from None
        finally:
            display.close()
    screen.echo(f"No error in {place}.", err=True)


def _newest_metadata(experiment: Experiment) -> dict[str, Any]:
    """Return what is recorded of the newest run, complete or not; nothing if there is none."""
    from crystallize.store.finding import newest_folder
    from crystallize.store.metadata import read_metadata

    location = experiment.location()
    run = None if location is None else newest_folder(location)
    return {} if run is None else read_metadata(run) or {}


def _check_replicate(experiment: Experiment, replicate: int, stored: Mapping[str, Any]) -> None:
    from crystallize.errors import UnknownNameError
    from crystallize.experiments.inputs import resolve_replicates

    known = resolve_replicates(experiment, experiment.replicates, experiment.stop_when)
    count = max(known, stored.get("replicates") or 0)
    if replicate >= count:
        raise UnknownNameError(
            f"there is no replicate {replicate}",
            f"experiment {experiment.folder_name!r}",
            f"It has {count}: 0 to {count - 1}",
        )
