"""What is stored in the step cache, and what is removed of it.

Any number of processes may use the cache meanwhile: an entry that goes is a miss for them, and what they hold or write
stays. The folder may have other things in it, which are never touched: a step's folder has a description of ours, its
entries begin with our first line, and no link is followed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from crystallize.pipelines.cache.entry import FIRST_LINE, SUFFIX, DamagedEntryError, read_about
from crystallize.pipelines.cache.history import stored_steps
from crystallize.pipelines.cache.step_folder import LOCK, READS, STEP
from crystallize.pipelines.cache.step_key import StepCode
from crystallize.store.locks import FileLock
from crystallize.utils.files import atomic_write_bytes, is_folder, is_temporary, open_plain

if TYPE_CHECKING:
    from crystallize.pipelines.cache.settings import CacheLimits, CacheSettings

_ABANDONED = 3600.0  # seconds after the last write from which on nobody writes a file any more

_log = logging.getLogger("crystallize.cache")


class StoredEntry(NamedTuple):
    """An entry of the cache.

    Attributes
    ----------
    path : Path
        Its file.
    size : int
        Its bytes.
    used : float
        When it was stored or taken last, in seconds since 1970.
    """

    path: Path
    size: int
    used: float


class StoredStep(NamedTuple):
    """What is stored of a step: of its code and its parameters as they were at one time.

    Attributes
    ----------
    code : StepCode
        The function or class that it is.
    folder : Path
        Where it is stored.
    entries : tuple of StoredEntry
        The least recently used one first.
    leftovers : tuple of Path
        Locks, held or left behind, and what crashed processes were writing.
    """

    code: StepCode
    folder: Path
    entries: tuple[StoredEntry, ...]
    leftovers: tuple[Path, ...]

    @property
    def size(self) -> int:
        """The bytes of all entries."""
        return sum(entry.size for entry in self.entries)

    def seconds(self) -> float | None:
        """Return how long the step ran for its newest entry; None if that is not known."""
        try:
            seconds = read_about(self.entries[-1].path).get("seconds")
        except (DamagedEntryError, IndexError):
            return None
        return seconds if isinstance(seconds, float) else None


class Removed(NamedTuple):
    """What was removed.

    Attributes
    ----------
    entries : int
        How many entries.
    size : int
        Their bytes.
    problem : OSError or None
        The first one that kept an entry from being removed.
    """

    entries: int = 0
    size: int = 0
    problem: OSError | None = None


def read_steps(root: Path) -> list[StoredStep]:
    """Return what is stored below the root of a cache, step by step."""
    return [
        _read_step(StepCode(step["name"], step["file"]), step["folder"], time.time())
        for step in stored_steps(root)
    ]


def beyond(steps: Iterable[StoredStep], limits: CacheLimits) -> list[StoredEntry]:
    """Return the entries that go for the limits to be kept, the least recently used one first."""
    entries = sorted((entry for step in steps for entry in step.entries), key=lambda entry: entry.used)
    oldest = float("-inf") if limits.age is None else time.time() - limits.age
    excess = 0.0 if limits.size is None else sum(entry.size for entry in entries) - limits.size
    going = []
    for entry in entries:
        if entry.used >= oldest and excess <= 0:
            break
        going.append(entry)
        excess -= entry.size
    return going


def remove(steps: Iterable[StoredStep], entries: Collection[StoredEntry]) -> Removed:
    """Remove entries of the steps, and what is left behind of crashed processes and of steps without entries."""
    going = set(entries)
    removed = Removed()
    for step in steps:
        staying = 0
        for entry in step.entries:
            problem = None
            try:
                is_gone = entry in going and _remove_entry(entry.path)
            except OSError as error:
                is_gone, problem = False, error
            staying += not is_gone
            removed = Removed(
                removed.entries + is_gone, removed.size + is_gone * entry.size, removed.problem or problem
            )
        for path in step.leftovers:
            _remove_leftover(path)
        if not staying:
            _remove_step(step.folder)
    return removed


def keep_limits(settings: CacheSettings) -> None:
    """Remove what is beyond the limits; that something cannot be removed is a warning."""
    steps = read_steps(settings.folder)
    removed = remove(steps, beyond(steps, settings.limits))
    if removed.problem is not None:
        _log.warning(
            "the step cache %s is larger than it may be: %s cannot be removed: %s",
            settings.folder,
            removed.problem.filename,
            removed.problem.strerror,
        )


# -- a step's folder -----------------------------------------------------------------------------------------


def _read_step(code: StepCode, folder: Path, now: float) -> StoredStep:
    entries, leftovers = [], []
    for file in (*_files(folder), *_files(folder / READS)):
        with contextlib.suppress(FileNotFoundError):  # it is gone by now
            found = file.stat(follow_symlinks=False)
            path = Path(file.path)
            if file.name.endswith(SUFFIX):
                entries.append(StoredEntry(path, found.st_size, found.st_mtime))
            elif file.name.endswith(LOCK) or (is_temporary(file.name) and found.st_mtime < now - _ABANDONED):
                leftovers.append(path)
    entries.sort(key=lambda entry: entry.used)
    return StoredStep(code, folder, tuple(entries), tuple(leftovers))


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the plain files in a folder; none if it is a link."""
    if is_folder(folder):
        with contextlib.suppress(OSError), os.scandir(folder) as found:
            yield from (each for each in found if each.is_file(follow_symlinks=False))


def _remove_entry(path: Path) -> bool:
    """Remove an entry; tell whether it was there, and one of ours."""
    try:
        with os.fdopen(open_plain(path, follow_links=False), "rb") as file:
            is_ours = file.readline(len(FIRST_LINE)) == FIRST_LINE
        if is_ours:
            path.unlink()
    except FileNotFoundError:
        return False
    return is_ours


def _remove_leftover(path: Path) -> None:
    """Remove a lock unless it is held, or what was being written, as far as that is allowed."""
    with contextlib.suppress(OSError):
        if not path.name.endswith(LOCK):
            path.unlink()
        elif (lock := FileLock(path)).try_acquire():
            lock.release()


def _remove_step(folder: Path) -> None:
    """Remove the folder of a step that has no entries, as far as that is allowed."""
    with contextlib.suppress(OSError):
        description = (folder / STEP).read_bytes()
        for file in _files(folder / READS):
            if file.name.endswith(".json"):
                Path(file.path).unlink()
        if is_folder(folder / READS):
            (folder / READS).rmdir()
        (folder / STEP).unlink()
        try:
            folder.rmdir()
        except FileNotFoundError:  # others do the same
            pass
        except OSError:  # somebody has just stored an entry, or keeps something of his own here
            atomic_write_bytes(folder / STEP, description)
