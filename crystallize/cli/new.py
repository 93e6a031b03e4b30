"""``crystallize new``: the folder of a new experiment."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystallize.cli.screen import echo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crystallize.config.folders import ExperimentFolder

_ARTIFACT = "#"


def _complete_references(incomplete: str) -> list[str]:
    """Return the outputs of this project's experiments that begin with `incomplete`, for shells."""
    from crystallize.config.folders import find_folders
    from crystallize.config.reader import read_config
    from crystallize.errors import CrystallizeError

    found: list[str] = []
    with suppress(CrystallizeError):
        for folder in find_folders():
            with suppress(CrystallizeError):  # a broken experiment has nothing to offer
                found += [f"{folder.name}{_ARTIFACT}{alias}" for alias in read_config(folder.config).outputs]
    return [reference for reference in found if reference.startswith(incomplete)]


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
    from crystallize.cli.scaffold import MODULES, NewExperiment, texts_of
    from crystallize.cli.writing import make_folder, refuse_existing
    from crystallize.config.errors import shown
    from crystallize.config.folders import experiments_root, find_folders

    where = experiments_root() if root is None else root.absolute()
    target = where / _check_name(name)
    refuse_existing(target)
    folders = find_folders(where)
    _check_unused(name, folders)
    standard = root is None or os.path.realpath(where) == os.path.realpath(experiments_root())
    new_experiment = NewExperiment(
        name=name,
        command_name=name if standard else shown(target),
        example=example,
        inputs=_inputs(sources or (), where, folders),
        requested_modules=_modules(files or ()),
    )
    texts = texts_of(new_experiment)
    make_folder(target, {file: text.encode() for file, text in texts.items()})
    echo(f"Made {shown(target)}:")
    about = {"config.yaml": "what the experiment is made of: begin here"} | {
        f"{module}.py": text for module, text in MODULES.items()
    }
    for file in texts:
        echo(f"  {file:<16}{about[file]}")
    echo(f"Run it with: {new_experiment.run}")


def _check_name(name: str) -> str:
    """Return `name` if it can be an experiment's, and be referred to on the command line and in config.yaml."""
    from crystallize.errors import InvalidNameError
    from crystallize.utils.names import check_name

    check_name("experiment", name)
    if name.startswith((".", "-")):
        fault = f"begins with {name[0]!r}, as hidden folders and options do"
    elif _ARTIFACT in name:
        fault = f"has a {_ARTIFACT!r}, which stands between an experiment and its artifact"
    elif not name.isprintable():
        fault = "has a character that cannot be printed"
    else:
        return name
    raise InvalidNameError(
        f"{name!r} cannot be the name of an experiment: it {fault}",
        hint="Use letters, digits, '-', '_' and '.'",
    )


def _check_unused(name: str, folders: Iterable[ExperimentFolder]) -> None:
    """Refuse a name that an experiment elsewhere below the root has: it could not be called by its name."""
    from crystallize.config.errors import shown
    from crystallize.errors import InvalidNameError

    for folder in folders:
        if folder.name == name:
            raise InvalidNameError(
                f"there is an experiment {name!r} already, in {shown(folder.path)!r}",
                hint="Choose another name",
            )


def _modules(files: Iterable[str]) -> frozenset[str]:
    """Return the modules that --files names."""
    from crystallize.cli.scaffold import MODULES
    from crystallize.errors import UnknownNameError
    from crystallize.utils.suggest import did_you_mean

    asked = [part.strip().removesuffix(".py") for text in files for part in text.split(",")]
    for module in asked:
        if module not in MODULES:
            raise UnknownNameError(
                f"--files knows no module {module!r}",
                hint=f"There are {', '.join(MODULES)}. {did_you_mean(module, MODULES)}".rstrip(),
            )
    return frozenset(asked)


def _inputs(sources: Iterable[str], root: Path, folders: Iterable[ExperimentFolder]) -> dict[str, str]:
    """Return the references that --from gives, checked against the folders, by alias."""
    found: dict[str, str] = {}
    for reference in dict.fromkeys(sources):
        _check_reference(reference, root, folders)
        alias = plain = re.sub(r"\W", "_", reference)
        if not plain.isidentifier():
            alias = plain = f"from_{plain}"
        number = 2
        while alias in found:
            alias, number = f"{plain}_{number}", number + 1
        found[alias] = reference
    return found


def _check_reference(reference: str, root: Path, folders: Iterable[ExperimentFolder]) -> None:
    from crystallize.config.errors import shown
    from crystallize.config.folders import resolve
    from crystallize.config.reader import read_config
    from crystallize.errors import InvalidValueError, UnknownNameError
    from crystallize.utils.suggest import name_hint

    experiment, separator, artifact = reference.partition(_ARTIFACT)
    if not (experiment and separator and artifact):
        raise InvalidValueError(
            f"--from is an experiment and one of its outputs, got {reference!r}",
            hint="Write it like this: --from 'prepare#summary'",
        )
    names = [folder.name for folder in folders]
    if experiment not in names:
        raise UnknownNameError(
            f"--from {reference}: there is no experiment {experiment!r}",
            shown(root),
            name_hint(experiment, "There is", names),
        )
    producer = resolve(experiment, root)  # refuses a name that two have
    outputs = list(read_config(producer.config).outputs)
    if artifact not in outputs:
        raise UnknownNameError(
            f"--from {reference}: experiment {experiment!r} has no output {artifact!r}",
            shown(producer.config),
            name_hint(artifact, "Its outputs are", outputs),
        )
