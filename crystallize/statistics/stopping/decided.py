"""The rule that stops when it is decided whether treatments differ from the baseline, with no horizon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from crystallize.statistics.stopping.e_value import log_e_value, sequence_half_width
from crystallize.statistics.stopping.report import Finding, Look, ends
from crystallize.statistics.stopping.rule import DifferencesWatch, SingleRule, Watch
from crystallize.utils.checks import check_bool

_LARGEST_LOG = 700.0  # of an e-value that is a float


@dataclass(frozen=True, repr=False)
class decided(SingleRule):
    """Stop when it is decided of every treatment whether it differs from the baseline.

    After every replicate it looks at the e-value of the differences within replicates, which may be looked at as
    often as one likes: without any difference, the chance of ever claiming one is at most `alpha`. Of several
    treatments, Holm's method on ``p = 1 / e`` keeps the chance of any false difference at `alpha`; that any is falsely
    called too small to matter has a chance of at most `alpha` of its own.

    Parameters
    ----------
    metric : str, optional
        The metric; the only one that is recorded, if not given.
    alpha : float, default 0.05
        The chance of a false claim that is allowed.
    smallest_effect : float, optional
        The smallest difference that matters. A treatment is decided, too, when its difference is known to be smaller.
    max : int, optional
        How many replicates there are at most. Without it, the run's `replicates` say so.
    drop : bool, default False
        Whether a treatment that is decided is not run any more. If not, it goes on until all are decided.
    """

    _: KW_ONLY
    alpha: float = 0.05
    smallest_effect: float | None = None
    max: int | None = None
    drop: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_number("alpha", below=1)
        if self.smallest_effect is not None:
            self.check_number("smallest_effect")
        self.check_limit(2)
        check_bool("drop", self.drop)

    def begin(self, conditions: Sequence[str]) -> Watch:
        """Return what watches a run; see :meth:`StoppingRule.begin`."""
        return _Watch(self, conditions)


class _Watch(DifferencesWatch):
    rule: decided

    def __init__(self, rule: decided, conditions: Sequence[str]) -> None:
        super().__init__(rule, conditions)
        self.interval = f"{100 * (1 - rule.alpha):g}% confidence sequence of {self.each_difference}"
        self._sharing = len(self.pairs)  # alpha: the treatments that are not known to differ (Holm)
        self._least = math.log(self._sharing / rule.alpha)

    def _look(self) -> None:
        rule = self.rule
        while reached := [
            (evidence, name)
            for name, moments in self.open.items()
            if (evidence := log_e_value(moments.t, moments.n)) >= self._least
        ]:
            _, name = max(reached)
            self.settle(name, "higher" if self.pairs[name].mean > 0 else "lower", drop=rule.drop)
            self._sharing -= 1
            self._least = math.log(max(1, self._sharing) / rule.alpha)
        if rule.smallest_effect is not None:
            for name, moments in list(self.open.items()):
                room = rule.smallest_effect - abs(moments.mean)
                level = rule.alpha / len(self.pairs)
                if room > 0 < moments.sd and sequence_half_width(moments.sd, moments.n, level) < room:
                    self.settle(name, "too small to matter", drop=rule.drop)
        if not self.open:
            self.end("every treatment is decided")

    def _seen(self) -> list[Look]:
        last = {name: self.verdicts[name][1] for name in self.dropped}
        return [
            self._seen_of(name) for name in self.pairs if last.get(name, self.replicates) == self.replicates
        ]

    def _seen_of(self, name: str) -> Look:
        moments = self.pairs[name]
        e_value = math.exp(min(_LARGEST_LOG, log_e_value(moments.t, moments.n)))
        half = sequence_half_width(moments.sd, moments.n, self.rule.alpha) if moments.sd > 0 else math.inf
        mean = moments.mean if moments.n else None
        return Look(self.replicates, name, moments.n, mean, e_value, *ends(moments.mean, half))

    def _findings(self) -> list[Finding]:
        looks = {name: self._seen_of(name) for name in self.pairs}
        return [self.finding(name, look.low, look.high, self.rule.alpha) for name, look in looks.items()]
