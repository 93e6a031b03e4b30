"""The folders of an experiment's runs: claimed by one run each, published when complete, found by readers.

With versions, a run claims the next ``v<N>``. Without, it writes into the hidden folder ``.v0.<unique>`` and,
when it is complete, moves ``v0`` to ``.v0.<unique>.old`` and itself to ``v0``. A lock file ``.<folder>.lock``
tells whether the owner of a folder is alive, and a lock on a run's metadata that somebody reads it: what is
read stays, and of what was replaced meanwhile the next start disposes.

A link is never taken for a folder: nothing outside of the root is read, written or removed through one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import StoreError
from crystallize.store.layout import APPLY, METADATA, PINNED, version_number
from crystallize.store.locks import FileLock, holder_of, locked, unread
from crystallize.store.metadata import (
    DELETED,
    INTERRUPTED,
    RUNNING,
    has_status,
    is_complete,
    mark_interrupted,
    read_metadata,
    run_token,
)
from crystallize.utils.files import is_folder, put_aside, remove_folder, unique_suffix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize.store.layout import RunLocation

_ONLY = "v0"
_STAGING = re.compile(r"\.v0\.(?!lock$)[^.]+")
_OLD = re.compile(rf"({_STAGING.pattern})\.old")
_MOVES = re.compile(rf"{_ONLY}|{_STAGING.pattern}|{_OLD.pattern}")
_LOCK = re.compile(rf"\.(v[0-9]+|{_STAGING.pattern})\.lock")

LOOKS = 20
"""So often a run is looked for that may be changing places: it can do so between any two looks, but not each time."""

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
    _make_folder(experiment)
    with locked(experiment_lock(experiment)):
        _tidy(experiment)
        if not location.versioned and is_pinned(experiment / _ONLY):
            raise StoreError(
                f"a run of experiment {location.experiment!r} is pinned, and without versions a new one would take "
                "its place",
                str(experiment / _ONLY),
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
        return Claim(folder, folder if location.versioned else experiment / _ONLY, lock)


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
        runs = (experiment / f"v{number}" for number in _numbers(experiment))
        return next((run for run in runs if not has_status(run, DELETED)), None)
    with looking_into(experiment):
        unfinished = [(changed, path) for path in experiment.iterdir() if (changed := _last_change(path))]
    return max(unfinished)[1] if unfinished else _read_only_version(experiment)


def _last_change(path: Path) -> int:
    """Return when something was last put into the folder of an unfinished run; 0 if it is none, or none any more."""
    try:
        return path.stat().st_mtime_ns if _STAGING.fullmatch(path.name) and is_folder(path) else 0
    except FileNotFoundError:
        return 0


def apply_folder(location: RunLocation) -> Path:
    """Return the folder for the artifacts of ``Experiment.apply``; it is made if it is not there.

    Raises
    ------
    StoreError
        If it, or the experiment's folder, is a link, or a file is where a folder has to be.
    """
    folder = folder_of(location) / APPLY
    _make_folder(folder)
    return _refuse_link(folder)


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


def _make_folder(folder: Path) -> None:
    """Make a folder below the root, the root too and those above it; whatever is no folder is named."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise _no_folder(next(each for each in (folder, *folder.parents) if os.path.lexists(each))) from error


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


@contextlib.contextmanager
def looking_into(folder: str | Path) -> Iterator[None]:
    """Turn an error of reading a folder of the store into one that says so, unless there is none."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise StoreError(
            f"a folder of stored runs cannot be looked into: {error.strerror or error}",
            str(error.filename or folder),
            "Look at its rights, or have its owner do it",
        ) from error


def versions(experiment: Path) -> list[Path]:
    """Return the folders ``v<N>`` of an experiment, the newest first.

    Raises
    ------
    StoreError
        If the experiment's folder is there and cannot be looked into.
    """
    return [experiment / f"v{number}" for number in _numbers(experiment)]


def _numbers(experiment: Path) -> list[int]:
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
    found = _numbers(experiment)
    return found[0] + 1 if found else 0


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
        before = _identity(experiment / _ONLY)
        found = _newest_complete(experiment)
        if found is not None or _identity(experiment / _ONLY) == before:
            break
    return found


def _newest_complete(experiment: Path) -> Path | None:
    """Do what :func:`find_run` says of an experiment with versions, unless ``v0`` changes places meanwhile."""
    found = _numbers(experiment)
    if not found:
        only = _find_only_version(experiment)
        if only is None or only.name != _ONLY:
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


def is_pinned(run: Path) -> bool:
    """Tell whether the run in folder `run` is to be kept, whatever happens."""
    return os.path.lexists(run / PINNED)


def is_being_made(run: Path) -> bool:
    """Tell whether a living process is making the run in folder `run`; nothing is changed to find out."""
    lock = FileLock(lock_of(run))
    if not os.path.lexists(lock.path):
        return False
    try:
        is_free = lock.try_acquire()
    except OSError:  # a folder that nobody may write to
        return True
    lock.leave()
    return not is_free


def status_of(run: Path, metadata: Mapping[str, Any] | None) -> str | None:
    """Return the status that a run's metadata tell, or None; ``interrupted`` if its process was killed."""
    status = (metadata or {}).get("status")
    return INTERRUPTED if status == RUNNING and not is_being_made(run) else status


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
        if run.name != _ONLY or token is None:
            return None
        with contextlib.suppress(OSError), os.scandir(run.parent) as entries:
            for entry in entries:
                if _STAGING.fullmatch(entry.name) or _OLD.fullmatch(entry.name):
                    folder = Path(entry.path)
                    if is_folder(folder) and run_token(folder) == token:
                        return folder
    return None


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
    folder = experiment / f".{_ONLY}.{unique_suffix()}"
    lock = FileLock(lock_of(folder))
    lock.acquire()
    lock.sign()
    folder.mkdir()
    return Claim(folder, experiment / _ONLY, lock)


def experiment_lock(experiment: Path) -> Path:
    """Return the file to lock while the folders of an experiment change places."""
    return experiment / ".lock"


def lock_of(folder: Path) -> Path:
    """Return the file that is locked while a process makes the run in `folder`."""
    return folder.with_name(f".{folder.name}.lock")


def _old_of(staging: Path) -> Path:
    return staging.with_name(f"{staging.name}.old")


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
    old = _old_of(staging)
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
        if _STAGING.fullmatch(folder.name) and is_folder(folder):
            lock = FileLock(lock_of(folder))
            if lock.try_acquire():
                _dispose_of(folder)
                lock.release()


def _tidy(experiment: Path) -> None:
    """Put in order what crashed runs left; the caller holds the experiment's lock."""
    final = experiment / _ONLY
    names = os.listdir(experiment)  # noqa: PTH208
    complete, interrupted = _settle_abandoned(experiment, names)
    for folder in sorted(complete, key=_end_of, reverse=True):
        if _old_of(folder).exists() or (read_metadata(folder) or {}).get("replaces") == run_token(final):
            _dispose_of(_replace(folder, _unpinned_place(final)))
        else:  # another run has taken the place since
            _dispose_of(folder)
    for name in names:
        if _OLD.fullmatch(name):
            if not os.path.lexists(final):
                (experiment / name).rename(final)
            _dispose_of(experiment / name)
    interrupted.sort(key=lambda folder: folder.stat().st_mtime_ns)
    for folder in interrupted[:-1]:
        _dispose_of(folder)


def _settle_abandoned(experiment: Path, names: list[str]) -> tuple[list[Path], list[Path]]:
    """Mark the runs whose owner is dead; return the complete ones that are not in place yet, and the interrupted."""
    left = {match[1] for name in names if (match := _LOCK.fullmatch(name))}
    left |= {name for name in names if _STAGING.fullmatch(name)}
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


def _read_only_version(experiment: Path) -> Path | None:
    """Return where ``v0`` is now; None if there is none, or it was deleted."""
    found = _find_only_version(experiment)
    return None if found is None or has_status(found, DELETED) else found


def _find_only_version(experiment: Path) -> Path | None:
    """Return where ``v0`` is now: elsewhere while a swap is under way, or was cut off. None if there is none."""
    final = experiment / _ONLY
    for _ in range(LOOKS):
        if is_folder(final):
            return final
        try:
            with looking_into(experiment):
                names = sorted(os.listdir(experiment))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return None
        swaps = [match[1] for name in names if (match := _OLD.fullmatch(name))]
        olds = [staging for staging in swaps if is_folder(_old_of(experiment / staging))]
        for staging in (experiment / name for name in olds):
            if is_folder(staging) and is_complete(staging):
                return staging
        if olds:
            return _old_of(experiment / olds[0])
        if not swaps and _ONLY not in names:
            return None
    return None


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
