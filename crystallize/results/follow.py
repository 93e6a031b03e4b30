"""Following a run that another process is making."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.errors import StoreError
from crystallize.store.journal import Entry
from crystallize.store.journal_reader import JournalReader
from crystallize.store.layout import JOURNAL
from crystallize.store.versions import is_being_made, newest_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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


def follow(run: Path, wait: Callable[[], None]) -> Iterator[Entry]:
    """Yield the outcomes of a run as they are written, each once, until nobody makes it any more.

    Parameters
    ----------
    run : pathlib.Path
        The run's folder.
    wait : callable
        Called when there is nothing new.

    Raises
    ------
    StoreError
        If the journal cannot be read.
    """
    reader = JournalReader(run / JOURNAL)
    while True:
        goes_on = is_being_made(run)  # asked first: what is written until it ends is read all the same
        try:
            for each in reader.read():
                if isinstance(each, Entry):
                    yield each
        except FileNotFoundError:  # it is about to begin, or it has taken its place in v0
            if not goes_on:
                return
        if not goes_on:
            return
        wait()
