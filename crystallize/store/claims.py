"""Claims: a folder for each run, published when the run is complete.

With versions, a run claims the next ``v<N>``. Without, it writes into the hidden folder ``.v0.<unique>`` and,
when it is complete, moves ``v0`` to ``.v0.<unique>.old`` and itself to ``v0``. A lock file ``.<folder>.lock``
tells whether the owner of a folder is alive, and a lock on a run's metadata that somebody reads it: what is
read stays, and of what was replaced meanwhile the next start disposes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from typing import TYPE_CHECKING

from crystallize.errors import StoreError
from crystallize.store.finding import newest_folder
from crystallize.store.folders import (
    OLD,
    ONLY,
    STAGING,
    folder_of,
    is_pinned,
    make_folder,
    next_version,
    old_of,
)
from crystallize.store.layout import METADATA, version_number
from crystallize.store.locks import FileLock, experiment_lock, holder_of, lock_of, locked, unread
from crystallize.store.metadata import is_complete, mark_interrupted, read_metadata, run_token
from crystallize.utils.files import is_folder, put_aside, remove_folder, unique_suffix

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.store.layout import RunLocation

_LOCK = re.compile(rf"\.(v[0-9]+|{STAGING.pattern})\.lock")

_log = logging.getLogger("crystallize.store")


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

    def replaces(self) -> str | None:
        """Return the token of the run whose place this one would take now; None if there is none.

        It goes into the metadata of the complete run. Should the run be cut off just then, the next start
        sees by it whether another run has come in between, without asking any clock.
        """
        return None if self.folder == self.final else run_token(self.final)

    def publish(self) -> Path:
        """Make the run the one that readers find, give up the claim, and return the run's folder."""
        if self.folder != self.final:
            with locked(experiment_lock(self.final.parent)):
                self.final = _unpinned_place(self.final)
                old = _replace(self.folder, self.final)
                _dispose_of_unfinished(self.final.parent)
            _dispose_of(old)
            self.folder = self.final
        self._lock.release()
        return self.final

    def release(self) -> None:
        """Give up the claim; the folder stays as it is."""
        self._lock.release()

    def leave(self) -> None:
        """Give up the claim as if this process were killed: the next start will mark the run as interrupted."""
        self._lock.leave()

    def discard(self) -> None:
        """Remove the folder and give up the claim."""
        remove_folder(self.folder)
        self._lock.release()


def claim_run(location: RunLocation) -> Claim:
    """Claim a folder for a new run, which no other run will share.

    What crashed runs have left is put in order first: a swap that was cut off is completed, runs that were
    killed are marked as interrupted, and of those of an experiment without versions only the newest is kept.

    Raises
    ------
    StoreError
        If the experiment's folder is a link, a file is where a folder has to be, or the run whose place this one
        would take is pinned.
    """
    experiment = folder_of(location)
    make_folder(experiment)
    with locked(experiment_lock(experiment)):
        _tidy(experiment)
        if not location.versioned and is_pinned(experiment / ONLY):
            raise StoreError(
                f"a run of experiment {location.experiment!r} is pinned, and without versions a new one would take "
                "its place",
                str(experiment / ONLY),
                f"Use versioned=True, or 'crystallize runs pin {location.experiment} --version 0 --off'",
            )
        return _claim_next_version(experiment) if location.versioned else _claim_staging(experiment)


def claim_newest(location: RunLocation) -> Claim | None:
    """Claim the folder of the newest run, to go on with it; None if none is stored.

    An interrupted run counts as long as no newer one is complete.

    Raises
    ------
    StoreError
        If another process is writing it, or the experiment's folder is a link.
    """
    experiment = folder_of(location)
    if not is_folder(experiment):
        return None
    with locked(experiment_lock(experiment)):
        _tidy(experiment)
        folder = newest_folder(location)
        if folder is None:
            return None
        lock = FileLock(lock_of(folder))
        if not lock.try_acquire():
            raise StoreError(
                f"the newest run is being written by {holder_of(lock_of(folder))}",
                str(folder),
                "Wait until it has ended, or run the experiment anew beside it",
            )
        lock.sign()
        return Claim(folder, folder if location.versioned else experiment / ONLY, lock)


def _claim_next_version(experiment: Path) -> Claim:
    number = next_version(experiment)
    while True:
        folder = experiment / f"v{number}"
        lock = FileLock(lock_of(folder))
        lock.acquire()
        try:
            folder.mkdir()
        except FileExistsError:  # a file or a link; or the file system has no locks
            lock.release()
            number += 1
        else:
            lock.sign()
            return Claim(folder, folder, lock)


def _claim_staging(experiment: Path) -> Claim:
    folder = experiment / f".{ONLY}.{unique_suffix()}"
    lock = FileLock(lock_of(folder))
    lock.acquire()
    lock.sign()
    folder.mkdir()
    return Claim(folder, experiment / ONLY, lock)


def _unpinned_place(final: Path) -> Path:
    """Return `final`, or the folder of a new version if the run there was pinned since the new one started."""
    if not is_pinned(final):
        return final
    experiment = final.parent
    place = experiment / f"v{next_version(experiment)}"
    _log.warning("the run in %s is pinned, so that the new one is stored in %s", final, place)
    return place


def _replace(staging: Path, final: Path) -> Path:
    """Put `staging` in the place of `final`; return where the old content is now, if there was any."""
    old = old_of(staging)
    while True:
        with contextlib.suppress(FileNotFoundError):  # the first run, or a swap that was cut off
            final.rename(old)
        try:
            staging.rename(final)
        except OSError:
            if not final.exists():  # else another one came between: only where the file system has no locks
                raise
            _dispose_of(old)
        else:
            return old


def _dispose_of_unfinished(experiment: Path) -> None:
    """Remove the interrupted runs that nobody will resume any more, since a newer one is complete."""
    for folder in experiment.iterdir():
        if STAGING.fullmatch(folder.name) and is_folder(folder):
            lock = FileLock(lock_of(folder))
            if lock.try_acquire():
                _dispose_of(folder)
                lock.release()


def _tidy(experiment: Path) -> None:
    """Put in order what crashed runs left; the caller holds the experiment's lock."""
    final = experiment / ONLY
    names = os.listdir(experiment)  # noqa: PTH208
    complete, interrupted = _settle_abandoned(experiment, names)
    for folder in sorted(complete, key=_end_of, reverse=True):
        if old_of(folder).exists() or (read_metadata(folder) or {}).get("replaces") == run_token(final):
            _dispose_of(_replace(folder, _unpinned_place(final)))
        else:  # another run has taken the place since
            _dispose_of(folder)
    for name in names:
        if OLD.fullmatch(name):
            if not os.path.lexists(final):
                (experiment / name).rename(final)
            _dispose_of(experiment / name)
    interrupted.sort(key=lambda folder: folder.stat().st_mtime_ns)
    for folder in interrupted[:-1]:
        _dispose_of(folder)


def _settle_abandoned(experiment: Path, names: list[str]) -> tuple[list[Path], list[Path]]:
    """Mark the runs whose owner is dead; return the complete ones that are not in place yet, and the interrupted."""
    left = {match[1] for name in names if (match := _LOCK.fullmatch(name))}
    left |= {name for name in names if STAGING.fullmatch(name)}
    complete: list[Path] = []
    interrupted: list[Path] = []
    for folder in (experiment / name for name in left):
        lock = FileLock(lock_of(folder))
        if not lock.try_acquire():
            continue
        try:
            if not is_folder(folder):
                if os.path.lexists(folder):
                    put_aside(folder)
                continue
            is_staging = version_number(folder.name) is None
            if is_staging and is_complete(folder):
                complete.append(folder)
                continue
            _settle_interrupted(folder)
            if is_staging and is_folder(folder):
                interrupted.append(folder)
        finally:
            lock.release()
    return complete, interrupted


def _settle_interrupted(folder: Path) -> None:
    """Note that a run was killed; of one that was killed before it wrote anything, nothing is left."""
    with contextlib.suppress(OSError):  # it has files
        folder.rmdir()
    try:
        mark_interrupted(folder)
    except OSError as error:  # another user's run, or damaged
        _log.warning("%s was left by a run that was killed, and cannot be marked so: %s", folder, error)


def _end_of(folder: Path) -> str:
    return str((read_metadata(folder) or {}).get("finished"))


def _dispose_of(folder: Path) -> None:
    """Remove a run that another one has replaced, unless somebody reads it: then the next start will."""
    if is_folder(folder):
        with unread(folder / METADATA) as is_free:
            if is_free:
                with contextlib.suppress(OSError):  # first, so that what has metadata has everything
                    (folder / METADATA).unlink()
                remove_folder(folder)
    elif os.path.lexists(folder):
        put_aside(folder)
