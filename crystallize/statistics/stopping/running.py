"""Mean and variance of numbers that come one by one."""

from __future__ import annotations

import math

from crystallize.statistics.intervals import t_quantile
from crystallize.statistics.samples import ROUNDING


class RunningMoments:
    """Number, mean and standard deviation of what was added, in one step for each (Welford, B. P. (1962)).

    Attributes
    ----------
    n : int
        How many finite numbers were added.
    missing : int
        How many were not finite, and are left out: NaN stands for what a replicate did not record.
    mean : float
        Their mean.
    """

    __slots__ = ("_scale", "_squares", "mean", "missing", "n")

    def __init__(self) -> None:
        self.n = 0
        self.missing = 0
        self.mean = 0.0
        self._squares = 0.0
        self._scale = 0.0  # the largest number that the added ones come from

    def add(self, value: float, scale: float = 0.0) -> None:
        """Add a number; `scale` is the size of those that it is the difference of."""
        if not math.isfinite(value):
            self.missing += 1
            return
        self.n = n = self.n + 1
        mean = self.mean
        distance = value - mean
        self.mean = mean = mean + distance / n
        self._squares += distance * (value - mean)
        self._scale = max(self._scale, scale)

    @property
    def sd(self) -> float:
        """The standard deviation with ``n - 1``; 0 if it is the rounding of equal numbers, NaN of fewer than two."""
        if self.n < 2:
            return math.nan
        sd = math.sqrt(self._squares / (self.n - 1))
        return 0.0 if sd <= ROUNDING * max(self._scale, abs(self.mean)) else sd

    @property
    def t(self) -> float:
        """Student's t of the mean against zero; NaN if the numbers do not vary, which no test of ours decides on."""
        n, mean, squares = self.n, self.mean, self._squares
        rounding = ROUNDING * max(self._scale, abs(mean))
        if n < 2 or squares <= (n - 1) * (rounding * rounding):  # a power of a large number would raise
            return math.nan
        return mean * math.sqrt(n * (n - 1) / squares)

    def half_width(self, alpha: float) -> float:
        """Return half the width of Student's interval of the mean at the level ``1 - alpha``; NaN of fewer than two."""
        return math.nan if self.n < 2 else t_quantile(self.n - 1, 1 - alpha) * self.sd / math.sqrt(self.n)
