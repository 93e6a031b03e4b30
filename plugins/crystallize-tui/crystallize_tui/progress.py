"""How far a run has come, as its journal tells: counted outcome by outcome, in memory that does not grow with them."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from crystallize.statistics.stopping.running import RunningMoments
from crystallize.store.journal import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.store.journal import Entry
    from crystallize.store.outcome import Outcome, OutcomeError

CONFIDENCE = 0.95
"""Level of the intervals of running means."""
MOST_FAILURES = 200
"""So many failed outcomes are kept to be shown; all of them are counted."""
_MOST_POINTS = 240
_OWED, _DONE, _FAILED = range(3)


class Series:
    """The course of a metric in a bounded number of points, each the mean of equally many values.

    Attributes
    ----------
    points : list of float
        The means, in the order of arrival.
    """

    def __init__(self) -> None:
        self.points: list[float] = []
        self._per_point = 1
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        """Add a value; when the points are too many, each two become one."""
        self._sum += value
        self._count += 1
        if self._count < self._per_point:
            return
        self.points.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        if len(self.points) == _MOST_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [(first + second) / 2 for first, second in pairs]
            self._per_point *= 2


class RunningMean:
    """Mean and spread of a metric over the replicates that have arrived.

    Several values of one replicate count as their mean, as in the summary.

    Attributes
    ----------
    n : int
        How many replicates recorded it.
    series : Series
        Its course.
    is_numeric : bool
        Whether all values were numbers or truth values.
    """

    def __init__(self) -> None:
        self.n = 0
        self.series = Series()
        self.is_numeric = True
        self._is_share = True  # of true values
        self._moments = RunningMoments()  # of what is finite
        self._not_finite = 0.0  # the sum of the others

    def add(self, values: list[Any]) -> None:
        """Add what one replicate recorded."""
        if not values:
            return
        self.n += 1
        if not (self.is_numeric and all(isinstance(value, int | float) for value in values)):
            self.is_numeric = False
            return
        self._is_share = self._is_share and all(isinstance(value, bool) for value in values)
        try:
            value = math.fsum(values) / len(values)
        except (OverflowError, ValueError):  # integers beyond any float; infinities of both signs
            value = math.nan
        self._moments.add(value)
        if math.isfinite(value):
            self.series.add(value)
        else:
            self._not_finite += value

    @property
    def mean(self) -> float:
        """The mean; of what is not finite it is infinite, or NaN."""
        return self._moments.mean + self._not_finite

    def half_width(self, confidence: float = CONFIDENCE) -> float | None:
        """Return half the width of the mean's interval by Student's t.

        None for less than two replicates, where a value was not finite, and for a share of truth values, of which
        Student's t knows nothing.
        """
        half = self._moments.half_width(1 - confidence)
        return None if self._moments.missing or self._is_share or math.isnan(half) else half


class ConditionProgress:
    """What one condition of a run has come to.

    Attributes
    ----------
    done, failed : int
        How many of its outcomes are there, and how many of these failed.
    arrived : int
        How many arrived in the session under way.
    metrics : dict of str to RunningMean
        By name, in the order of recording.
    """

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self.arrived = 0
        self.metrics: dict[str, RunningMean] = {}
        self._states = bytearray()  # one for each replicate: all that is kept of it

    def add(self, replicate: int, outcome: Outcome) -> None:
        """Count an outcome; one that was tried again takes the place of its failure."""
        self.arrived += 1
        if replicate >= len(self._states):
            self._states.extend(bytes(replicate + 1 - len(self._states)))
        before = self._states[replicate]
        if before == _DONE:  # the line stands there twice
            return
        self.failed -= before == _FAILED
        self.done += before == _OWED
        if outcome.error is not None:
            self.failed += 1
            self._states[replicate] = _FAILED
            return
        self._states[replicate] = _DONE
        for name, values in outcome.metrics.items():
            self.metrics.setdefault(name, RunningMean()).add(values)


class RunProgress:
    """How far one run has come.

    It is fed with what :class:`crystallize.results.follow.RunFollower` reads, each line in constant time.

    Parameters
    ----------
    sessions : sequence of Session, optional
        Those that are in the journal already: what a later one declares void is not counted.

    Attributes
    ----------
    experiment : str
        Its name; empty until the journal tells it.
    replicates : int or None
        How many there are to be; None if that is open.
    conditions : dict of str to ConditionProgress
        The baseline first.
    failures : dict of (int, str) to OutcomeError
        The last outcomes that failed and were not made good, by replicate and condition, in the order of arrival.
    changes : int
        How many lines have been counted.
    is_stale : bool
        Whether a session has begun for which what was counted before does not hold: the journal is to be read from its
        start, into another object of this class.
    """

    def __init__(self, sessions: Sequence[Session] = ()) -> None:
        self.experiment = ""
        self.replicates: int | None = None
        self.conditions: dict[str, ConditionProgress] = {}
        self.failures: dict[tuple[int, str], OutcomeError] = {}
        self.changes = 0
        self.is_stale = False
        self._ahead = deque(sessions)
        self._began, self._ended = math.inf, -math.inf
        if sessions:
            self._describe(sessions[-1])

    def add(self, line: Entry | Session) -> None:
        """Count one line of the journal."""
        self.changes += 1
        if isinstance(line, Session):
            self._begin(line)
            return
        replicate, outcome = line
        condition = self.conditions.get(outcome.condition)
        if condition is None or self._is_void(replicate, outcome.condition):
            return
        condition.add(replicate, outcome)
        self._began = min(self._began, outcome.started)
        self._ended = max(self._ended, outcome.started + outcome.seconds)
        self.failures.pop((replicate, outcome.condition), None)
        if outcome.error is not None:
            self.failures[replicate, outcome.condition] = outcome.error
            if len(self.failures) > MOST_FAILURES:
                del self.failures[next(iter(self.failures))]

    @property
    def done(self) -> int:
        """How many outcomes are there."""
        return sum(each.done for each in self.conditions.values())

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return sum(each.failed for each in self.conditions.values())

    def owed(self, condition: str) -> int | None:
        """Return how many outcomes of a condition are still to come; None if that is open."""
        return None if self.replicates is None else max(0, self.replicates - self.conditions[condition].done)

    def seconds_left(self, condition: str) -> float | None:
        """Return how long the rest of a condition takes at the pace of this session; None if that is not known."""
        owed, arrived = self.owed(condition), self.conditions[condition].arrived
        if owed is None or not arrived:
            return None
        return owed * max(0.0, self._ended - self._began) / arrived

    def _begin(self, session: Session) -> None:
        if self._ahead:
            self._ahead.popleft()
        else:
            is_first = not self.experiment
            new = set(session.conditions).difference(self.conditions)
            self.is_stale = not is_first and bool(session.again or new)
            self._describe(session)
        self._began, self._ended = math.inf, -math.inf
        for each in self.conditions.values():
            each.arrived = 0

    def _describe(self, session: Session) -> None:
        self.experiment, self.replicates = session.experiment, session.replicates
        known = self.conditions
        self.conditions = {name: known.get(name) or ConditionProgress() for name in session.conditions}

    def _is_void(self, replicate: int, condition: str) -> bool:
        return any(
            again.condition == condition and (again.replicates is None or replicate in again.replicates)
            for session in self._ahead
            for again in session.again
        )
