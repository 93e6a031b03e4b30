"""Where experiments store their runs, without importing anything of theirs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crystallize.config.folders import ExperimentFolder
    from crystallize.store.layout import RunLocation


def find_location(name: str) -> RunLocation:
    """Return where an experiment stores its runs, from its config.yaml, or since a script has stored some below ./data.

    Raises
    ------
    UnknownNameError
        If there is no such experiment, with the nearest name.
    StoreError
        If it stores none.
    """
    from crystallize.config.folders import resolve
    from crystallize.config.project import location_of
    from crystallize.config.reader import read_config
    from crystallize.errors import StoreError, UnknownNameError
    from crystallize.store.finding import has_runs, stored_experiments
    from crystallize.utils.wording import did_you_mean, listed

    try:
        folder = resolve(name)
    except UnknownNameError as error:
        try:
            stored = {location.experiment: location for location in stored_experiments()}
        except StoreError as problem:
            hint = f"{error.hint}. Runs of scripts cannot be found: {problem}"
            raise UnknownNameError(error.what, error.where, hint) from None
        if name in stored:
            return stored[name]
        experiment, version = _experiment_and_version(name)
        if version is not None:
            raise UnknownNameError(
                f"{name!r} is one run of an experiment",
                hint=f"Say '{experiment} --version {version}', or '{experiment}' for the newest",
            ) from None
        if not stored:
            raise
        left = [each for each, location in stored.items() if has_runs(location)]
        near = did_you_mean(name, left)
        hint = f"{error.hint}. Runs are stored of {listed(left)}" if left else error.hint
        raise UnknownNameError(
            error.what, error.where, f"{near} {hint}" if near not in hint else hint
        ) from None
    location = location_of(folder.name, read_config(folder.config))
    if location is None:
        raise StoreError(
            f"experiment {folder.name!r} stores no results",
            str(folder.config),
            "Its config.yaml switches the plugin 'artifact' off: remove that, and run it again",
        )
    return location


def all_locations() -> list[RunLocation]:
    """Return where all experiments store their runs, those of this project and those that scripts stored below ./data.

    One whose config.yaml cannot be read is left out; what it stored below ./data is not.

    Raises
    ------
    StoreError
        If ./data is a file, or cannot be looked into; unless the experiments of this project all store elsewhere.
    """
    from crystallize.config.errors import ConfigError
    from crystallize.config.folders import find_folders
    from crystallize.errors import StoreError
    from crystallize.store.finding import stored_experiments
    from crystallize.store.layout import ROOT

    found = {}
    for folder in find_folders():
        # Slow, and not needed where there are none.
        from crystallize.config.project import location_of
        from crystallize.config.reader import read_config

        with suppress(ConfigError):
            location = location_of(folder.name, read_config(folder.config))
            if location is not None:
                found[location.folder] = location
    try:
        for location in stored_experiments():
            found.setdefault(location.folder, location)
    except StoreError:
        if not found or any(folder.parent == Path(ROOT).absolute() for folder in found):
            raise
    return sorted(found.values(), key=lambda location: location.experiment)


def last_run(location: RunLocation) -> dict[str, Any] | None:
    """Return what is to be known of the newest complete run: where it is, when it was, how much of it failed.

    None if there is none; where the metadata cannot be read, nothing but a path, and why.
    """
    from crystallize.errors import StoreError
    from crystallize.store.finding import find_run
    from crystallize.store.metadata import read_metadata

    try:
        folder = find_run(location)
        if folder is None:
            return None
        metadata, problem = read_metadata(folder) or {}, None
    except (StoreError, OSError) as error:
        folder, metadata, problem = location.folder, {}, str(error)
    keys = ("started", "finished", "failed_outcomes")
    return {"path": str(folder)} | {key: metadata.get(key) for key in keys} | {"problem": problem}


def find_named_version(name: str, version: int | None = None) -> Path:
    """Return the folder of a version of an experiment; of the newest complete one, if none is given."""
    from crystallize.store.finding import LATEST, find_version

    return find_version(find_location(name), LATEST if version is None else version)


def find_named_run(run: str) -> Path:
    """Return the folder of a run: ``NAME`` is the newest complete one, ``NAME@v3`` a version, else it is a path.

    Raises
    ------
    UnknownNameError, StoreError
        If there is no such run.
    """
    if _is_path(run):
        return Path(run)
    return find_named_version(*_name_and_version(run))


def find_definition(run: str, folder: Path) -> ExperimentFolder:
    """Return the experiment of a run, as it is defined now.

    Parameters
    ----------
    run : str
        How the run was named.
    folder : pathlib.Path
        Where it is.

    Raises
    ------
    UnknownNameError
        If there is no such experiment, or the run is that of a script.
    """
    from crystallize.config.folders import resolve
    from crystallize.errors import UnknownNameError
    from crystallize.store.metadata import read_metadata

    name, _ = _name_and_version(run)
    if _is_path(run):
        name = (read_metadata(folder) or {}).get("name") or folder.absolute().parent.name
    try:
        return resolve(name)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"the run is there, and the experiment is not: {error.what}",
            str(folder),
            f"The run of a script is verified in Python: crystallize.verify(experiment). {error.hint}",
        ) from None


def _experiment_and_version(run: str) -> tuple[str, int | None]:
    """Return the experiment, and the version, of a run that is named in any way; without a version if it is none."""
    from crystallize.store.layout import version_number

    if _is_path(run):
        folder = Path(run).absolute()
        return folder.parent.name, version_number(folder.name)
    return _name_and_version(run)


def _is_path(run: str) -> bool:
    """Tell whether a run is named by the path of its folder."""
    from crystallize.store.layout import METADATA

    return os.path.isfile(os.path.join(run, METADATA))  # noqa: PTH113, PTH118 - pathlib raises of impossible names


def _name_and_version(run: str) -> tuple[str, int | None]:
    """Return the experiment that is meant by ``NAME`` or ``NAME@v3``, and the version if one is named."""
    name, sign, version = run.rpartition("@v")
    if sign and version.isascii() and version.isdigit():
        return name, int(version)
    return run, None
