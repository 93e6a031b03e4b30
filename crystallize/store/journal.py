"""A run's journal.jsonl: every outcome, a line each, as it arrives.

::

    {"sum": "...", "session": 0, "run": "5f0c2b7d9e1a4c38", "experiment": "centre", "replicates": 20, ...}
    {"sum": "...", "trace": 0, "stages": [[0, [["lr", 0.1]], [], [["loss", 1]]]]}
    {"sum": "...", "replicate": 0, "condition": "baseline", "seed": 7, "metrics": {"loss": [0.5]}, "trace": 0, ...}

One process writes it and only ever appends. ``sum`` is a hash of the rest of the line that begins with the token of the
run that began the journal, so that a line of another run is not taken for one of this. A crash can cut off the last
line and nothing else; a damaged line costs its own outcome and no other, and one with a trace costs none. A session is
one stretch of the run: from its start, or from where it was resumed, until it ended. Most outcomes leave the same
trace, which is written once, before the first of them.

Here is what a line is; :mod:`crystallize.store.journal_writer` writes them, and :mod:`crystallize.store.journal_reader`
reads them.
"""

from __future__ import annotations

from math import isfinite
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import xxhash

from crystallize.store.manifest import stored_entry
from crystallize.store.outcome import CacheNote, Outcome, OutcomeError
from crystallize.utils import exact_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.utils.stage import Trace

VERSION = 1
START = b'{"sum":"'
"""How each line starts."""
HEAD_LENGTH = len('{"sum":"0123456789abcdef",')
"""Bytes of the sum at the start of a line."""

_FIELDS = 10  # of an outcome that has nothing but metrics, with the sum
_common_fields = itemgetter("replicate", "condition", "seed", "metrics", "started", "seconds", "attempt")
_sum_of = itemgetter("sum")
_new = tuple.__new__


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


# -- lines ---------------------------------------------------------------------------------------------------


def session_line(session: Session, number: int) -> bytes:
    """Return the line of a session, without its sum; `number` is its place among the sessions."""
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


def outcome_line(replicate: int, outcome: Outcome, trace: int, attempt: int) -> bytes:
    """Return the line of an outcome, without its sum; `trace` is the number of its trace's line."""
    condition, seed, metrics, tags, artifacts, _, error, handed_back, started, seconds, _, consumed, cache = (
        outcome
    )
    fields: dict[str, Any] = {
        "replicate": replicate,
        "condition": condition,
        "attempt": attempt,
        "status": "ok" if error is None else error.status,
        "seed": seed if exact_json.is_plain(seed) else exact_json.pack(seed),
        "metrics": metrics if _is_plain(metrics) else exact_json.pack(metrics),
        "trace": trace,
        "started": started,
        "seconds": seconds,
    }
    if consumed is not None:
        fields["consumed"] = consumed
    if tags:
        fields["tags"] = exact_json.pack(tags)
    if artifacts:
        fields["artifacts"] = [
            [entry.name, entry.step, entry.path, entry.size, entry.digest] for entry in artifacts
        ]
    if error is not None:
        fields["error"] = [error.step, error.kind, error.message, error.traceback]
    if handed_back:
        fields["handed_back"] = exact_json.pack(handed_back)
    if cache:
        fields["cache"] = [tuple(note) for note in cache]
    return exact_json.dump(fields)


def _is_plain(metrics: dict[str, list[Any]]) -> bool:
    """Tell whether :func:`exact_json.pack` would return an equal mapping, which it would find out more slowly."""
    for values in metrics.values():
        for value in values:
            if not (isfinite(value) if type(value) is float else exact_json.is_plain(value)):
                return False
    return exact_json.KIND not in metrics


def trace_line(number: int, trace: Trace) -> bytes:
    """Return the line of a trace, which outcomes refer to by its number."""
    return exact_json.dump({"trace": number, "stages": exact_json.pack(_as_lists(trace))})


def _as_lists(value: Any) -> Any:
    return list(map(_as_lists, value)) if isinstance(value, tuple | list) else value


# -- and back ------------------------------------------------------------------------------------------------


def session_from(fields: dict[str, Any]) -> Session:
    """Return the session that a line tells of."""
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


def trace_from(fields: dict[str, Any]) -> Trace:
    """Return the trace that a line tells of."""
    return tuple(_as_tuples(exact_json.unpack(fields["stages"])))


def entry_from(fields: dict[str, Any], trace: Trace, is_packed: bool, may_unpickle: bool) -> Entry:
    """Return the outcome that a line tells of.

    Parameters
    ----------
    fields : dict
        The line.
    trace : Trace
        The one that it refers to.
    is_packed : bool
        Whether it has values that JSON has no form for.
    may_unpickle : bool
        Whether these may be made by unpickling.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the line is none of ours.
    """
    replicate, condition, seed, metrics, started, seconds, attempt = _common_fields(fields)
    if is_packed:
        metrics = exact_json.unpack(metrics, may_unpickle=may_unpickle)
        seed = exact_json.unpack(seed, may_unpickle=may_unpickle)
    # Not Outcome(...), which takes three times as long: there is one of these for each line.
    outcome = _new(
        Outcome, (condition, seed, metrics, {}, (), trace, None, (), started, seconds, attempt, None, ())
    )
    if len(fields) > _FIELDS:
        outcome = _with_rare_fields(outcome, replicate, fields, may_unpickle)
    return _new(Entry, (replicate, outcome))


def _with_rare_fields(
    outcome: Outcome, replicate: int, fields: dict[str, Any], may_unpickle: bool
) -> Outcome:
    error = fields.get("error")
    return outcome._replace(
        tags=exact_json.unpack(fields.get("tags", {}), may_unpickle=may_unpickle),
        artifacts=[
            stored_entry(name, path, size, digest) for name, _, path, size, digest in fields["artifacts"]
        ]
        if "artifacts" in fields
        else (),
        error=None if error is None else OutcomeError(replicate, outcome.condition, *error),
        handed_back=exact_json.unpack(fields.get("handed_back", ())),
        consumed=tuple(fields["consumed"]) if "consumed" in fields else None,
        cache=tuple(CacheNote(*note) for note in fields.get("cache", ())),
    )


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


# -- the sum at the start of a line --------------------------------------------------------------------------


def seed_of(run: str) -> int:
    """Return what the sums of a journal start from: it tells the lines of one run from those of others."""
    return xxhash.xxh3_64_intdigest(run.encode())


def with_sum(line: bytes, seed: int) -> bytes:
    """Return a line as it stands in the file."""
    rest = line[1:] + b"\n"
    return b"".join((START, xxhash.xxh3_64_hexdigest(rest, seed).encode(), b'",', rest))


def without_sums(lines: Sequence[bytes], seed: int) -> list[dict[str, Any] | None]:
    """Return the object of each line; None where its sum is not right, or not there."""
    is_one = len(lines) == 1
    try:
        # Together they take less time. If a single one is damaged, or not for this parser, each is read by itself.
        objects = [exact_json.load(lines[0])] if is_one else orjson.loads(b"[%b]" % b",".join(lines))
        if list(map(_sum_of, objects)) == [
            xxhash.xxh3_64_hexdigest(line[HEAD_LENGTH:], seed) for line in lines
        ]:
            return list(objects)
    except (ValueError, KeyError, TypeError):
        pass
    return [None] if is_one else [each for line in lines for each in without_sums([line], seed)]
