"""The folders of an experiment's runs: claimed by one run each, published when complete, found by readers.

With versions, a run claims the next ``v<N>``. Without, it writes into the hidden folder ``.v0.<unique>`` and,
when it is complete, moves ``v0`` to ``.v0.<unique>.old`` and itself to ``v0``. A lock file ``.<folder>.lock``
tells whether the owner of a folder is alive.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from crystallize.store.layout import METADATA, replicates_in, version_number
from crystallize.store.locks import FileLock, locked
from crystallize.store.metadata import is_complete, read_metadata
from crystallize.utils.files import unique_suffix

if TYPE_CHECKING:
    from crystallize.store.layout import RunLocation

_ONLY = "v0"
_STAGING = re.compile(r"\.v0\.[^.]+")
_OLD = re.compile(r"(\.v0\.[^.]+)\.old")
_STAGING_LOCK = re.compile(r"\.\.v0\.[^.]+\.lock")


class Claim:
    """A folder that one run may write to, until it is published or released.

    Attributes
    ----------
    folder : Path
        Where the run writes.
    final : Path
        Where its readers will find it.
    """

    def __init__(self, folder: Path, final: Path, lock: FileLock) -> None:
        self.folder = folder
        self.final = final
        self._lock = lock

    def publish(self) -> Path:
        """Make the run the one that readers find, give up the claim, and return the run's folder."""
        if self.folder != self.final:
            with locked(_experiment_lock(self.final.parent)):
                old = _replace(self.folder, self.final)
            _remove_folder(old)
            self.folder = self.final
        self._lock.release()
        return self.final

    def release(self) -> None:
        """Give up the claim; the folder stays as it is."""
        self._lock.release()

    def discard(self) -> None:
        """Remove the folder and give up the claim."""
        _remove_folder(self.folder)
        self._lock.release()


def claim_run(location: RunLocation) -> Claim:
    """Claim a folder for a new run, which no other run will share.

    What crashed runs have left is put in order first: a swap that was cut off is completed, and of the
    unfinished runs of an experiment without versions only the newest is kept.
    """
    experiment = location.folder
    experiment.mkdir(parents=True, exist_ok=True)
    with locked(_experiment_lock(experiment)):
        _tidy(experiment)
        return _claim_next_version(experiment) if location.versioned else _claim_staging(experiment)


def versions(experiment: Path) -> list[Path]:
    """Return the folders ``v<N>`` of an experiment, the newest first."""
    try:
        with os.scandir(experiment) as entries:
            found = [
                (number, entry.path)
                for entry in entries
                if (number := version_number(entry.name)) is not None
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [Path(path) for _, path in sorted(found, reverse=True)]


def find_run(location: RunLocation, version: int | None = None) -> Path | None:
    """Return the folder that a reader should read, or None if there is none.

    Parameters
    ----------
    location : RunLocation
        The experiment that stored the run.
    version : int, optional
        The version. By default the newest complete one, or ``v0`` if the experiment has no versions. If no
        run has metadata, since the folders were made by another tool, it is the newest folder.
    """
    experiment = location.folder
    if version is not None:
        folder = experiment / f"v{version}"
        return folder if folder.is_dir() else (_run_during_swap(experiment) if version == 0 else None)
    if not location.versioned:
        return _read_only_version(experiment)
    found = versions(experiment)
    for folder in found:
        if is_complete(folder):
            return folder
    return found[0] if found and not any((folder / METADATA).exists() for folder in found) else None


def prune(location: RunLocation, keep: int) -> None:
    """Remove the artifacts of all runs that are older than the `keep` newest complete ones.

    The largest files go first. Results, metadata and manifest stay. A run that is still being written is left
    alone.
    """
    older = versions(location.folder)
    kept = 0
    while older and kept < keep:
        kept += is_complete(older.pop(0))
    for folder in older:
        replicates = replicates_in(folder)
        lock = FileLock(_lock_of(folder))
        if replicates and lock.try_acquire():
            try:
                _remove_files_largest_first(replicates)
            finally:
                lock.release()


def _claim_next_version(experiment: Path) -> Claim:
    found = versions(experiment)
    number = 0 if not found else (version_number(found[0].name) or 0) + 1
    while True:
        folder = experiment / f"v{number}"
        lock = FileLock(_lock_of(folder))
        lock.acquire()
        try:
            folder.mkdir()
        except FileExistsError:  # only where the file system has no locks
            lock.release()
            number += 1
        else:
            return Claim(folder, folder, lock)


def _claim_staging(experiment: Path) -> Claim:
    folder = experiment / f".{_ONLY}.{unique_suffix()}"
    lock = FileLock(_lock_of(folder))
    lock.acquire()
    folder.mkdir()
    return Claim(folder, experiment / _ONLY, lock)


def _experiment_lock(experiment: Path) -> Path:
    return experiment / ".lock"


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _old_of(staging: Path) -> Path:
    return staging.with_name(f"{staging.name}.old")


def _replace(staging: Path, final: Path) -> Path:
    """Put `staging` in the place of `final`; return where the old content is now, if there was any."""
    old = _old_of(staging)
    while True:
        with contextlib.suppress(FileNotFoundError):  # the first run, or a swap that was cut off
            final.rename(old)
        try:
            staging.rename(final)
        except OSError:
            if not final.exists():  # else another one came between: only where the file system has no locks
                raise
            _remove_folder(old)
        else:
            return old


def _tidy(experiment: Path) -> None:
    """Complete what crashed runs left unfinished; the caller holds the experiment's lock."""
    final = experiment / _ONLY
    names = os.listdir(experiment)  # noqa: PTH208
    unfinished = {name for name in names if _STAGING.fullmatch(name)}
    unfinished |= {name[1 : -len(".lock")] for name in names if _STAGING_LOCK.fullmatch(name)}
    interrupted: list[Path] = []
    for name in unfinished:
        folder = experiment / name
        lock = FileLock(_lock_of(folder))
        if not lock.try_acquire():
            continue
        try:
            if is_complete(folder) and _end_of(folder) > _end_of(final):
                _remove_folder(_replace(folder, final))
            elif folder.is_dir():
                interrupted.append(folder)
        finally:
            lock.release()
    for name in names:
        if _OLD.fullmatch(name):
            if not final.exists():
                (experiment / name).rename(final)
            _remove_folder(experiment / name)
    interrupted.sort(key=lambda folder: folder.stat().st_mtime_ns)
    for folder in interrupted[:-1]:
        _remove_folder(folder)


def _end_of(folder: Path) -> str:
    """Return when the complete run in `folder` ended, or an empty text if there is none."""
    return str((read_metadata(folder) or {}).get("finished")) if is_complete(folder) else ""


def _read_only_version(experiment: Path) -> Path | None:
    final = experiment / _ONLY
    for _ in range(3):  # a swap may end between two looks
        if final.is_dir():
            return final
        found = _run_during_swap(experiment)
        if found is not None:
            return found
    return None


def _run_during_swap(experiment: Path) -> Path | None:
    """Return the run to read while ``v0`` is away because a swap is under way, or was cut off."""
    try:
        names = sorted(os.listdir(experiment))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return None
    for name in names:
        match = _OLD.fullmatch(name)
        if match:
            staging = experiment / match[1]
            return staging if is_complete(staging) else experiment / name
    return None


def _remove_folder(folder: Path) -> None:
    from shutil import rmtree  # brings the codecs of archives along

    rmtree(folder, ignore_errors=True)


def _remove_files_largest_first(folders: list[Path]) -> None:
    files = [
        Path(parent, name) for folder in folders for parent, _, names in os.walk(folder) for name in names
    ]
    for file in sorted(files, key=lambda file: file.lstat().st_size, reverse=True):
        file.unlink(missing_ok=True)
    for folder in folders:
        _remove_folder(folder)
