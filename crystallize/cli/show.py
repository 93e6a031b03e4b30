"""``crystallize show``: what a stored run measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from crystallize.cli import options, screen

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.store.layout import RunLocation


def show(
    name: options.ExperimentName,
    version: Annotated[
        int | None,
        typer.Option(
            min=0, help="The version to show; by default the newest complete one.", show_default=False
        ),
    ] = None,
    tree: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Print how each number came about instead, as a tree: 'condition > replicate > step', or its levels "
            "in another order.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object: metadata, metrics, errors and summary, for programs to read.",
        ),
    ] = False,
) -> None:
    """Show the stored results of an experiment.

    They are read from the store, without importing anything of yours. An
    experiment that a script has stored below ./data is found by its name, too.

    The exit code is 2 if nothing is stored.
    """
    from crystallize.cli.tables import print_result
    from crystallize.results.load import load_run
    from crystallize.store.metadata import FINISHED

    result, metadata = load_run(_find(_location(name), version))
    if tree is not None:
        screen.echo(result.provenance.tree(tree))
        return
    if as_json:
        screen.print_json(
            {
                "experiment": result.experiment,
                "path": str(result.path),
                "metadata": metadata,
                "metrics": {name: result.condition(name).metrics for name in result.conditions},
                "errors": [error._asdict() for error in result.errors],
                "summary": result.summary().to_dict(),
            }
        )
        return
    status = metadata.get("status")
    ended = "" if status == FINISHED else f", which is {status}"
    print_result(result.experiment, result, f"Run of {metadata.get('started')}{ended}")


# -- finding it ----------------------------------------------------------------------------------------------


def find_named_run(run: str) -> Path:
    """Return the folder of a run: ``NAME`` is the newest complete one, ``NAME@v3`` a version, else it is a path."""
    from pathlib import Path

    from crystallize.store.layout import METADATA

    if Path(run, METADATA).is_file():
        return Path(run)
    name, sign, version = run.rpartition("@v")
    if sign and version.isascii() and version.isdigit():
        return _find(_location(name), int(version))
    return _find(_location(run), None)


def _location(name: str) -> RunLocation:
    """Return where the experiment stores its runs, from its config.yaml alone."""
    from pathlib import Path

    from crystallize.cli.stored import location_of
    from crystallize.config.folders import resolve
    from crystallize.config.reader import read_config
    from crystallize.errors import StoreError, UnknownNameError
    from crystallize.store.layout import ROOT, RunLocation

    try:
        folder = resolve(name)
    except UnknownNameError:
        if name not in ("", ".", "..") and "/" not in name and Path(ROOT, name).is_dir():
            return RunLocation(ROOT, name, versioned=True)
        raise
    location = location_of(folder.name, read_config(folder.config))
    if location is None:
        raise StoreError(
            f"experiment {folder.name!r} stores no results",
            str(folder.config),
            "Its config.yaml switches the plugin 'artifact' off: remove that, and run it again",
        )
    return location


def _find(location: RunLocation, version: int | None) -> Path:
    from crystallize.errors import StoreError
    from crystallize.store.versions import find_run, versions

    folder = find_run(location, version)
    if folder is None:
        have = ", ".join(each.name for each in reversed(versions(location.folder)))
        wanted = "no complete run is" if version is None else f"version {version} is not"
        raise StoreError(
            f"{wanted} stored of experiment {location.experiment!r}",
            str(location.folder),
            f"There are {have}"
            if have and version is not None
            else f"Run 'crystallize run {location.experiment}'",
        )
    return folder
