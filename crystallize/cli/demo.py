"""``crystallize demo``: the diabetes example, copied and run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystallize.cli.screen import echo

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_EXPERIMENT = "penalties"
_NOT_COPIED = {"__pycache__", "data", ".cache"}


def demo(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="The folder to make; it must not exist yet.")] = Path(
        "crystallize-demo"
    ),
    no_run: Annotated[bool, typer.Option("--no-run", help="Only copy the example.")] = False,
) -> None:
    """Copy the diabetes example into a new folder and run it.

    The example asks, on measurements of 442 patients, whether ridge regression
    predicts better than least squares when there are few patients to learn
    from. One experiment prepares the data, and others read what it publishes.
    They are yours to change.

    Nothing is ever overwritten. The exit code is 0, 1 if the run failed, or 2
    if the folder cannot be made or nothing could be run.
    """
    from crystallize.utils.writing import make_folder

    make_folder(directory.absolute(), _files(_example()))
    echo(f"Copied the diabetes example to {directory}")
    if not no_run:
        _run(directory, ctx)


def _example() -> Traversable:
    """Return the example's folder: in the installed package, or in the repository that it is installed from."""
    from importlib.resources import files

    package = files("crystallize")
    installed = package / "examples" / "diabetes"
    if installed.is_dir():
        return installed
    return Path(str(package)).parent / "docs" / "examples" / "diabetes"


def _files(folder: Traversable, path: str = "") -> dict[str, bytes]:
    """Return the content of every file below `folder`, by its path, without what runs leave behind."""
    found: dict[str, bytes] = {}
    for entry in folder.iterdir():
        if entry.name in _NOT_COPIED:
            continue
        if entry.is_dir():
            found |= _files(entry, f"{path}{entry.name}/")
        else:
            found[f"{path}{entry.name}"] = entry.read_bytes()
    return found


def _run(directory: Path, ctx: typer.Context) -> None:
    """Run the example by `crystallize run`, in its own folder: the results are stored there."""
    import os
    import shlex

    from typer.core import TyperGroup

    path = f"experiments/{_EXPERIMENT}"
    echo(f"Running it, as `crystallize run {path}` does in that folder:")
    program = ctx.find_root()
    assert isinstance(program.command, TyperGroup)
    command = program.command.get_command(program, "run")
    assert command is not None
    here = Path.cwd()
    os.chdir(directory)
    try:
        with command.make_context("run", [path], parent=program) as called:
            command.invoke(called)
    finally:
        os.chdir(here)
    echo("")
    echo(f"Go on with `cd {shlex.quote(str(directory))}`, and then for example")
    echo("  crystallize list")
    echo(f"  crystallize graph {path}")
    echo("  crystallize run experiments/learning_curve")
