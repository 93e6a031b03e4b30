"""What is kept of old runs: pins, and what is removed by whom.

A run can lose its artifacts (*prune*), or everything but a record (*delete*). Neither happens to a run that is pinned,
that a living process is making, or that somebody reads. Of every file that goes, size and hash stay: an artifact's in
the manifest, which is kept, and those of others in the metadata of the deleted run. The folder of a deleted run stays
with that record in it, so that its number is never used again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from crystallize.errors import StoreError
from crystallize.store.folders import folder_of, is_pinned, versions
from crystallize.store.layout import MANIFEST, METADATA, PINNED, PRUNED, replicates_in
from crystallize.store.locks import FileLock, experiment_lock, lock_of, locked, unread
from crystallize.store.manifest import read_manifest
from crystallize.store.metadata import DELETED, RUNNING, has_status, is_complete, mark_deleted, read_metadata
from crystallize.utils.digests import measure_file
from crystallize.utils.failures import store_errors
from crystallize.utils.files import atomic_write_bytes, is_plain, read_plain
from crystallize.utils.json_text import parse_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crystallize.store.layout import RunLocation

MEGABYTE = 1_000_000

_log = logging.getLogger("crystallize.store")


class InUseError(StoreError):
    """A run is pinned, or a living process makes or reads it, so that nothing is removed of it now."""


class Removed(NamedTuple):
    """How much was removed."""

    files: int
    size: int


def pin(run: Path) -> None:
    """Keep the run in folder `run` from being pruned, deleted or replaced until it is unpinned.

    Raises
    ------
    StoreError
        If no run is stored there, if it is deleted, or the file system does not let it be changed.
    """
    # With versioned=False, another run may be about to take the place.
    with _changing(run), locked(experiment_lock(run.parent)):
        _check_is_run(run)
        if has_status(run, DELETED):
            raise StoreError(
                "the run is deleted, and nothing of it is left to keep", str(run), "Pin another one"
            )
        atomic_write_bytes(run / PINNED, b"")


def unpin(run: Path) -> None:
    """Let the run in folder `run` be pruned, deleted and replaced again."""
    with _changing(run):
        (run / PINNED).unlink(missing_ok=True)


def prune(location: RunLocation, keep: int, *, smallest: int = 0) -> None:
    """Remove the artifacts of the runs that are older than the `keep` newest complete ones and that nobody needs.

    Parameters
    ----------
    location : RunLocation
        The experiment.
    keep : int
        How many complete runs keep everything. A run that cannot be read does, and a folder that no run of ours made.
    smallest : int, optional
        Files of fewer bytes stay.
    """
    older = versions(folder_of(location))
    kept = 0
    while older and kept < keep:
        kept += is_complete(older.pop(0))
    for folder in older:
        if not os.path.lexists(folder / METADATA):
            continue
        try:
            if replicates_in(folder) and read_metadata(folder):  # what cannot be read may be needed
                remove_artifacts(folder, smallest=smallest)
        except InUseError:
            continue
        except (StoreError, OSError) as error:  # another user's run, or one that we cannot read
            _log.warning("the artifacts of %s cannot be removed: %s", folder, error)


def remove_artifacts(run: Path, *, smallest: int = 0) -> Removed:
    """Remove the artifacts of the run in folder `run`, the largest first; results, metadata and manifest stay.

    Parameters
    ----------
    run : pathlib.Path
        The run's folder.
    smallest : int, optional
        Files of fewer bytes stay.

    Raises
    ------
    InUseError
        If the run is pinned, is being made, or is read by somebody.
    StoreError
        If the file system does not let it be changed.
    """
    with _changing(run), _left_alone(run):
        folders = replicates_in(run)
        sizes = {file: file.lstat().st_size for folder in folders for file in _files_in(folder)}
        chosen = [file for file in sizes if sizes[file] >= smallest]
        chosen.sort(key=sizes.__getitem__, reverse=True)
        removed = Removed(len(chosen), sum(sizes[file] for file in chosen))
        if chosen:
            before = pruned_of(run)
            total = Removed(before.files + removed.files, before.size + removed.size)
            atomic_write_bytes(run / PRUNED, f"{to_json(total._asdict())}\n".encode())
        for file in chosen:
            file.unlink(missing_ok=True)
        for folder in folders:
            _remove_empty_folders(folder)
        return removed


def pruned_of(run: Path) -> Removed:
    """Return how much of its artifacts the run in folder `run` has lost by pruning."""
    try:
        pruned = parse_json(read_plain(run / PRUNED, MEGABYTE, follow_links=False))
        return Removed(int(pruned["files"]), int(pruned["size"]))
    except FileNotFoundError:
        return Removed(0, 0)
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("how much was pruned of %s cannot be read: %r", run, error)
        return Removed(0, 0)


def artifact_size(run: Path) -> int:
    """Return how many bytes of artifacts are in the folder of a run, as far as it can be looked into."""
    size = 0
    with contextlib.suppress(OSError):  # it may not be looked into, or goes on changing
        for replicate in replicates_in(run):
            for parent, _, names in os.walk(replicate):
                size += sum(os.lstat(os.path.join(parent, name)).st_size for name in names)  # noqa: PTH118
    return size


def forget_pruned(run: Path) -> None:
    """Note that the run in folder `run` is resumed: what was pruned is owed, and is written again."""
    (run / PRUNED).unlink(missing_ok=True)


def delete(run: Path) -> Removed:
    """Remove all that the run in folder `run` has, except for its metadata and manifest, which say what was there.

    Raises
    ------
    InUseError
        If the run is pinned, is being made, or is read by somebody.
    StoreError
        If the file system does not let it be changed.
    """
    with _changing(run), _left_alone(run):
        try:
            listed = {entry.path for entry in read_manifest(run)}
        except StoreError:  # it is damaged: then the files tell
            listed = set()
        files = {file.relative_to(run).as_posix(): file for file in _all_but_record(run)}
        sizes = {path: file.lstat().st_size for path, file in files.items()}
        removed = {
            path: {"size": sizes[path], "digest": measure_file(file).digest if is_plain(file) else None}
            for path, file in files.items()
            if path not in listed
        }
        mark_deleted(run, removed)  # first: nobody takes for whole what is being removed
        for file in files.values():
            file.unlink(missing_ok=True)
        _remove_empty_folders(run)
        return Removed(len(files), sum(sizes.values()))


def removable(run: Path) -> Removed:
    """Return how much :func:`delete` would remove of the run in folder `run`, as far as it can be seen."""
    return _measured(_all_but_record(run))


def removable_artifacts(run: Path) -> Removed:
    """Return how much :func:`remove_artifacts` would remove of the run in folder `run`, as far as it can be seen."""
    with contextlib.suppress(OSError):
        return _measured(file for folder in replicates_in(run) for file in _files_in(folder))
    return Removed(0, 0)


def _all_but_record(run: Path) -> Iterator[Path]:
    """Yield all files of a run but those that stay when it is deleted."""
    return (file for file in _files_in(run) if file not in (run / METADATA, run / MANIFEST))


def _measured(files: Iterable[Path]) -> Removed:
    count = size = 0
    for file in files:
        with contextlib.suppress(OSError):
            size += file.lstat().st_size
            count += 1
    return Removed(count, size)


def _check_is_run(run: Path) -> None:
    try:
        os.lstat(run / METADATA)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError("no run is stored here, for there is no metadata", str(run)) from None


def _changing(run: Path) -> contextlib.AbstractContextManager[None]:
    """Turn the errors of the file system into one that says which run could not be changed."""
    return store_errors(
        "the stored run cannot be changed",
        run,
        "Look at the rights of the folder and the space on its disk, or have its owner do it",
    )


@contextlib.contextmanager
def _left_alone(run: Path) -> Iterator[None]:
    """Make sure that nobody makes, reads or replaces a run while the block changes it."""
    with locked(experiment_lock(run.parent)) if run.name == "v0" else contextlib.nullcontext():
        _check_is_run(run)
        if is_pinned(run):
            raise InUseError("the run is pinned", str(run), "Unpin it first")
        lock = FileLock(lock_of(run))
        if not lock.try_acquire():
            if not os.path.lexists(lock.path):  # nobody holds it: it could not be made
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(lock.path))
            raise InUseError("a running process is making this run", str(run), "Wait until it has ended")
        try:
            with unread(run / METADATA) as is_free:
                if not is_free:
                    raise InUseError("somebody is reading this run", str(run), "Wait until that has ended")
                yield
        finally:
            if has_status(run, RUNNING):
                lock.leave()  # by it, the next start sees that the run was killed
            else:
                lock.release()


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield all files and links below `folder`; no link is followed."""
    for parent, folders, names in os.walk(folder):
        for name in [*names, *folders]:
            path = Path(parent, name)
            if name in names or path.is_symlink():
                yield path


def _remove_empty_folders(folder: Path) -> None:
    """Remove `folder` and those below it, as far as they are empty."""
    for parent, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(parent)  # noqa: PTH106
