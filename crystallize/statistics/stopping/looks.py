"""The rule that looks a few times, on the way to a number of replicates that is fixed beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.statistics.intervals import t_quantile
from crystallize.statistics.stopping.boundaries import SHAPES, bounds
from crystallize.statistics.stopping.report import Finding, Look, ends, known
from crystallize.statistics.stopping.rule import DifferencesWatch, SingleRule, Watch
from crystallize.utils.checks import check_bool, check_count
from crystallize.utils.wording import did_you_mean, first_of


@dataclass(frozen=True, repr=False)
class looks(SingleRule):
    """Look `k` times, at equal distances up to `max` replicates, and stop when every treatment is decided.

    The bounds are those of a group-sequential test: all looks together have the chance `alpha` of claiming a
    difference where there is none. Where the budget is known and effects may be small, it finds more than
    :class:`decided`. Of several treatments, those that are not decided share alpha (Holm's method).

    Parameters
    ----------
    metric : str, optional
        The metric; the only one that is recorded, if not given.
    k : int, default 5
        How many looks.
    max : int, default 100
        How many replicates there are at most, which is when it looks last.
    shape : {"obrien-fleming", "pocock"}
        Whether early looks are strict and the last one loses hardly anything, or all looks have one bound.
    alpha : float, default 0.05
        The chance of a false claim that is allowed.
    drop : bool, default False
        Whether a treatment that is decided is not run any more. If not, it goes on until all are decided.
    """

    _: KW_ONLY
    k: int = 5
    max: int = 100
    shape: str = SHAPES[0]
    alpha: float = 0.05
    drop: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("k", self.k)
        check_count("max", self.max)
        check_bool("drop", self.drop)
        self.check_number("alpha", below=1)
        if not isinstance(self.shape, str):
            raise self.refuse(InvalidTypeError, f"shape is one of {list(SHAPES)}, got {self.shape!r}")
        if self.shape not in SHAPES:
            hint = did_you_mean(self.shape, SHAPES)
            raise self.refuse(
                InvalidValueError, f"there is no shape {self.shape!r}, only {list(SHAPES)}", hint
            )
        if self.max < 2 * self.k:
            raise self.refuse(
                InvalidValueError,
                f"{self.k} looks need {2 * self.k} replicates at least, and max is {self.max}",
                f"Give it max={2 * self.k} or more, or fewer looks",
            )

    @property
    def times(self) -> tuple[int, ...]:
        """After how many replicates it looks."""
        return tuple(math.ceil(self.max * look / self.k) for look in range(1, self.k + 1))

    def unused_looks(self, most: int) -> str:
        """Say which looks a run of at most `most` replicates never comes to; an empty text if there are none."""
        if most >= self.max:
            return ""
        times = first_of([*map(str, self.times)])
        return (
            f"{self} looks after {times} replicates, and the run has {most} at most: it never takes its last look. "
            f"Give it max={most}"
        )

    def p_values(self, alpha: float) -> tuple[float, ...]:
        """Return, for each look, the largest p-value that decides."""
        return _p_values(tuple(time / self.max for time in self.times), alpha, self.shape)

    def begin(self, conditions: Sequence[str]) -> Watch:
        """Return what watches a run; see :meth:`StoppingRule.begin`."""
        return _Watch(self, conditions)


@lru_cache(maxsize=256)
def _p_values(shares: tuple[float, ...], alpha: float, shape: str) -> tuple[float, ...]:
    return tuple(math.erfc(bound / math.sqrt(2)) for bound in bounds(shares, alpha, shape))


class _Watch(DifferencesWatch):
    rule: looks

    def __init__(self, rule: looks, conditions: Sequence[str]) -> None:
        super().__init__(rule, conditions)
        self.interval = f"{100 * (1 - rule.alpha):g}% repeated confidence interval of {self.each_difference}"
        self._times = {time: place for place, time in enumerate(rule.times)}
        self._last: dict[str, Finding] = {}  # of each treatment as it was at its last look

    def _look(self) -> None:
        place = self._times.get(self.replicates)
        if place is None:
            return
        rule, pairs = self.rule, self.pairs
        was_open = list(self.open)
        while found := [name for name in self.open if self._is_beyond(name, place)]:
            for name in found:
                self.settle(name, "higher" if pairs[name].mean > 0 else "lower", drop=rule.drop)
        for name in pairs if not rule.drop else was_open:
            moments = pairs[name]
            half = math.inf
            if moments.n > 1 and moments.sd > 0:
                quantile = t_quantile(moments.n - 1, 1 - rule.p_values(rule.alpha)[place])
                half = quantile * moments.sd / math.sqrt(moments.n)
            mean = moments.mean if moments.n else None
            look = Look(self.replicates, name, moments.n, mean, known(moments.t), *ends(moments.mean, half))
            self.looks.append(look)
            self._last[name] = self.finding(name, look.low, look.high, rule.alpha)
        if not self.open:
            self.end("every treatment is decided")

    def _keep_look(self) -> None:
        """Keep nothing besides its own few looks."""

    def _seen(self) -> list[Look]:
        return []

    def _is_beyond(self, name: str, place: int) -> bool:
        """Tell whether t is beyond the bound, whose z has the same p-value; z itself would be for a known variance."""
        moments = self.pairs[name]
        if not abs(moments.t) > 0:
            return False
        p_value = self.rule.p_values(self.rule.alpha / len(self.open))[place]
        return abs(moments.t) >= t_quantile(moments.n - 1, 1 - p_value)

    def _findings(self) -> list[Finding]:
        # A run may end between two looks. Its interval is about the numbers of the last one.
        now = {name: self.finding(name, None, None, self.rule.alpha) for name in self.pairs}
        return [
            self._last.get(name, each)._replace(verdict=each.verdict, at=each.at)
            for name, each in now.items()
        ]
