"""The rule that stops when an interval is short enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from statistics import NormalDist

from crystallize.errors import InvalidValueError
from crystallize.statistics.stopping.report import Finding, Look, ends, known
from crystallize.statistics.stopping.rule import DifferencesWatch, Row, SingleRule, Watch
from crystallize.statistics.stopping.running import Losses, RunningMoments
from crystallize.store.layout import BASELINE
from crystallize.utils.checks import check_count


@dataclass(frozen=True, repr=False)
class precise(SingleRule):
    """Stop when the mean is known precisely: of the differences of every treatment, or, without any, of the baseline.

    It looks at Student's interval after every replicate from `min` on. An interval that is short by chance stops it
    early, so from few replicates it would cover less than it says: that is why it starts at ten.

    Parameters
    ----------
    metric : str, optional
        The metric; the only one that is recorded, if not given.
    half_width : float, optional
        How much the mean may be uncertain, in the metric's own unit.
    relative : float, optional
        The same as a share of the baseline's mean: 0.05 for five per cent. One of the two is given.
    alpha : float, default 0.05
        The interval has the level ``1 - alpha``.
    min : int, default 10
        After how many replicates it looks first.
    max : int, optional
        How many replicates there are at most. Without it, the run's `replicates` say so.
    """

    _: KW_ONLY
    half_width: float | None = None
    relative: float | None = None
    alpha: float = 0.05
    min: int = 10
    max: int | None = None

    compares = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.half_width is None) == (self.relative is None):
            raise self.refuse(
                InvalidValueError,
                "it takes one of half_width and relative",
                "Write half_width=0.5, for example",
            )
        self.check_number("relative" if self.half_width is None else "half_width")
        self.check_number("alpha", below=1)
        check_count("min", self.min, least=2)
        self.check_limit(self.min)

    def begin(self, conditions: Sequence[str]) -> Watch:
        """Return what watches a run; see :meth:`StoppingRule.begin`."""
        return _Watch(self, conditions)


class _Watch(DifferencesWatch):
    rule: precise

    def __init__(self, rule: precise, conditions: Sequence[str]) -> None:
        super().__init__(rule, conditions)
        self._baseline = RunningMoments()
        self._z = NormalDist().inv_cdf(1 - rule.alpha / 2)
        if not self.pairs:
            self.pairs = {BASELINE: self._baseline}
            self.open = dict(self.pairs)
            self.losses = {BASELINE: Losses()}
        what = "the mean" if BASELINE in self.pairs else self.each_difference
        self.interval = f"{100 * (1 - rule.alpha):g}% Student interval of {what}"

    def _take(self, row: Row) -> None:
        baseline = self.number(row, BASELINE)
        self._baseline.add(baseline)
        if BASELINE not in self.pairs:
            self._take_pairs(row, baseline)
        elif not math.isfinite(baseline):
            self.losses[BASELINE].add(baseline, baseline)

    def _look(self) -> None:
        rule = self.rule
        if self.replicates < rule.min:
            return
        wanted = rule.half_width
        if rule.relative is not None:
            wanted = rule.relative * abs(self._baseline.mean)
        assert wanted is not None
        if not all(self._is_precise(moments, wanted) for moments in self.pairs.values()):
            return
        if not any(moments.sd for moments in self.pairs.values()):
            return  # where nothing ever varies, nothing is known
        for name in self.pairs:
            self.settle(name, "precise", drop=False)
        self.end("every interval is short enough")

    def _seen(self) -> list[Look]:
        found = []
        for name, moments in self.pairs.items():
            mean, half = (moments.mean if moments.n else None), moments.half_width(self.rule.alpha)
            found.append(Look(self.replicates, name, moments.n, mean, known(half), *ends(moments.mean, half)))
        return found if self.replicates >= self.rule.min else []

    def _is_precise(self, moments: RunningMoments, wanted: float) -> bool:
        if moments.n < self.rule.min:
            return False
        # The quantile of the normal distribution, which is less than t's, tells mostly, and takes less time.
        if self._z * moments.sd > wanted * math.sqrt(moments.n):
            return False
        return moments.half_width(self.rule.alpha) <= wanted

    def _findings(self) -> list[Finding]:
        alpha = self.rule.alpha
        halves = {name: moments.half_width(alpha) for name, moments in self.pairs.items()}
        intervals = {name: ends(moments.mean, halves[name]) for name, moments in self.pairs.items()}
        return [self.finding(name, low, high, alpha) for name, (low, high) in intervals.items()]
