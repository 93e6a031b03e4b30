"""The rule that finds the best condition, and has those that cannot win run no further."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal

from crystallize.errors import InvalidValueError
from crystallize.statistics.moments import ROUNDING, alike, as_numbers, moments_of_pairs
from crystallize.statistics.stopping.report import Finding, Look
from crystallize.statistics.stopping.rule import Row, SingleRule, SingleWatch, Watch
from crystallize.statistics.verdicts import WITHHELD
from crystallize.store.layout import BASELINE
from crystallize.utils.checks import check_count

if TYPE_CHECKING:
    import numpy as np


_EQUAL = "undecided, for they never differ"


@dataclass(frozen=True, repr=False)
class best(SingleRule):
    """Stop when the best condition is found, the baseline among them, and run those no further that cannot win.

    If the best is better than all others by `delta` or more, it is chosen with a chance of at least ``1 - alpha``; what
    is chosen is else within `delta` of the best. The variances are those of differences within replicates, so shared
    random numbers make it several times cheaper (Kim, S.-H. and Nelson, B. L. (2001), "A fully sequential procedure for
    indifference-zone selection in simulation", ACM TOMACS 11, 251-273).

    Parameters
    ----------
    metric : str, optional
        The metric; the only one that is recorded, if not given.
    delta : float
        The smallest difference that is worth finding.
    direction : {"max", "min"}
        Whether large values are good, or small ones.
    alpha : float, default 0.05
        The chance of a wrong choice that is allowed.
    first : int, default 10
        After how many replicates it looks first; from these it learns the variances.
    max : int, optional
        How many replicates there are at most. Without it, the run's `replicates` say so.
    """

    _: KW_ONLY
    delta: float
    direction: Literal["max", "min"]
    alpha: float = 0.05
    first: int = 10
    max: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_number("delta")
        self.check_number("alpha", below=1)
        if self.direction not in ("max", "min"):
            raise self.refuse(InvalidValueError, f"direction is 'max' or 'min', got {self.direction!r}")
        check_count("first", self.first, least=2)
        self.check_limit(self.first)

    @property
    def drops(self) -> bool:
        """Whether it may have a treatment run no further before it comes to its end."""
        return True

    def begin(self, conditions: Sequence[str]) -> Watch:
        """Return what watches a run; see :meth:`StoppingRule.begin`."""
        return _Watch(self, conditions)


def kim_nelson_h2(systems: int, first: int, alpha: float) -> float:
    """Return the constant h squared for the choice among so many systems, of which `first` observations were made."""
    eta: float = ((2 * alpha / (systems - 1)) ** (-2 / (first - 1)) - 1) / 2
    return 2 * eta * (first - 1)


class _Watch(SingleWatch):
    rule: best

    def __init__(self, rule: best, conditions: Sequence[str]) -> None:
        super().__init__(rule, conditions)
        import numpy as np

        self._h2 = kim_nelson_h2(len(conditions), rule.first, rule.alpha)
        self._sign = 1.0 if rule.direction == "max" else -1.0
        self._survives: np.ndarray[Any, Any] = np.ones(len(conditions), dtype=bool)
        self._origin: float | None = None  # what sums are counted from: large numbers keep their digits
        self._sums = np.zeros(len(conditions))
        self._largest = 0.0  # of the floats: integers have no rounding
        self._first: list[list[float]] = []
        # All is judged by differences within replicates, in units of delta: squares of any numbers are floats then.
        self._leads = np.zeros(len(conditions))  # sums of the differences to one that survived
        self._variances = np.zeros((len(conditions), len(conditions)))
        self._n = 0  # replicates in which all that survived had a number
        self._lost = [0] * len(conditions)  # in how many replicates each had none
        self._infinite = [0] * len(conditions)
        self._is_lopsided = False  # whether one had lost more than another when some were told apart
        self._survive_as_equals = False
        self._compared: list[int] = []  # who took part in the last look
        # Of those that lost: the verdict, after how many replicates, how many numbers, and their mean.
        self._ended: dict[str, tuple[str, int, int, float]] = {}

    def _take(self, row: Row) -> None:
        values = [
            self.number(row, name) if survives else 0.0
            for name, survives in zip(self.conditions, self._survives, strict=True)
        ]
        if not all(map(math.isfinite, values)):
            for place, value in enumerate(values):
                self._lost[place] += not math.isfinite(value)
                self._infinite[place] += math.isinf(value)
            return
        if self._origin is None:
            self._origin = values[0]
        self._n += 1
        self._sums += [float(value - self._origin) for value in values]
        reference = values[int(self._survives.argmax())]
        self._leads += [(value - reference) / self.rule.delta for value in values]
        self._largest = max([self._largest, *(abs(value) for value in values if type(value) is float)])
        if self._n <= self.rule.first:
            self._first.append(values)
        if self._n == self.rule.first:
            self._learn_variances()

    def _learn_variances(self) -> None:
        """Find the variances of the differences within the first replicates."""
        columns = [as_numbers(column, str(self.metric)) for column in zip(*self._first, strict=True)]
        for place, column in enumerate(columns):
            for others, *rows in alike({other: (column, columns[other]) for other in range(place)}):
                found = (moments_of_pairs(*rows).sd / self.rule.delta) ** 2
                self._variances[place, others] = self._variances[others, place] = found

    def _look(self) -> None:
        import numpy as np

        n, rule = self._n, self.rule
        if n < rule.first:
            return
        alive = np.flatnonzero(self._survives)
        means = self._sign * self._leads[alive] / n
        variances = self._variances[np.ix_(alive, alive)]
        rounding = ROUNDING * self._largest / rule.delta
        allowance = np.maximum(0.0, (self._h2 * variances - n) / (2 * n)) + rounding
        loses = np.any(means[:, None] < means[None, :] - allowance, axis=1)
        if n > np.floor(self._h2 * variances).max():  # the end, at the latest
            leader = int(means.argmax())
            # What never differs from the leader is no worse; else one of the two has to go, though it may be as good.
            loses = (means < means[leader] - rounding) | (variances[leader] > 0)
            loses[leader] = False
            self._survive_as_equals = self.is_over = bool((~loses).sum() > 1)
        if loses.any():
            self._is_lopsided |= len({self._lost[place] for place in alive.tolist()}) > 1
        for place in alive[loses].tolist():
            name = self.conditions[place]
            verdict = WITHHELD if self._is_lopsided else "eliminated"
            self._ended[name] = verdict, self.replicates, n, self._mean(place)
            self._survives[place] = False
            if name != BASELINE:  # what all are compared with is run to the end
                self.dropped.add(name)
        if self._survives.sum() == 1:
            self.end("one condition is left")
        elif self.is_over:
            self.reason = "the conditions that are left never differ"
        self._compared = alive.tolist()
        if loses.any() and not self.is_over:
            self._keep_look()

    def _mean(self, place: int) -> float:
        return (self._origin or 0.0) + float(self._sums[place]) / max(1, self._n)

    def _seen(self) -> list[Look]:
        return [
            Look(self.replicates, self.conditions[place], self._n, self._mean(place))
            for place in self._compared
        ]

    def _findings(self) -> list[Finding]:
        found = []
        of_best = WITHHELD if self._is_lopsided else "best"
        of_rest = of_best if self.is_decided else _EQUAL if self._survive_as_equals else "undecided"
        for place, name in enumerate(self.conditions):
            now = of_rest, self.replicates if self.is_decided else None, self._n, self._mean(place)
            verdict, at, n, mean = self._ended.get(name, now)
            lost, infinite = self._lost[place], self._infinite[place]
            found.append(Finding(name, verdict, at, n, lost, mean if n else None, infinite=infinite))
        return sorted(found, key=lambda each: each.verdict)
