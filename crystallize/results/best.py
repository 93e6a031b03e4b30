"""Which conditions of a finished run may be the best one, and what the one that looks best is like."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import InvalidValueError, MissingMetricError
from crystallize.metrics.columns import Column
from crystallize.metrics.condition import check_recorded, recorded_metrics
from crystallize.statistics.intervals import student_interval, t_quantile
from crystallize.statistics.moments import moments, moments_of_pairs
from crystallize.statistics.samples import has_finite_number, numbers_in
from crystallize.statistics.verdicts import check_direction, sharing_notes
from crystallize.utils.checks import check_share
from crystallize.utils.number_text import choose_decimals, decimals_of_each, format_number
from crystallize.utils.text_table import WIDTH, TextTable, wrapped
from crystallize.utils.wording import counted, first_of

if TYPE_CHECKING:
    from crystallize.metrics.condition import ConditionMetrics
    from crystallize.statistics.hypothesis_result import HypothesisResult
    from crystallize.statistics.moments import FloatArray, NumberArray
    from crystallize.statistics.verdicts import Direction

_MOST_ROWS = 10


@dataclass(frozen=True)
class Candidate:
    """One condition among those that the best is looked for.

    Attributes
    ----------
    condition : str
        Its name.
    mean : float
        The metric's mean over the replicates.
    behind : float
        How much worse its mean is than the best mean; 0 for the one that looks best.
    at_most : float
        How much worse than the best it is at most; infinite if that is not known.
    may_be_best : bool
        Whether it cannot be told from the best.
    """

    condition: str
    mean: float
    behind: float
    at_most: float
    may_be_best: bool


class FreshMean(NamedTuple):
    """The mean of the condition that looked best, in replicates that had no part in choosing it."""

    replicates: int
    mean: float
    interval: tuple[float, float]


@dataclass(frozen=True, repr=False)
class BestSet:
    """The conditions that cannot be told from the best; ``print(found)`` shows them as a table.

    Attributes
    ----------
    metric : str
        The metric.
    direction : {"min", "max"}
        Whether small values are good, or large ones.
    alpha : float
        The chance that the best is not among them, or that a bound does not hold, for all conditions together.
    replicates : int
        How many replicates count.
    dropped : int
        How many do not, since a condition failed in them or gave no finite number.
    candidates : tuple of Candidate
        All conditions that were compared: first those that may be the best, then the others, each with the best mean
        first.
    not_compared : dict of str to str
        The other conditions, with the reason.
    fresh : FreshMean or None
        What another run says of the first one.
    seed : int
        The master seed of the run; another one makes new replicates.
    was_stopped : bool
        Whether a rule has ended the run, or one that it reads, by what it saw, so that the level does not hold.
    shared_inputs : mapping of str to int
        Each experiment of which several replicates read the same artifact, with how many replicates that has: then the
        level does not hold, either.
    """

    metric: str
    direction: Direction
    alpha: float
    replicates: int
    dropped: int
    candidates: tuple[Candidate, ...]
    not_compared: dict[str, str]
    seed: int
    fresh: FreshMean | None = None
    was_stopped: bool = False
    shared_inputs: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The conditions that cannot be told from the best; the one that looks best is the first."""
        return tuple(each.condition for each in self.candidates if each.may_be_best)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts and lists; a bound that is not known is None."""
        return {
            "metric": self.metric,
            "direction": self.direction,
            "alpha": self.alpha,
            "replicates": self.replicates,
            "dropped": self.dropped,
            "candidates": [
                asdict(each) | {"at_most": each.at_most if math.isfinite(each.at_most) else None}
                for each in self.candidates
            ],
            "not_compared": dict(self.not_compared),
            "fresh": None if self.fresh is None else self.fresh._asdict(),
            "seed": self.seed,
            "was_stopped": self.was_stopped,
            "shared_inputs": dict(self.shared_inputs),
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())

    __repr__ = __str__

    def lines(self, width: int = WIDTH) -> list[str]:
        """Return the lines of a text of at most `width` columns: the first ten conditions, and how many more."""
        return [*self._table(_MOST_ROWS).lines(width), "", *wrapped(self._remarks(_MOST_ROWS), width)]

    def _repr_html_(self) -> str:
        notes = "<br>".join(map(html.escape, self._remarks(len(self.candidates))))
        return f"{self._table(len(self.candidates)).html()}<p>{notes}</p>"

    def _table(self, most: int) -> TextTable:
        shown = self.candidates[:most]
        decimals = decimals_of_each([each.behind for each in shown], [each.mean for each in shown], digits=1)
        # Bounds are far larger where there are few replicates.
        of_bounds = decimals_of_each([None] * len(shown), [each.at_most for each in shown], digits=1)
        rows = [
            (
                each.condition,
                *(format_number(number, own) for number in (each.mean, each.behind)),
                format_number(each.at_most, of_bound) if math.isfinite(each.at_most) else "not known",
                "possible" if each.may_be_best else "no",
            )
            for each, own, of_bound in zip(shown, decimals, of_bounds, strict=True)
        ]
        return TextTable(("condition", self.metric, "behind", "at most", "best"), rows, names=1)

    def _remarks(self, most: int) -> Iterator[str]:
        members = len(self.names)
        hidden = members - most, len(self.candidates) - max(members, most)
        if max(hidden) > 0:
            kinds = zip(hidden, ("that may be the best", "that are not"), strict=True)
            yield f"And {' and '.join(f'{number} {what}' for number, what in kinds if number > 0)}."
        smallest = "smallest" if self.direction == "min" else "largest"
        yield (
            f"{members} of {counted(len(self.candidates), 'condition')} cannot be told from the best, the one with the "
            f"{smallest} true mean of {self.metric}. {counted(self.replicates, 'replicate')}, compared within them."
        )
        yield (
            "behind: how much worse its mean is than the first one's; at most: how much worse than the best it can be. "
            f"The set and all bounds hold together at {100 * (1 - self.alpha):g} %."
        )
        yield from self._cautions()
        if self.fresh is None:
            yield (
                f"The mean of {self.names[0]} is the best of several, and so it looks better than it is: measure it "
                f"again on new replicates, under another seed than {self.seed}."
            )
            return
        low, high = self.fresh.interval
        looked = self.candidates[0].mean
        decimals = choose_decimals([high - low], [self.fresh.mean, looked])
        shown = [format_number(number, decimals) for number in (self.fresh.mean, low, high, looked)]
        yield (
            f"In {counted(self.fresh.replicates, 'replicate')} of another run, {self.names[0]} has {shown[0]}, "
            f"{100 * (1 - self.alpha):g}% interval [{shown[1]}, {shown[2]}]; it looked like {shown[3]}."
        )

    def _cautions(self) -> Iterator[str]:
        if self.dropped:
            replicates = counted(self.dropped, "replicate")
            yield f"{replicates} left out, where a condition failed or gave no finite number."
        if self.replicates == 1:
            yield "One replicate tells nothing of how sure a difference is."
        elif any(math.isinf(each.at_most) for each in self.candidates):
            least = _least_constant(self.alpha / (len(self.candidates) - 1))
            yield f"A difference that is the same in every replicate counts from {least} replicates on."
        if self.was_stopped:
            yield (
                "A rule has ended this run, or one that it reads, by what it saw, and all this is for a number of "
                "replicates that was fixed before: result.stopping has what holds."
            )
        yield from sharing_notes(self.shared_inputs, self.replicates + self.dropped)
        if self.not_compared:
            reasons = [f"{name} ({reason})" for name, reason in self.not_compared.items()]
            yield f"Not compared: {first_of(reasons)}."


def find_best(
    conditions: Sequence[ConditionMetrics],
    metric: str,
    hypotheses: Iterable[HypothesisResult],
    *,
    direction: Direction | None,
    alpha: float,
    replicates: int,
    seed: int,
) -> BestSet:
    """Return the conditions that cannot be told from the best; see :meth:`crystallize.Result.best`."""
    check_share("alpha", alpha)
    check_recorded(metric, recorded_metrics(conditions))
    direction = _check_direction(direction, hypotheses, metric)
    names, table, not_compared = _comparable(conditions, metric)
    candidates = _compare(names, table, direction, alpha)
    return BestSet(
        metric,
        direction,
        float(alpha),
        table.shape[1],
        replicates - table.shape[1],
        tuple(candidates),
        not_compared,
        seed,
    )


def measure_again(condition: ConditionMetrics, metric: str, confidence: float) -> FreshMean:
    """Return the mean of a condition in a run that had no part in choosing it.

    Raises
    ------
    MissingMetricError
        If it has no finite number.
    """
    column = condition.columns.get(metric, Column())
    (numbers,) = numbers_in([column], metric, has_finite_number(column, metric, column.end))
    if not numbers.size:
        raise MissingMetricError(f"the fresh run has no finite {metric!r} under {condition.name!r}")
    n, mean, sd, *_ = moments(numbers)
    return FreshMean(n, mean, student_interval(n, mean, sd, confidence))


def _check_direction(
    direction: Direction | None, hypotheses: Iterable[HypothesisResult], metric: str
) -> Direction:
    """Return where better lies: what is given, or what a hypothesis on this metric says."""
    if direction is not None:
        check_direction(direction)
        return direction
    stated = {
        hypothesis.direction
        for hypothesis in hypotheses
        if hypothesis.direction and any(each.metric == metric for each in hypothesis.comparisons)
    }
    if len(stated) != 1:
        what = "no hypothesis says" if not stated else "hypotheses differ on"
        raise InvalidValueError(
            f"{what} whether small or large values of {metric!r} are good",
            hint="Say direction='min' or 'max'; on the command line, --direction",
        )
    return stated.pop()


def _comparable(
    conditions: Sequence[ConditionMetrics], metric: str
) -> tuple[list[str], NumberArray, dict[str, str]]:
    """Return the conditions that can be compared, their numbers (conditions x replicates), and why others cannot.

    What has lost more replicates than others is left out: those that it has may be the easy ones.
    """
    import numpy as np

    columns = {each.name: each.columns.get(metric, Column()) for each in conditions}
    end = max(column.end for column in columns.values())
    finite = {name: has_finite_number(column, metric, end) for name, column in columns.items()}
    measured = int(np.logical_or.reduce([*finite.values()]).sum())
    not_compared: dict[str, str] = {}
    lost: dict[str, int] = {}
    for condition in conditions:
        if condition.dropped_at is not None:
            not_compared[condition.name] = "dropped by the stopping rule"
        else:
            lost[condition.name] = measured - int(finite[condition.name].sum())
    least = min(lost.values())
    not_compared |= {
        name: f"lost {count} of {counted(measured, 'replicate')}"
        for name, count in lost.items()
        if count > least
    }
    names = [name for name in columns if name not in not_compared]
    if len(names) == 1:
        reasons = first_of([f"{name} ({reason})" for name, reason in not_compared.items()])
        raise InvalidValueError(
            f"there is nothing to compare {names[0]!r} with" + (f": {reasons}" if reasons else ""),
            hint="Resume the run to try again what has failed"
            if reasons
            else "Give the experiment treatments",
        )
    common = np.logical_and.reduce([finite[name] for name in names])
    if not common.any():
        raise InvalidValueError(f"no replicate has a finite {metric!r} in all {len(names)} conditions")
    return names, numbers_in([columns[name] for name in names], metric, common), not_compared


def _compare(names: Sequence[str], table: NumberArray, direction: Direction, alpha: float) -> list[Candidate]:
    """Return the conditions with their bounds, in the order of :attr:`BestSet.candidates`.

    A condition is told from the best if another one beats it by more than ``t * s / sqrt(n)``, with the standard
    deviation s of their differences, and t at the level ``alpha / (k - 1)``: of the k - 1 comparisons that could throw
    out the true best, none does with a chance of ``1 - alpha``. In the same event, each condition's distance to the
    best is at most that to some condition of the set, and the margin of that comparison.
    """
    import numpy as np

    signed = table if direction == "max" else -table
    leader = int(moments_of_pairs(signed[:1], signed).mean.argmax())
    level = alpha / (len(names) - 1)
    at_most = np.zeros(len(names))
    may_be_best = np.zeros(len(names), dtype=bool)
    lead, margin = _lead_of_others(signed, leader, level)
    behind = 0.0 - lead  # 0, and not -0
    # What the leader beats needs no other comparison.
    for place in np.flatnonzero(behind <= margin).tolist():
        lead, margin = _lead_of_others(signed, place, level)
        if (lead <= margin).all():
            may_be_best[place] = True
            reach = margin - lead
            reach[place] = 0.0
            np.maximum(at_most, reach, out=at_most)
    means = moments(table).mean.tolist()
    order = sorted(range(len(names)), key=lambda place: (not may_be_best[place], behind[place]))
    return [
        Candidate(
            names[place],
            means[place],
            float(behind[place]),
            float(at_most[place]),
            bool(may_be_best[place]),
        )
        for place in order
    ]


def _lead_of_others(signed: NumberArray, place: int, level: float) -> tuple[FloatArray, FloatArray]:
    """Return by how much each condition is better than one, on average, and what of that may be chance."""
    import numpy as np

    n, means, sds, *_ = moments_of_pairs(signed[[place]], signed)
    if n == 1:
        return means, np.full_like(means, math.inf)
    quantile = max(0.0, t_quantile(n - 1, 1 - 2 * level))
    margins = quantile * sds / math.sqrt(n)
    if n < _least_constant(level):
        margins[(sds == 0) & (means != 0)] = math.inf
    return means, margins


def _least_constant(level: float) -> int:
    """Return how many replicates prove a difference that is the same in each, for t says nothing of that.

    That all of n differences have the one sign by chance has the probability ``2 ** -n``.
    """
    return math.ceil(-math.log2(level))
