"""A run's journal.jsonl: every outcome, a line each, as it arrives.

::

    {"sum": "...", "session": 0, "run": "5f0c2b7d9e1a4c38", "experiment": "centre", "replicates": 20, ...}
    {"sum": "...", "trace": 0, "stages": [[0, [["lr", 0.1]], [], [["loss", 1]]]]}
    {"sum": "...", "replicate": 0, "condition": "baseline", "seed": 7, "metrics": {"loss": [0.5]}, "trace": 0, ...}

One process writes it and only ever appends. ``sum`` is a hash of the rest of the line that begins with the token of the
run that began the journal, so that a line of another run is not taken for one of this. A crash can cut off the last
line and nothing else; a damaged line costs its own outcome and no other. A session is one stretch of the run: from its
start, or from where it was resumed, until it ended. Most outcomes leave the same trace, which is written once, before
the first of them.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

from crystallize.errors import StoreError
from crystallize.store.manifest import stored_entry
from crystallize.store.outcome import Outcome, OutcomeError
from crystallize.utils import exact_json
from crystallize.utils.files import open_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from crystallize.store.outcome import ReplicateResult
    from crystallize.utils.stage import Trace

VERSION = 1
FLUSH_SECONDS = 0.1
"""Outcomes wait at most this long for others to be written together with them."""

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_START = b'{"sum":"'
_HEAD_LENGTH = len('{"sum":"0123456789abcdef",')
_SESSION = b'"session":'
_FIELDS = 10  # of an outcome that has nothing but metrics, with the sum
_MARSHAL_BY_VALUE = 2  # the last format without references, which depend on more than the value


class Again(NamedTuple):
    """Outcomes of earlier sessions that no longer count, so that they are run again.

    Attributes
    ----------
    condition : str
        Their condition.
    replicates : tuple of int or None
        Their replicates; None if it is all.
    reason : str
        Why.
    """

    condition: str
    replicates: tuple[int, ...] | None
    reason: str


class Session(NamedTuple):
    """One stretch of a run, as it began.

    Attributes
    ----------
    run : str
        The run's token.
    experiment : str
        The experiment's name, or its id.
    replicates : int or None
        How many replicates there were to be; None if that was left open.
    conditions : tuple of str
        The conditions, the baseline first.
    steps : tuple of (str, dict)
        Name and parameters of each step of the pipeline.
    started : str
        When.
    again : tuple of Again
        What of earlier sessions does not count any more.
    """

    run: str
    experiment: str
    replicates: int | None
    conditions: tuple[str, ...]
    steps: tuple[tuple[str, dict[str, Any]], ...]
    started: str
    again: tuple[Again, ...] = ()


class Entry(NamedTuple):
    """One outcome of a journal, and its replicate."""

    replicate: int
    outcome: Outcome


# -- writing -------------------------------------------------------------------------------------------------


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
        self._seed = _seed_of(session.run if read is None else read.sessions[0].run)
        self._fsync = fsync
        self._attempts = attempts or {}
        self._waiting: list[ReplicateResult] = []
        self._traces: dict[bytes, int] = {}
        self._first_trace = 0 if read is None else read.trace_count
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._descriptor = os.open(file, _FLAGS, 0o666)
        self._size = 0 if read is None else read.size
        try:
            os.ftruncate(self._descriptor, self._size)
            number = 0 if read is None else len(read.sessions)
            self._append(_with_sum(_session_line(session, number), self._seed if number else 0))
        except BaseException:
            os.close(self._descriptor)
            raise

    def add(self, result: ReplicateResult) -> None:
        """Take the outcomes of a replicate, but for those that are there already.

        They are on disk a tenth of a second later, or now if the replicate took longer than that.

        Raises
        ------
        OSError
            If they, or those before, cannot be written. What was written stays whole.
        """
        self._waiting.append(result)
        if sum(outcome.seconds for outcome in result.outcomes) >= FLUSH_SECONDS:
            self.flush()
        elif self._failure is None:
            _flusher.remind(self)
        else:
            raise self._failure

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
            waiting, self._waiting = self._waiting, []
            try:
                self._append(b"".join([line for result in waiting for line in self._lines(result)]))
            except BaseException as error:
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
            if self._descriptor >= 0 and self._failure is None:
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
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(lines)

    def _lines(self, result: ReplicateResult) -> Iterator[bytes]:
        for outcome in result.outcomes:
            if outcome.condition in result.reused:
                continue
            key = marshal.dumps(outcome.trace, _MARSHAL_BY_VALUE)
            trace = self._traces.get(key)
            if trace is None:
                trace = self._traces[key] = self._first_trace + len(self._traces)
                stages = exact_json.pack(_as_lists(outcome.trace))
                yield _with_sum(exact_json.dump({"trace": trace, "stages": stages}), self._seed)
            before = self._attempts.get((result.replicate, outcome.condition), 0) if self._attempts else 0
            line = _outcome_line(result.replicate, outcome, trace, before + outcome.attempt)
            yield _with_sum(line, self._seed)


def _session_line(session: Session, number: int) -> bytes:
    return exact_json.dump(
        {
            "session": number,
            "journal": VERSION,
            "run": session.run,
            "experiment": session.experiment,
            "replicates": session.replicates,
            "conditions": session.conditions,
            "steps": [[name, exact_json.pack(params)] for name, params in session.steps],
            "started": session.started,
            "again": list(map(list, session.again)),
        }
    )


def _outcome_line(replicate: int, outcome: Outcome, trace: int, attempt: int) -> bytes:
    fields: dict[str, Any] = {
        "replicate": replicate,
        "condition": outcome.condition,
        "attempt": attempt,
        "status": outcome.status,
        "seed": outcome.seed if exact_json.is_plain(outcome.seed) else exact_json.pack(outcome.seed),
        "metrics": outcome.metrics if _is_plain(outcome.metrics) else exact_json.pack(outcome.metrics),
        "trace": trace,
        "started": outcome.started,
        "seconds": outcome.seconds,
    }
    if outcome.consumed is not None:
        fields["consumed"] = outcome.consumed
    if outcome.tags:
        fields["tags"] = exact_json.pack(outcome.tags)
    if outcome.artifacts:
        fields["artifacts"] = [
            [entry.name, entry.step, entry.path, entry.size, entry.digest] for entry in outcome.artifacts
        ]
    if outcome.error is not None:
        error = outcome.error
        fields["error"] = [error.step, error.kind, error.message, error.traceback]
    if outcome.handed_back:
        fields["handed_back"] = exact_json.pack(outcome.handed_back)
    return exact_json.dump(fields)


def _is_plain(metrics: dict[str, list[Any]]) -> bool:
    """Tell whether JSON has a form for all values, which :func:`exact_json.pack` would find out more slowly."""
    return all(exact_json.is_plain(value) for values in metrics.values() for value in values)


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


# -- the sum at the start of a line --------------------------------------------------------------------------


def _seed_of(run: str) -> int:
    return xxhash.xxh3_64_intdigest(run.encode())


def _with_sum(line: bytes, seed: int) -> bytes:
    rest = line[1:] + b"\n"
    return _head(rest, seed) + rest


def _without_sum(line: bytes, seed: int) -> Any:
    """Return the object of a line; ValueError if its sum is not right."""
    if line[:_HEAD_LENGTH] != _head(line[_HEAD_LENGTH:], seed):
        raise ValueError("its sum is not that of its content")
    return exact_json.load(line)


def _head(rest: bytes, seed: int) -> bytes:
    return b'{"sum":"%s",' % xxhash.xxh3_64_hexdigest(rest, seed).encode()


# -- reading -------------------------------------------------------------------------------------------------


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
        self._lines_read = 0

    def read(self) -> Iterator[Entry | Session]:
        """Yield what has been written since the last call, in the order of writing.

        An outcome that was tried again comes again.

        Raises
        ------
        OSError
            If there is no journal, or no plain file in its place.
        StoreError
            If the file is no journal, or one of a later version of Crystallize.
        """
        for line in self._complete_lines():
            self._lines_read += 1
            if not self.sessions:
                yield self._read_first(line)
                continue
            try:
                found = self._read_line(line)
            except (ValueError, KeyError, TypeError, AttributeError):
                self.damaged.append(self._lines_read)
            else:
                if found is not None:
                    yield found

    def _complete_lines(self) -> Iterator[bytes]:
        with os.fdopen(open_plain(self.file, follow_links=False), "rb") as stream:
            stream.seek(self.size)
            for line in stream:
                if not line.endswith(b"\n"):
                    return  # it is being written, or a crash has cut it off
                self.size += len(line)
                yield line

    def sessions_ahead(self) -> list[tuple[int, Session]]:
        """Return the sessions that have not been read yet, each with its line's number; nothing is read by it."""
        ahead = JournalReader(self.file)
        ahead.sessions, ahead._seed = list(self.sessions), self._seed
        ahead.size = self.size
        found: list[tuple[int, Session]] = []
        for number, line in enumerate(ahead._complete_lines(), self._lines_read + 1):
            if not line.startswith(_SESSION, _HEAD_LENGTH):
                continue
            with contextlib.suppress(ValueError, KeyError, TypeError, StoreError):
                session = ahead._read_line(line) if ahead.sessions else ahead._read_first(line)
                if isinstance(session, Session):
                    found.append((number, session))
        return found

    @property
    def line(self) -> int:
        """The number of the line that was read last, counted from 1."""
        return self._lines_read

    def _read_first(self, line: bytes) -> Session:
        try:
            fields = _without_sum(line, 0)
            version, session = fields["journal"], _session(fields)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                "the file is no journal of a run", f"{self.file}:1", "Run the experiment again"
            ) from error
        if version > VERSION:
            raise StoreError(
                f"the journal has the format {version}, and this version of Crystallize knows those up to {VERSION}",
                str(self.file),
                "Update Crystallize",
            )
        self._seed = _seed_of(session.run)
        self.sessions.append(session)
        return session

    def _read_line(self, line: bytes) -> Entry | Session | None:
        fields = _without_sum(line, self._seed)
        if "replicate" not in fields:
            return self._read_other(fields)
        replicate, condition = fields["replicate"], fields["condition"]
        seed, metrics = fields["seed"], fields["metrics"]
        if exact_json.MARK in line:
            metrics = exact_json.unpack(metrics, may_unpickle=self._may_unpickle)
            seed = exact_json.unpack(seed, may_unpickle=self._may_unpickle)
        outcome = Outcome(
            condition,
            seed,
            metrics,
            {},
            (),
            self._traces[fields["trace"]],
            None,
            (),
            fields["started"],
            fields["seconds"],
        )
        if len(fields) > _FIELDS or fields["attempt"]:
            outcome = self._with_rare_fields(outcome, replicate, fields)
        return Entry(replicate, outcome)

    def _read_other(self, fields: dict[str, Any]) -> Session | None:
        if "session" in fields:
            self.sessions.append(_session(fields))
            return self.sessions[-1]
        number = fields["trace"]
        self._traces[number] = tuple(_as_tuples(exact_json.unpack(fields["stages"])))
        self.trace_count = max(self.trace_count, number + 1)
        return None

    def _with_rare_fields(self, outcome: Outcome, replicate: int, fields: dict[str, Any]) -> Outcome:
        error = fields.get("error")
        return outcome._replace(
            attempt=fields["attempt"],
            tags=exact_json.unpack(fields.get("tags", {}), may_unpickle=self._may_unpickle),
            artifacts=[
                stored_entry(name, path, size, digest) for name, _, path, size, digest in fields["artifacts"]
            ]
            if "artifacts" in fields
            else (),
            error=None if error is None else OutcomeError(replicate, outcome.condition, *error),
            handed_back=exact_json.unpack(fields.get("handed_back", ())),
            consumed=tuple(fields["consumed"]) if "consumed" in fields else None,
        )


def has_begun(file: Path) -> bool:
    """Tell whether there is a journal with something in it.

    There is not if its writer was killed before the first line was whole.

    Raises
    ------
    OSError
        If there is something else than a plain file.
    """
    try:
        with os.fdopen(open_plain(file, follow_links=False), "rb") as stream:
            first = stream.readline()
    except FileNotFoundError:
        return False
    return first.endswith(b"\n") or not (first.startswith(_START) or _START.startswith(first))


def has_begun(file: Path) -> bool:
    """Tell whether there is a journal with something in it.

    There is not if its writer was killed before the first line was whole.

    Raises
    ------
    OSError
        If there is something else than a plain file.
    """
    try:
        with os.fdopen(open_plain(file, follow_links=False), "rb") as stream:
            first = stream.readline()
    except FileNotFoundError:
        return False
    return first.endswith(b"\n") or not (first.startswith(_START) or _START.startswith(first))


def _session(fields: dict[str, Any]) -> Session:
    return Session(
        run=fields["run"],
        experiment=fields["experiment"],
        replicates=fields["replicates"],
        conditions=tuple(fields["conditions"]),
        steps=tuple((name, exact_json.unpack(params)) for name, params in fields["steps"]),
        started=fields["started"],
        again=tuple(
            Again(condition, None if numbers is None else tuple(numbers), reason)
            for condition, numbers, reason in fields["again"]
        ),
    )


def _as_lists(value: Any) -> Any:
    return list(map(_as_lists, value)) if isinstance(value, tuple | list) else value


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


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

    Attributes
    ----------
    sessions : list of Session
        All sessions, in order.

    Raises
    ------
    StoreError
        If the file is no journal, or one of a later version of Crystallize.
    """

    def __init__(self, reader: JournalReader, conditions: Sequence[str] | None = None) -> None:
        self._reader = reader
        found = reader.sessions_ahead()
        if not found:
            next(reader.read(), None)  # says what is wrong with it
            raise StoreError(
                "the journal of a run is empty", str(reader.file), "Run the experiment again, without resume"
            )
        self.sessions = [session for _, session in found]
        self._again = [(line, again) for line, session in found for again in session.again]
        self._last_session = found[-1][0]
        self._given: set[int] = set()
        self._conditions = self.sessions[-1].conditions if conditions is None else conditions

    def __iter__(self) -> Iterator[tuple[int, Sequence[Outcome]]]:
        """Yield each replicate with its outcomes, in the order of the conditions; some may be missing.

        Replicates come in the order of writing, but for those that several sessions had a part in: they come last.
        """
        conditions = self._conditions
        held: dict[int, dict[str, Outcome]] = {}
        current, line = -1, 0
        group: dict[str, Outcome] = {}
        for entry in self._reader.read():
            if isinstance(entry, Session):
                continue
            replicate, outcome = entry
            if replicate != current:
                if group and (ready := self._complete(held, current, group, line)):
                    yield current, ready
                current, group = replicate, {}
            line = self._reader.line
            if outcome.condition in conditions and not (self._again and self._is_void(entry)):
                group[outcome.condition] = outcome
        if group and (ready := self._complete(held, current, group, line)):
            yield current, ready
        for replicate in sorted(held):
            outcomes = held[replicate]
            yield replicate, [outcomes[name] for name in conditions if name in outcomes]

    def _complete(
        self, held: dict[int, dict[str, Outcome]], replicate: int, group: dict[str, Outcome], line: int
    ) -> Sequence[Outcome]:
        """Return the outcomes of a replicate if no others can come of it; else hold them back."""
        conditions = self._conditions
        if replicate in self._given:  # the lines stand there twice
            return ()
        is_final = line > self._last_session or not any(each.error for each in group.values())
        if replicate not in held and len(group) == len(conditions) and is_final:
            self._given.add(replicate)
            return [group[name] for name in conditions]
        held.setdefault(replicate, {}).update(group)
        return ()

    def _is_void(self, entry: Entry) -> bool:
        line = self._reader.line
        return any(
            line < declared
            and again.condition == entry.outcome.condition
            and (again.replicates is None or entry.replicate in again.replicates)
            for declared, again in self._again
        )
