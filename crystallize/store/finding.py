"""Stored experiments and runs by name, by path, by version."""

from __future__ import annotations

import os
from pathlib import Path

from crystallize.errors import InvalidTypeError, StoreError, UnknownNameError
from crystallize.store.layout import METADATA, ROOT, RunLocation, root_folder, version_number
from crystallize.store.metadata import DELETED, has_status
from crystallize.store.versions import check_root, find_run, looking_into, versions
from crystallize.utils.suggest import name_hint

LATEST = "latest"


def stored_experiments(root: str | Path = ROOT) -> list[RunLocation]:
    """Return the experiments that have runs below a root, by name.

    Raises
    ------
    StoreError
        If the root is a file, or cannot be looked into.
    """
    root = root_folder(root)
    try:
        with looking_into(root), os.scandir(root) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        check_root(root)
        return []
    found = [RunLocation(root, name) for name in names]
    return [location for location in found if has_runs(location, or_deleted=True)]


def has_runs(location: RunLocation, *, or_deleted: bool = False) -> bool:
    """Tell whether an experiment has runs; one that may not be looked into counts as if it had."""
    try:
        return bool(versions(location.folder) if or_deleted else _left(location))
    except StoreError:  # who reads its runs says so
        return True


def _left(location: RunLocation) -> list[Path]:
    """Return the folders of an experiment's runs that were not deleted, the newest first."""
    return [folder for folder in versions(location.folder) if not has_status(folder, DELETED)]


def locate(what: str | os.PathLike[str], root: str | Path = ROOT) -> tuple[RunLocation, int | None]:
    """Return the stored experiment that is meant, and the version if the path of a run was given.

    Parameters
    ----------
    what : str or path
        An experiment's name; or the path of its folder, or of a run's folder ``v<N>``. A text with a separator is a
        path.
    root : str or path, optional
        Where names are looked for.

    Raises
    ------
    UnknownNameError
        If no run is stored there.
    """
    if not isinstance(what, str | os.PathLike):
        raise InvalidTypeError(f"a stored experiment is given by its name or its folder, got {what!r}")
    text = os.fspath(what)
    is_path = not isinstance(what, str) or "/" in text or os.sep in text
    folder = (Path(text) if is_path else Path(root_folder(root), text)).absolute()
    if text not in ("", ".", ".."):
        number = version_number(folder.name) if is_path else None
        if number is not None and not _is_experiment(folder):
            return RunLocation(str(folder.parent.parent), folder.parent.name), number
        location = RunLocation(str(folder.parent), folder.name)
        if find_run(location) is not None or versions(folder):
            return location, None
    if is_path and os.path.lexists(folder / METADATA):
        raise UnknownNameError(
            "this is the folder of one run, and of no experiment",
            str(folder),
            f"crystallize.results.load.load_result({text!r}) reads it",
        )
    known = [each.experiment for each in stored_experiments(folder.parent) if has_runs(each)]
    hint = name_hint(folder.name, "There are runs of", known) if known else "There are no runs at all"
    raise UnknownNameError(f"no run of {text!r} is stored", str(folder.parent), hint)


def _is_experiment(folder: Path) -> bool:
    """Tell whether a folder that is called like a run is that of an experiment, which may be called ``v2``."""
    return not os.path.lexists(folder / METADATA) and bool(versions(folder))


def find_version(location: RunLocation, version: int | str = LATEST) -> Path:
    """Return the folder of a version of an experiment.

    Parameters
    ----------
    location : RunLocation
        The experiment.
    version : int or "latest", optional
        Its number; the newest complete one, if not given.

    Raises
    ------
    StoreError
        If there is no such run.
    """
    if version != LATEST and (type(version) is not int or version < 0):
        raise InvalidTypeError(f"a version is a number from 0 on, or {LATEST!r}, got {version!r}")
    number = version if isinstance(version, int) else None
    folder = find_run(location, number)
    if folder is not None:
        return folder
    what = "no complete run is stored" if number is None else f"version {number} is not stored"
    have = [each.name for each in reversed(_left(location))]
    hint = f"There {'is' if len(have) == 1 else 'are'} {', '.join(have)}"
    if not have:
        hint = f"Run 'crystallize run {location.experiment}'"
    raise StoreError(f"{what} of experiment {location.experiment!r}", str(location.folder), hint)
