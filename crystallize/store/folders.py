"""The folders of an experiment's runs: how they are called, and which there are.

With versions, each run has a folder ``v<N>``. Without, a run is written to the hidden folder ``.v0.<unique>``, which
takes the place of ``v0``, moved to ``.v0.<unique>.old``, when it is complete.

A link is never taken for a folder: nothing outside of the root is read, written or removed through one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from crystallize.errors import StoreError
from crystallize.store.layout import APPLY, PINNED, version_number
from crystallize.utils.failures import store_errors

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from crystallize.store.layout import RunLocation

ONLY = "v0"
"""The folder of all runs of an experiment without versions."""

STAGING = re.compile(r"\.v0\.(?!lock$)[^.]+")
"""What such a run's folder is called until it is complete."""

OLD = re.compile(rf"({STAGING.pattern})\.old")
"""What the folder is called whose place that one takes."""


def folder_of(location: RunLocation) -> Path:
    """Return the folder of the experiment's runs.

    Raises
    ------
    StoreError
        If it is a link, or the root is a file.
    """
    check_root(location.root)
    return _refuse_link(location.folder)


def check_root(root: str | Path) -> None:
    """Refuse a root that is a file.

    Raises
    ------
    StoreError
        If it is one.
    """
    if os.path.isfile(root):  # noqa: PTH113
        raise _no_folder(Path(root).absolute())


def make_folder(folder: Path) -> None:
    """Make a folder below the root, the root too and those above it; whatever is no folder is named."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise _no_folder(next(each for each in (folder, *folder.parents) if os.path.lexists(each))) from error


def apply_folder(location: RunLocation) -> Path:
    """Return the folder for the artifacts of ``Experiment.apply``; it is made if it is not there.

    Raises
    ------
    StoreError
        If it, or the experiment's folder, is a link, or a file is where a folder has to be.
    """
    folder = folder_of(location) / APPLY
    make_folder(folder)
    return _refuse_link(folder)


def _no_folder(obstacle: Path) -> StoreError:
    return StoreError(
        f"runs are stored in folders, and {obstacle.name!r} is {'a file' if obstacle.is_file() else 'no folder'}",
        str(obstacle),
        "root_dir must be a folder, and what is below it too: move this away, or choose another root_dir",
    )


def _refuse_link(folder: Path) -> Path:
    if os.path.islink(folder):  # noqa: PTH114
        raise StoreError(
            "a folder below the root is a link, and nothing is read or written through it",
            str(folder),
            "Make what it leads to the root_dir, or put a folder in its place",
        )
    return folder


def looking_into(folder: str | Path) -> AbstractContextManager[None]:
    """Turn an error of reading a folder of the store into one that says so, unless there is none."""
    return store_errors(
        "a folder of stored runs cannot be looked into",
        folder,
        "Look at its rights, or have its owner do it",
        unless=(FileNotFoundError, NotADirectoryError),
    )


def versions(experiment: Path) -> list[Path]:
    """Return the folders ``v<N>`` of an experiment, the newest first.

    Raises
    ------
    StoreError
        If the experiment's folder is there and cannot be looked into.
    """
    return [experiment / f"v{number}" for number in version_numbers(experiment)]


def version_numbers(experiment: Path) -> list[int]:
    """Return the numbers of an experiment's versions, the newest first; a thousand of them are no thousand paths."""
    try:
        with looking_into(experiment), os.scandir(experiment) as entries:
            found = [
                number
                for entry in entries
                if (number := version_number(entry.name)) is not None and entry.is_dir(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found, reverse=True)


def next_version(experiment: Path) -> int:
    """Return the number that the next run gets, if runs get numbers: the one after the newest."""
    found = version_numbers(experiment)
    return found[0] + 1 if found else 0


def old_of(staging: Path) -> Path:
    """Return where the run is moved whose place the one in the folder `staging` takes."""
    return staging.with_name(f"{staging.name}.old")


def is_pinned(run: Path) -> bool:
    """Tell whether the run in folder `run` is to be kept, whatever happens."""
    return os.path.lexists(run / PINNED)
