"""A new experiment: its name, what it reads of others, and its folder, made as a whole or not at all."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from crystallize.config.folders import command_name, find_folders, resolve
from crystallize.config.reader import read_config
from crystallize.config.scaffold import NewExperiment, texts_of
from crystallize.errors import CrystallizeError, InvalidNameError, InvalidValueError, UnknownNameError
from crystallize.utils.names import check_experiment_name
from crystallize.utils.wording import name_hint, shown
from crystallize.utils.writing import make_folder, refuse_existing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from crystallize.config.folders import ExperimentFolder

_ARTIFACT = "#"


class Made(NamedTuple):
    """An experiment that was made: its folder, the files in it, and the command that runs it."""

    folder: Path
    files: tuple[str, ...]
    run: str


def make_experiment(
    name: str,
    root: Path,
    *,
    example: bool = False,
    references: Iterable[str] = (),
    modules: Collection[str] = (),
) -> Made:
    """Make the folder of a new experiment, which runs as it is.

    Parameters
    ----------
    name : str
        Its name, and that of its folder.
    root : pathlib.Path
        Where to make it.
    example : bool, default False
        Whether it shows all that a config.yaml is usually made of, rather than the least.
    references : iterable of str, optional
        The outputs of other experiments that it reads: ``experiment#artifact``.
    modules : collection of str, optional
        Modules to make besides those that it needs, of :data:`crystallize.config.scaffold.MODULES`.

    Raises
    ------
    InvalidNameError
        If no experiment can have the name, or one has it already.
    InvalidValueError, UnknownNameError
        If there is something at its place, or a reference leads nowhere.
    StoreError
        If it cannot be written. Nothing is left behind then.
    """
    where = root.absolute()
    folders = find_folders(where)
    check_new_name(name, where, folders)
    target = where / name
    new_experiment = NewExperiment(
        name=name,
        command_name=command_name(name, target),
        example=example,
        inputs=_inputs(references, where, folders),
        requested_modules=frozenset(modules),
    )
    texts = texts_of(new_experiment)
    make_folder(target, {file: text.encode() for file, text in texts.items()})
    return Made(target, tuple(texts), new_experiment.run)


def references_to(folders: Iterable[ExperimentFolder]) -> list[str]:
    """Return all that a new experiment could read of others: ``experiment#artifact``."""
    found: list[str] = []
    for folder in folders:
        with suppress(CrystallizeError):  # a broken experiment has nothing to offer
            found += [f"{folder.name}{_ARTIFACT}{alias}" for alias in read_config(folder.config).outputs]
    return found


def check_new_name(name: str, root: Path, folders: Iterable[ExperimentFolder]) -> None:
    """Refuse a name that an experiment below `root` has, or none could have.

    Parameters
    ----------
    name : str
        What the experiment is to be called.
    root : pathlib.Path
        Where it is to be.
    folders : iterable of ExperimentFolder
        The experiments below `root`.

    Raises
    ------
    InvalidNameError
        If it is no name, or that of an experiment.
    InvalidValueError
        If there is something else at its place.
    """
    _check_spelling(name)
    refuse_existing(root / name)
    _check_unused(name, folders)


def _check_spelling(name: str) -> None:
    """Raise InvalidNameError unless `name` can be referred to on the command line and in config.yaml."""
    check_experiment_name(name)
    if name.startswith((".", "-")):
        fault = f"begins with {name[0]!r}, as hidden folders and options do"
    elif not name.isprintable():
        fault = "has a character that cannot be printed"
    else:
        return
    raise InvalidNameError(
        f"{name!r} cannot be the name of an experiment: it {fault}",
        hint="Use letters, digits, '-', '_' and '.'",
    )


def _check_unused(name: str, folders: Iterable[ExperimentFolder]) -> None:
    """Refuse a name that an experiment elsewhere below the root has: it could not be called by its name."""
    for folder in folders:
        if folder.name == name:
            raise InvalidNameError(
                f"there is an experiment {name!r} already, in {shown(folder.path)!r}",
                hint="Choose another name",
            )


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
    experiment, separator, artifact = reference.partition(_ARTIFACT)
    if not (experiment and separator and artifact):
        raise InvalidValueError(
            f"what is read is an experiment and one of its outputs, got {reference!r}",
            hint="Write it like this: 'prepare#summary'",
        )
    names = [folder.name for folder in folders]
    if experiment not in names:
        raise UnknownNameError(
            f"{reference}: there is no experiment {experiment!r}",
            shown(root),
            name_hint(experiment, "There are", names),
        )
    producer = resolve(experiment, root)  # refuses a name that two have
    outputs = list(read_config(producer.config).outputs)
    if artifact not in outputs:
        raise UnknownNameError(
            f"{reference}: experiment {experiment!r} has no output {artifact!r}",
            shown(producer.config),
            name_hint(artifact, "Its outputs are", outputs),
        )
