"""Reading a run's journal; see :mod:`crystallize.store.journal`."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from pickle import UnpicklingError
from typing import IO, TYPE_CHECKING, Any

from crystallize.errors import StoreError
from crystallize.store.extent import Extent
from crystallize.store.journal import (
    HEAD_LENGTH,
    START,
    VERSION,
    Entry,
    Session,
    entry_from,
    seed_of,
    session_from,
    trace_from,
    without_sums,
)
from crystallize.store.layout import METADATA
from crystallize.utils import exact_json
from crystallize.utils.files import open_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from crystallize.store.outcome import Outcome
    from crystallize.utils.stage import Trace

_SESSION = b'"session":'
_BLOCK = 1 << 13
"""Bytes that are parsed at once; with more, so many objects live together that the garbage collector looks at them."""
_MOST_NUMBERS = 5
_OF_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_log = logging.getLogger("crystallize.store")


class JournalReader:
    """Reads a journal, also while another process writes it: each line once.

    Parameters
    ----------
    file : pathlib.Path
        The journal.
    may_unpickle : bool, default False
        Whether values that JSON has no form for are made again by unpickling, which runs the code that they name. If
        not, they are their ``repr``.

    Attributes
    ----------
    sessions : list of Session
        Those that have been read.
    size : int
        How many bytes have been read: all complete lines.
    line : int
        The number of the line that was read last, counted from 1.
    trace_count : int
        How many numbers of traces are taken.
    damaged : list of int
        The lines, counted from 1, that were left out since they are damaged, or no lines of this run.
    """

    def __init__(self, file: Path, *, may_unpickle: bool = False) -> None:
        self.file = file
        self.sessions: list[Session] = []
        self.size = 0
        self.trace_count = 0
        self.damaged: list[int] = []
        self._may_unpickle = may_unpickle
        self._seed = 0
        self._traces: dict[int, Trace] = {}
        self.line = 0

    def read(self) -> Iterator[Entry | Session]:
        """Yield what has been written since the last call, in the order of writing.

        An outcome that was tried again comes again.

        Raises
        ------
        FileNotFoundError
            If there is no journal.
        StoreError
            If it cannot be read, is no journal, or one of a later version of Crystallize.
        """
        with _opened(self.file) as stream:
            while block := _whole_lines(stream, self.size):
                lines = io.BytesIO(block).readlines()
                if not self.sessions:
                    del lines[1:]  # the first one tells what their sums start from
                for line, fields in zip(lines, without_sums(lines, self._seed), strict=True):
                    self.size += len(line)
                    self.line += 1
                    found = self._read_line(line, fields)
                    if found is not None:
                        yield found

    def find_sessions(self) -> list[tuple[int, Session]]:
        """Return all sessions that there are by now, each with the place where its line ends; that reads nothing."""
        ahead = JournalReader(self.file)
        found: list[tuple[int, Session]] = []
        place = 0
        with _opened(self.file) as stream:
            while block := _whole_lines(stream, place):
                end, place = place, place + len(block)
                for line in io.BytesIO(block) if _SESSION in block else ():
                    end += len(line)
                    if not line.startswith(_SESSION, HEAD_LENGTH):
                        continue
                    (fields,) = without_sums([line], ahead._seed)
                    with contextlib.suppress(StoreError):
                        session = ahead._read_line(line, fields)
                        if isinstance(session, Session):
                            found.append((end, session))
        return found

    def warn_of_damage(self) -> None:
        """Log which lines were left out, if any were."""
        if not self.damaged:
            return
        numbers = ", ".join(map(str, self.damaged[:_MOST_NUMBERS]))
        if (more := len(self.damaged) - _MOST_NUMBERS) > 0:
            numbers = f"{numbers} and {more} more"
        told = f"lines {numbers} are damaged, and count as not written"
        if len(self.damaged) == 1:
            told = f"line {numbers} is damaged, and counts as not written"
        _log.warning("%s: %s", self.file, told)

    def _read_first(self, fields: dict[str, Any] | None) -> Session:
        try:
            if fields is None:
                raise ValueError("its sum is not that of its content")
            version, session = fields["journal"], session_from(fields)
            is_later, self._seed = version > VERSION, seed_of(session.run)
        except _OF_DAMAGE as error:
            raise StoreError(
                "the file is no journal of a run", f"{self.file}:1", "Run the experiment again"
            ) from error
        if is_later:
            raise StoreError(
                f"the journal has the format {version}, and this version of Crystallize knows those up to {VERSION}",
                str(self.file),
                "Update Crystallize",
            )
        self.sessions.append(session)
        return session

    def _read_line(self, line: bytes, fields: dict[str, Any] | None) -> Entry | Session | None:
        """Return what a line holds; None if it is damaged, or holds what later lines refer to."""
        if not self.sessions:
            return self._read_first(fields)
        if fields is not None:
            try:
                if "replicate" in fields:
                    trace = self._traces.get(fields["trace"], ())  # the line that tells it may be damaged
                    return entry_from(fields, trace, exact_json.MARK in line, self._may_unpickle)
                return self._read_other(fields)
            except _OF_DAMAGE:
                pass
            except UnpicklingError as error:
                raise StoreError(
                    f"a stored value cannot be made again: {error}",
                    f"{self.file}:{self.line}",
                    "Install what it needs, or run the experiment again without resume",
                ) from error
        self.damaged.append(self.line)
        return None

    def _read_other(self, fields: dict[str, Any]) -> Session | None:
        if "session" in fields:
            self.sessions.append(session_from(fields))
            return self.sessions[-1]
        number = fields["trace"]
        self._traces[number] = trace_from(fields)
        self.trace_count = max(self.trace_count, number + 1)
        return None


def _whole_lines(stream: IO[bytes], start: int) -> bytes:
    """Return some lines from a place on, of about `_BLOCK` bytes.

    The last one that there is by now may be still being written, or a crash has cut it off: it comes when it is whole.
    """
    stream.seek(start)
    block = stream.read(_BLOCK)
    while not (end := block.rfind(b"\n") + 1):
        more = stream.read(len(block))
        if not more:
            return b""
        block += more
    return block[:end]


def has_begun(file: Path) -> bool:
    """Tell whether there is a journal with something in it.

    There is not if its writer was killed before the first line was whole.

    Raises
    ------
    StoreError
        If it cannot be read.
    """
    try:
        with _opened(file) as stream:
            first = stream.readline()
    except FileNotFoundError:
        return False
    return first.endswith(b"\n") or not (first.startswith(START) or START.startswith(first))


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """Open a journal, and close it.

    Raises
    ------
    FileNotFoundError
        If there is none.
    StoreError
        If it cannot be read.
    """
    try:
        with os.fdopen(open_plain(file, follow_links=False), "rb") as stream:
            yield stream
    except (FileNotFoundError, StoreError):
        raise
    except OSError as error:
        raise StoreError(
            f"the journal of a run cannot be read: {error.strerror or error}",
            str(file),
            "Look at the file, or run the experiment again without resume",
        ) from error


class StoredOutcomes:
    """The outcomes of a journal that still count, replicate by replicate.

    Of those that were tried again, the last one counts; those that a later session declared void do not, nor those of
    conditions that the run no longer has.

    Parameters
    ----------
    reader : JournalReader
        One that has read nothing yet.
    conditions : sequence of str, optional
        The conditions wanted; those of the last session, if not given.
    extent : Extent, optional
        What counts where a rule has ended the run; all, if not given.

    Attributes
    ----------
    sessions : list of Session
        All sessions, in order.

    Raises
    ------
    StoreError
        If the file is no journal, or one of a later version of Crystallize.
    """

    def __init__(
        self, reader: JournalReader, conditions: Sequence[str] | None = None, extent: Extent | None = None
    ) -> None:
        self._reader = reader
        self._extent = extent or Extent()
        found = reader.find_sessions()
        if not found:
            next(reader.read(), None)  # says what is wrong with it
            raise StoreError(
                "the journal of a run is empty", str(reader.file), "Run the experiment again, without resume"
            )
        self.sessions = [session for _, session in found]
        self._again = [(place, again) for place, session in found for again in session.again]
        self._last_session = found[-1][0]
        self._given: set[int] = set()
        self._conditions = self.sessions[-1].conditions if conditions is None else conditions

    def check_run(self, token: str | None) -> None:
        """Raise StoreError if no session is of the run with this token; a run of another tool has none."""
        if token is not None and all(session.run != token for session in self.sessions):
            raise self.foreign()

    def foreign(self) -> StoreError:
        """Return the error that says that the journal is that of another run."""
        return StoreError(
            f"the journal is that of another run, of experiment {self.sessions[-1].experiment!r}",
            str(self._reader.file),
            f"Put the one back that belongs to {self._reader.file.with_name(METADATA)}, or run without resume",
        )

    def __iter__(self) -> Iterator[tuple[int, Sequence[Outcome]]]:
        """Yield each replicate with its outcomes, in the order of the conditions; some may be missing.

        Replicates come in the order of writing, but for those that several sessions had a part in: they come last.
        """
        conditions, reader = self._conditions, self._reader
        is_out = None if self._extent == Extent() and not self._again else self._is_out
        held: dict[int, dict[str, Outcome]] = {}
        current, place = -1, 0
        group: dict[str, Outcome] = {}
        for entry in reader.read():
            if isinstance(entry, Session):
                continue
            replicate, outcome = entry
            if replicate != current:
                if group and (ready := self._complete(held, current, group, place)):
                    yield current, ready
                current, group = replicate, {}
            place = reader.size
            if outcome.error is not None and outcome.artifacts and place < self._last_session:
                outcome = outcome._replace(artifacts=())  # that session has removed them, to run it again
            condition = outcome.condition
            if condition in conditions and (is_out is None or not is_out(replicate, condition)):
                group[condition] = outcome
        if group and (ready := self._complete(held, current, group, place)):
            yield current, ready
        for replicate in sorted(held):
            outcomes = held[replicate]
            yield replicate, [outcomes[name] for name in conditions if name in outcomes]

    def _complete(
        self, held: dict[int, dict[str, Outcome]], replicate: int, group: dict[str, Outcome], place: int
    ) -> Sequence[Outcome]:
        """Return the outcomes of a replicate if no others can come of it; else hold them back."""
        conditions = self._conditions
        needed = self._extent.count_owed(replicate, conditions)
        if replicate in self._given:  # the lines stand there twice
            return ()
        is_final = place > self._last_session or not any(each.error for each in group.values())
        if replicate not in held and len(group) == needed and is_final:
            self._given.add(replicate)
            return [group[name] for name in conditions if name in group]
        held.setdefault(replicate, {}).update(group)
        return ()

    def _is_out(self, replicate: int, condition: str) -> bool:
        """Tell whether what was read last does not count: a rule has left it out, or it is declared void."""
        place = self._reader.size
        return not self._extent.includes(replicate, condition) or any(
            place < declared
            and again.condition == condition
            and (again.replicates is None or replicate in again.replicates)
            for declared, again in self._again
        )
