"""Writing a run's journal; see :mod:`crystallize.store.journal`."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING

from crystallize.store.journal import outcome_line, seed_of, session_line, trace_line, with_sum
from crystallize.utils.stage import trace_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crystallize.store.journal import Session
    from crystallize.store.journal_reader import JournalReader
    from crystallize.store.outcome import ReplicateResult
    from crystallize.utils.stage import Trace

FLUSH_SECONDS = 0.1
"""Outcomes wait at most this long for others to be written together with them."""
TOGETHER = 32
"""So many replicates are made lines at once: one by one it takes twice as long, among all that the steps do."""

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_seconds_of = attrgetter("seconds")


class JournalWriter:
    """Appends the outcomes of a run to its journal; from one process, in any thread.

    Parameters
    ----------
    file : pathlib.Path
        The journal.
    session : Session
        What begins now.
    read : JournalReader, optional
        Who has read the journal that is to be continued. A last line that a crash has cut off is removed.
    fsync : bool, default False
        Whether each write waits until the disk has it, so that it survives the loss of power.
    attempts : mapping, optional
        How often an outcome was tried in earlier sessions, by replicate and condition.

    Raises
    ------
    OSError
        If the file cannot be opened or written.
    """

    def __init__(
        self,
        file: Path,
        session: Session,
        *,
        read: JournalReader | None = None,
        fsync: bool = False,
        attempts: Mapping[tuple[int, str], int] | None = None,
    ) -> None:
        self._seed = seed_of(session.run if read is None else read.sessions[0].run)
        self._fsync = fsync
        self._attempts = attempts or {}
        # Few wait as results: what these hold is not kept for a tenth of a second.
        self._results: deque[ReplicateResult] = deque()
        self._lines: list[bytes] = []
        self._encoding = threading.Lock()
        self._traces: dict[bytes, int] = {}
        self._last_traces: dict[str, tuple[Trace, int]] = {}  # by condition, each with its number
        self._first_trace = 0 if read is None else read.trace_count
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self._descriptor = os.open(file, _FLAGS, 0o666)
        self._size = 0 if read is None else read.size
        try:
            os.ftruncate(self._descriptor, self._size)
            number = 0 if read is None else len(read.sessions)
            self._append(with_sum(session_line(session, number), self._seed if number else 0))
        except BaseException:
            os.close(self._descriptor)
            raise

    def add(self, result: ReplicateResult) -> None:
        """Take the outcomes of a replicate, but for those that are there already; one call at a time.

        They are on disk a tenth of a second later, or now if the replicate took longer than that.

        Raises
        ------
        OSError
            If they, or those before, cannot be written. What was written stays whole.
        """
        self._results.append(result)
        count = len(self._results)
        if count >= TOGETHER:
            self._encode()
        if sum(map(_seconds_of, result.outcomes)) >= FLUSH_SECONDS:
            self.flush()
        elif self._failure is not None:
            raise self._failure
        elif count == 1:  # who waits before it has reminded of itself
            _flusher.remind(self)

    def flush(self) -> None:
        """Write what is waiting.

        Raises
        ------
        OSError
            As in :meth:`add`.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            try:
                self._encode()
                lines = list(self._lines)  # which may grow meanwhile
                self._append(b"".join(lines))
                del self._lines[: len(lines)]
            except Exception as error:  # after a Ctrl-C, closing writes what waits
                self._failure = error
                raise

    def close(self) -> None:
        """Write what is waiting and close the file; nothing happens the second time.

        Raises
        ------
        OSError
            As in :meth:`add`.
        """
        try:
            if self._descriptor >= 0:
                self.flush()
        finally:
            with self._lock:
                descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def _append(self, lines: bytes) -> None:
        """Write all of `lines`, or nothing."""
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            if self._fsync:
                os.fsync(self._descriptor)
            self._size += len(lines)
        except BaseException:  # Ctrl-C, too
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise

    def _encode(self) -> None:
        """Make lines of the results: where Ctrl-C comes between, a line may stand there twice, but none is lost."""
        with self._encoding:
            while self._results:
                self._lines.append(b"".join(self._lines_of(self._results[0])))
                self._results.popleft()

    def _lines_of(self, result: ReplicateResult) -> list[bytes]:
        lines: list[bytes] = []
        for outcome in result.outcomes:
            if outcome.condition in result.reused:
                continue
            last = self._last_traces.get(outcome.condition)
            if last is None or outcome.trace is not last[0]:
                last = outcome.trace, self._number_of_trace(outcome.trace)
                self._last_traces[outcome.condition] = last
            before = self._attempts.get((result.replicate, outcome.condition), 0) if self._attempts else 0
            line = outcome_line(result.replicate, outcome, last[1], before + outcome.attempt)
            lines.append(with_sum(line, self._seed))
        return lines

    def _number_of_trace(self, trace: Trace) -> int:
        """Return the number of a trace, whose line comes first if it is new."""
        key = trace_key(trace)
        number = self._traces.get(key)
        if number is None:
            number = self._first_trace + len(self._traces)
            self._lines.append(with_sum(trace_line(number, trace), self._seed))
            self._traces[key] = number
        return number


# -- writing soon: one thread for all journals of the process ------------------------------------------------


class _Flusher:
    """Writes what waits in the journals of this process, a tenth of a second after it came."""

    def __init__(self) -> None:
        self._waiting: set[JournalWriter] = set()
        self._something_waits = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def remind(self, journal: JournalWriter) -> None:
        """Have the journal written soon."""
        self._waiting.add(journal)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._work, name="crystallize-journal", daemon=True
                    )
                    self._thread.start()
        if not self._something_waits.is_set():
            self._something_waits.set()

    def _work(self) -> None:
        pause = threading.Event()
        while self._something_waits.wait():
            pause.wait(FLUSH_SECONDS)
            self._something_waits.clear()
            while self._waiting:
                with contextlib.suppress(BaseException):  # it is raised again where the next result is added
                    self._waiting.pop().flush()


_flusher = _Flusher()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_flusher.__init__)  # type: ignore[misc]  # threads stay behind in the parent
