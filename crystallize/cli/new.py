"""``crystallize new``: the folder of a new experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystallize.cli.screen import echo

if TYPE_CHECKING:
    from collections.abc import Iterable


def _complete_references(incomplete: str) -> list[str]:
    """Return the outputs of this project's experiments that begin with `incomplete`, for shells."""
    from crystallize.cli.options import starting_with, without_errors
    from crystallize.config.folders import find_folders
    from crystallize.config.making import references_to

    return starting_with(incomplete, without_errors(lambda: references_to(find_folders())))


def new(
    name: Annotated[
        str, typer.Argument(help="The experiment's name, and that of its folder.", show_default=False)
    ],
    example: Annotated[
        bool,
        typer.Option(
            "--example",
            help="Show more: two steps, two treatments, a hypothesis with its verifier, an output.",
        ),
    ] = False,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="OTHER#ARTIFACT",
            help="Read this output of another experiment. May be given several times.",
            autocompletion=_complete_references,
            show_default=False,
        ),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--files",
            metavar="NAME,...",
            help="Make these modules too, each with something in it that runs: "
            "datasources, steps, outputs, verifiers, hooks. What config.yaml needs is made in any case.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="The folder to make it in. By default `root` under tool.crystallize in pyproject.toml, "
            "or else ./experiments.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the folder of a new experiment, which runs as it is.

    The folder holds config.yaml, which says what the experiment is made of,
    and modules with the functions that it names. Replace them by your own,
    one by one; `crystallize check` says whether all still fits together.

    With --from, the experiment reads what others write: each OTHER#ARTIFACT
    becomes an entry under `datasource`, and the first step shows what arrives.
    `crystallize run` runs those others first.

    Nothing is ever overwritten. The exit code is 0, or 2 if the folder cannot
    be made.
    """
    from crystallize.config.folders import experiments_root
    from crystallize.config.making import make_experiment
    from crystallize.config.scaffold import MODULES
    from crystallize.utils.wording import shown

    made = make_experiment(
        name,
        experiments_root() if root is None else root,
        example=example,
        references=sources or (),
        modules=_modules(files or ()),
    )
    echo(f"Made {shown(made.folder)}:")
    about = {"config.yaml": "what the experiment is made of: begin here"} | {
        f"{module}.py": text for module, text in MODULES.items()
    }
    for file in made.files:
        echo(f"  {file:<16}{about[file]}")
    echo(f"Run it with: {made.run}")


def _modules(files: Iterable[str]) -> frozenset[str]:
    """Return the modules that --files names."""
    from crystallize.config.scaffold import MODULES
    from crystallize.errors import UnknownNameError
    from crystallize.utils.wording import name_hint

    asked = [part.strip().removesuffix(".py") for text in files for part in text.split(",")]
    for module in asked:
        if module not in MODULES:
            raise UnknownNameError(
                f"--files knows no module {module!r}",
                hint=name_hint(module, "There are", MODULES),
            )
    return frozenset(asked)
