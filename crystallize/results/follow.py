"""Following a run that another process is making."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from crystallize.errors import StoreError
from crystallize.store.finding import newest_folder
from crystallize.store.journal import Entry
from crystallize.store.journal_reader import JournalReader
from crystallize.store.layout import JOURNAL
from crystallize.store.locks import is_being_made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from crystallize.store.journal import Session
    from crystallize.store.layout import RunLocation


def find_newest(location: RunLocation) -> Path:
    """Return the folder of an experiment's newest run, whatever has become of it.

    Raises
    ------
    StoreError
        If there is none.
    """
    folder = newest_folder(location)
    if folder is None:
        raise StoreError(
            f"no run of experiment {location.experiment!r} is stored",
            str(location.folder),
            f"Run 'crystallize run {location.experiment}'",
        )
    return folder


class RunFollower:
    """Reads a run that another process makes, as far as it has come, and never waits.

    Parameters
    ----------
    run : pathlib.Path
        The run's folder.

    Attributes
    ----------
    damaged : list of int
        The lines of the journal, counted from 1, that were left out since they are damaged.
    warn_of_damage : callable
        Logs them.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._reader = JournalReader(run / JOURNAL)
        self.damaged = self._reader.damaged
        self.warn_of_damage = self._reader.warn_of_damage

    def read(self) -> Iterator[Entry | Session]:
        """Yield what has been written since the last call; who breaks off gets the rest from the next call.

        An outcome that was tried again comes again.

        Raises
        ------
        StoreError
            If the journal cannot be read.
        """
        with suppress(FileNotFoundError):  # it is about to begin, or it has taken its place in v0
            yield from self._reader.read()

    def sessions(self) -> list[Session]:
        """Return all sessions that there are by now; nothing counts as read by it.

        Raises
        ------
        StoreError
            If the journal cannot be read.
        """
        try:
            return [session for _, session in self._reader.find_sessions()]
        except FileNotFoundError:
            return []

    def goes_on(self) -> bool:
        """Tell whether a living process makes the run; asked before `read`, all that it wrote is read at the end."""
        return is_being_made(self._run)


def follow(follower: RunFollower, wait: Callable[[], None]) -> Iterator[Entry]:
    """Yield the outcomes of a run as they are written, each once, until nobody makes it any more.

    Parameters
    ----------
    follower : RunFollower
        Who reads the run.
    wait : callable
        Called when there is nothing new.

    Raises
    ------
    StoreError
        If the journal cannot be read.
    """
    while True:
        goes_on = follower.goes_on()
        yield from (each for each in follower.read() if isinstance(each, Entry))
        if not goes_on:
            return
        wait()
