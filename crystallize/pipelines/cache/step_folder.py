"""The folder of one step in the step cache.

::

    <root>/<step_hash>/step.json              which step it is, and what the hash is made of
    <root>/<step_hash>/reads/<hash>.json      what the step has asked its context for, a file for each way it took
    <root>/<step_hash>/<input_hash>.pkl       an entry for each input
    <root>/<step_hash>/<hash>.lock            held by whoever is making an entry
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from crystallize.hashing import content_hash
from crystallize.pipelines.cache.entry import (
    SUFFIX,
    DamagedEntryError,
    Entry,
    Pickled,
    open_entry,
    write_entry,
)
from crystallize.pipelines.cache.reads import Question
from crystallize.store.locks import FileLock
from crystallize.utils.files import atomic_write_bytes, is_settled, read_plain, unique_suffix

STEP = "step.json"
READS = "reads"
LOCK = ".lock"
_LARGEST_JSON = 1 << 24
_LATELY = 60.0  # seconds: whether an entry was used in the last minute makes no difference


class StepFolder:
    """The folder of one step.

    Parameters
    ----------
    root : Path
        The root of the cache.
    step_hash : str
        What the step is.
    key : bytes or None
        What entries are signed with.
    """

    def __init__(self, root: Path, step_hash: str, key: bytes | None) -> None:
        self.path = root / step_hash
        self.step_hash = step_hash
        self._key = key
        self._folder = os.fspath(self.path)
        self._ways: dict[str, tuple[Question, ...]] = {}
        self._listed_at = -1
        self._can_lock: bool | None = None

    def entry(self, name: str) -> Path:
        """Return the file of the entry for an input."""
        return Path(f"{self._folder}/{name}{SUFFIX}")

    def open(self, name: str) -> Entry | None:
        """Open the entry for an input, and note that it was used; None if there is none.

        Raises
        ------
        DamagedEntryError
            If what is there cannot be used.
        """
        path = f"{self._folder}/{name}{SUFFIX}"  # a Path takes longer to make than the entry to be unpickled
        entry = open_entry(path, self._key)
        if entry is None:
            return None
        if (entry.about.get("step"), entry.about.get("input")) != (self.step_hash, name):
            entry.close()
            raise DamagedEntryError("it is the entry of another step or input")
        if entry.used < time.time() - _LATELY:
            with contextlib.suppress(OSError):  # others may read a cache that they must not write
                os.utime(path)  # the least recently used ones are the first to go
        return entry

    def store(self, name: str, about: Mapping[str, Any], record: bytes, output: Pickled) -> None:
        """Store an entry.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        about = {"step": self.step_hash, "input": name, **about}
        write_entry(self.entry(name), about, record, output, self._key)

    def describe(self, parts: Mapping[str, Any]) -> None:
        """Store what the step's hash is made of, unless that is there already.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        path = self.path / STEP
        if not path.exists():
            atomic_write_bytes(path, orjson.dumps(parts))

    def lock(self, name: str) -> FileLock | None:
        """Return the lock to hold while an entry is made; None where files cannot be locked.

        Raises
        ------
        OSError
            If its folder cannot be made.
        """
        if self._can_lock is None:
            self.path.mkdir(parents=True, exist_ok=True)
            trial = FileLock(self.path / f".{unique_suffix()}{LOCK}")
            self._can_lock = trial.try_acquire()
            trial.release()
        return FileLock(self.path / f"{name}{LOCK}") if self._can_lock else None

    # -- what the step asks ------------------------------------------------------------------------------------

    def ways(self) -> Iterator[tuple[Question, ...]]:
        """Yield what the step has asked for when it ran: once for each way that it took.

        Other threads may add a way while the caller looks through them. The folder is looked at when those that are
        known already were of no use.
        """
        known = tuple(self._ways.values())
        yield from known
        yield from self._learn()[len(known) :]

    def _learn(self) -> tuple[tuple[Question, ...], ...]:
        """Return all ways, the known ones first, with those that others have stored since."""
        folder = f"{self._folder}/{READS}"
        try:
            changed_at = os.stat(folder).st_mtime_ns  # noqa: PTH116
            names = [] if changed_at == self._listed_at else os.listdir(folder)  # noqa: PTH208
        except OSError:
            return tuple(self._ways.values())
        for name in names:
            if name not in self._ways and name.endswith(".json"):
                questions = _questions_in(Path(folder, name))
                if questions is not None:
                    self._ways[name] = questions
        if is_settled(changed_at):
            self._listed_at = changed_at
        return tuple(self._ways.values())

    def remember_way(self, questions: Iterable[Question]) -> None:
        """Store what the step has asked for.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        way = tuple(questions)
        name = f"{content_hash(way)}.json"
        path = self.path / READS / name
        if name not in self._ways or not path.exists():  # somebody may have cleared the cache
            atomic_write_bytes(path, orjson.dumps([tuple(question) for question in way]))
            self._ways[name] = way


def _questions_in(path: Path) -> tuple[Question, ...] | None:
    try:
        return tuple(
            Question(str(kind), str(name)) for kind, name in orjson.loads(read_plain(path, _LARGEST_JSON))
        )
    except (OSError, ValueError, TypeError):
        return None  # it is another miss, after which it is written anew
