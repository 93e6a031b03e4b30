"""Stored experiments and runs: found by name, by path, by version, and while another run takes their place."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from crystallize.errors import InvalidTypeError, StoreError, UnknownNameError
from crystallize.store.folders import (
    OLD,
    ONLY,
    STAGING,
    check_root,
    folder_of,
    looking_into,
    old_of,
    version_numbers,
    versions,
)
from crystallize.store.layout import METADATA, ROOT, RunLocation, root_folder, version_number
from crystallize.store.metadata import DELETED, has_status, is_complete, run_token
from crystallize.utils.files import is_folder
from crystallize.utils.wording import name_hint

LATEST = "latest"

LOOKS = 20
"""So often a run is looked for that may be changing places: it can do so between any two looks, but not each time."""

_MOVES = re.compile(rf"{ONLY}|{STAGING.pattern}|{OLD.pattern}")


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


def find_run(location: RunLocation, version: int | None = None) -> Path | None:
    """Return the folder that a reader should read, or None if there is none.

    Parameters
    ----------
    location : RunLocation
        The experiment that stored the run.
    version : int, optional
        The version. By default the newest complete one, or ``v0`` if the experiment has no versions. If no
        run has metadata, since the folders were made by another tool, it is the newest folder.

    Raises
    ------
    StoreError
        If the experiment's folder is a link.
    NewerSchemaError
        If a newer Crystallize has stored a run after the newest that can be read.
    """
    experiment = folder_of(location)
    if version == 0:
        return _find_only_version(experiment)
    if version is not None:
        folder = experiment / f"v{version}"
        return folder if is_folder(folder) else None
    if not location.versioned:
        return _read_only_version(experiment)
    for _ in range(LOOKS):
        before = _identity(experiment / ONLY)
        found = _newest_complete(experiment)
        if found is not None or _identity(experiment / ONLY) == before:
            break
    return found


def _newest_complete(experiment: Path) -> Path | None:
    """Do what :func:`find_run` says of an experiment with versions, unless ``v0`` changes places meanwhile."""
    found = version_numbers(experiment)
    if not found:
        only = _find_only_version(experiment)
        if only is None or only.name != ONLY:
            return only
        found = [0]  # it was away, and is back
    for number in found:
        folder = experiment / f"v{number}"
        if is_complete(folder, refuse_newer=True):
            return folder
    if any(os.path.lexists(experiment / f"v{number}" / METADATA) for number in found):
        return None
    return experiment / f"v{found[0]}"


def _identity(folder: Path) -> int | None:
    """Return what tells a folder from another one that takes its place."""
    try:
        return folder.lstat().st_ino
    except OSError:
        return None


def newest_folder(location: RunLocation) -> Path | None:
    """Return the folder of an experiment's newest run that was not deleted, however it ended; None if there is none.

    Raises
    ------
    StoreError
        If the experiment's folder is a link.
    """
    experiment = folder_of(location)
    if not is_folder(experiment):
        return None
    if location.versioned:
        runs = (experiment / f"v{number}" for number in version_numbers(experiment))
        return next((run for run in runs if not has_status(run, DELETED)), None)
    with looking_into(experiment):
        unfinished = [(changed, path) for path in experiment.iterdir() if (changed := _last_change(path))]
    return max(unfinished)[1] if unfinished else _read_only_version(experiment)


def _last_change(path: Path) -> int:
    """Return when something was last put into the folder of an unfinished run; 0 if it is none, or none any more."""
    try:
        return path.stat().st_mtime_ns if STAGING.fullmatch(path.name) and is_folder(path) else 0
    except FileNotFoundError:
        return 0


def _read_only_version(experiment: Path) -> Path | None:
    """Return where ``v0`` is now; None if there is none, or it was deleted."""
    found = _find_only_version(experiment)
    return None if found is None or has_status(found, DELETED) else found


def _find_only_version(experiment: Path) -> Path | None:
    """Return where ``v0`` is now: elsewhere while a swap is under way, or was cut off. None if there is none."""
    final = experiment / ONLY
    for _ in range(LOOKS):
        if is_folder(final):
            return final
        try:
            with looking_into(experiment):
                names = sorted(os.listdir(experiment))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return None
        swaps = [match[1] for name in names if (match := OLD.fullmatch(name))]
        olds = [staging for staging in swaps if is_folder(old_of(experiment / staging))]
        for staging in (experiment / name for name in olds):
            if is_folder(staging) and is_complete(staging):
                return staging
        if olds:
            return old_of(experiment / olds[0])
        if not swaps and ONLY not in names:
            return None
    return None


def during_swap(run: Path) -> Path:
    """Return where the run of a folder is now; if another one is taking its place, where the one is that is read."""
    if os.path.lexists(run) or not _MOVES.fullmatch(run.name):
        return run
    return _find_only_version(run.parent) or run


def find_again(run: Path, token: str | None) -> Path | None:
    """Return where the run is that was at `run`, or None if it is gone.

    Parameters
    ----------
    run : Path
        The folder ``v<N>`` that the run is published as.
    token : str or None
        What :func:`~crystallize.store.metadata.run_token` said of it.
    """
    for _ in range(LOOKS):
        if is_folder(run) and run_token(run) == token:
            return run
        if run.name != ONLY or token is None:
            return None
        with contextlib.suppress(OSError), os.scandir(run.parent) as entries:
            for entry in entries:
                if STAGING.fullmatch(entry.name) or OLD.fullmatch(entry.name):
                    folder = Path(entry.path)
                    if is_folder(folder) and run_token(folder) == token:
                        return folder
    return None
