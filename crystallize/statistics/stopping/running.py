"""Mean and variance of numbers that come one by one."""

from __future__ import annotations

import math

from crystallize.statistics.intervals import t_quantile
from crystallize.statistics.moments import ROUNDING


class RunningMoments:
    """Number, mean and standard deviation of what was added, in one step for each (Welford, B. P. (1962)).

    Attributes
    ----------
    n : int
        How many finite numbers were added.
    missing : int
        How many were not finite, and are left out: NaN stands for what a replicate did not record.
    """

    __slots__ = ("_high", "_low", "_mean", "_size", "missing", "n")

    def __init__(self) -> None:
        self.n = 0
        self.missing = 0
        self._mean = 0.0
        self._size = 0.0  # the root of the sum of squares, which is a float where they are none
        # All numbers from low to high are within the rounding of each number that was added.
        self._low, self._high = -math.inf, math.inf

    def add(self, value: float, scale: float = 0.0) -> None:
        """Add a number; `scale` is the size of those that it is the difference of."""
        if not math.isfinite(value):
            self.missing += 1
            return
        self.n = n = self.n + 1
        mean = self._mean
        distance = value - mean
        self._mean = mean = mean + distance / n
        self._size = math.hypot(self._size, distance * math.sqrt((n - 1) / n))
        if self._low <= self._high:
            # Integers are exact, and have no rounding.
            rounding = 0.0 if type(value) is int else ROUNDING * max(scale, abs(value))
            self._low, self._high = max(self._low, value - rounding), min(self._high, value + rounding)

    @property
    def _varies(self) -> bool:
        return not (self._low <= 0 <= self._high or self._low <= self._mean <= self._high)

    @property
    def mean(self) -> float:
        """The mean; 0 if all numbers are zero but for their rounding."""
        return 0.0 if self._low <= 0 <= self._high else self._mean

    @property
    def sd(self) -> float:
        """The standard deviation with ``n - 1``; 0 if it is the rounding of equal numbers, NaN of fewer than two."""
        if self.n < 2:
            return math.nan
        return self._size / math.sqrt(self.n - 1) if self._varies else 0.0

    @property
    def t(self) -> float:
        """Student's t of the mean against zero; NaN if the numbers do not vary, which no test of ours decides on."""
        n, size = self.n, self._size
        if not (self._varies and size > 0):
            return math.nan
        return self._mean / size * math.sqrt(n * (n - 1))

    def half_width(self, alpha: float) -> float:
        """Return half the width of Student's interval of the mean at the level ``1 - alpha``; NaN of fewer than two."""
        return math.nan if self.n < 2 else t_quantile(self.n - 1, 1 - alpha) * self.sd / math.sqrt(self.n)


class Losses:
    """How many pairs cannot be used, and which condition lost its number.

    Attributes
    ----------
    treatment, baseline : int
        In how many this one had no finite number.
    infinite : int
        In how many both had a number, but the difference is not finite.
    """

    __slots__ = ("baseline", "infinite", "treatment")

    def __init__(self) -> None:
        self.treatment = self.baseline = self.infinite = 0

    def add(self, treatment: float, baseline: float) -> None:
        """Count a pair that cannot be used."""
        self.treatment += not math.isfinite(treatment)
        self.baseline += not math.isfinite(baseline)
        self.infinite += not (math.isnan(treatment) or math.isnan(baseline))

    @property
    def is_lopsided(self) -> bool:
        """Whether one condition lost more than the other, so that what is left may be the easy ones."""
        return self.treatment != self.baseline
