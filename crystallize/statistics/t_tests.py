"""Tests of means with Student's t: of pairs, of two samples, and against a margin.

Each takes :class:`~crystallize.statistics.samples.Moments` and gives a :class:`MeanDifference`, which holds all that is
asked of it: p-values, intervals at any level, and whether it lies within a margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from crystallize.statistics.intervals import NO_INTERVAL, Interval, t_quantile
from crystallize.statistics.samples import Moments, difference_of_means


@dataclass(frozen=True)
class MeanDifference:
    """A difference of means, and how well it is known.

    Attributes
    ----------
    difference : float
        Treatment minus baseline.
    error : float
        Its standard error; NaN where there are too few values, and if one is not finite.
    freedom : float
        The degrees of freedom of the error.
    least_p : float
        The p-value if nothing varies, where t says nothing: how likely it is that all pairs, or all values of the
        conditions, fall so by exchanging the conditions. Two equal differences of counts are no proof.
    """

    difference: float
    error: float
    freedom: float
    least_p: float

    @classmethod
    def of_pairs(cls, differences: Moments) -> MeanDifference:
        """Return the mean of the differences within pairs (Student 1908)."""
        n, mean, sd, *_ = differences
        freedom = float(n - 1) if n > 1 else math.nan
        return cls.of(mean, sd / math.sqrt(n or 1), freedom, 2.0 ** (1 - n))

    @classmethod
    def of_samples(cls, baseline: Moments, treatment: Moments) -> MeanDifference:
        """Return the difference of the means of two independent samples (Welch 1947)."""
        a, b = baseline, treatment
        error_a, error_b = a.sd / math.sqrt(a.n or 1), b.sd / math.sqrt(b.n or 1)
        error = math.hypot(error_a, error_b)
        if error > 0:
            # Welch-Satterthwaite, on shares of the error: powers of large or tiny numbers are no floats.
            freedom = 1 / ((error_a / error) ** 4 / (a.n - 1) + (error_b / error) ** 4 / (b.n - 1))
        else:
            freedom = float(a.n + b.n - 2) if error == 0 else math.nan
        least_p = 0.0 if error > 0 else _inverse(math.comb(a.n + b.n, a.n)) * 2
        return cls.of(difference_of_means(a, b), error, freedom, least_p)

    @classmethod
    def of(cls, difference: float, error: float, freedom: float, least_p: float) -> MeanDifference:
        """Return the difference; nothing is known of one that is not finite."""
        known = math.isfinite(difference) and not math.isnan(error)
        return cls(difference, error if known else math.nan, freedom if known else math.nan, least_p)

    @property
    def statistic(self) -> float:
        """The t statistic; infinite for a difference that is known without error."""
        return self.at(0.0)

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference."""
        from scipy.special import stdtr

        statistic = self.statistic
        if math.isinf(statistic):
            return self.least_p
        return float(2 * stdtr(self.freedom, -abs(statistic))) if statistic else 1.0

    def at(self, bound: float) -> float:
        """Return the t statistic of the difference minus `bound`."""
        gap = self.difference - bound
        if self.error == 0:
            return math.copysign(math.inf, gap) if gap else 0.0
        return gap / self.error

    def p_above(self, bound: float) -> float:
        """Return the p-value of a difference of at most `bound`: small if it is known to lie above."""
        return self._upper_tail(self.at(bound))

    def p_below(self, bound: float) -> float:
        """Return the p-value of a difference of at least `bound`: small if it is known to lie below."""
        return self._upper_tail(-self.at(bound))

    def p_within(self, margin: float) -> float:
        """Return the p-value of a difference of at least `margin` to one of the sides: two one-sided tests.

        References
        ----------
        Schuirmann, D. J. (1987), "A comparison of the two one-sided tests procedure and the power approach", Journal of
        Pharmacokinetics and Biopharmaceutics 15, 657-680.
        """
        return max(self.p_above(-margin), self.p_below(margin))

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return the interval of the difference."""
        if math.isnan(self.error):
            return NO_INTERVAL
        half_width = t_quantile(self.freedom, confidence) * self.error if self.error else 0.0
        return self.difference - half_width, self.difference + half_width

    def _upper_tail(self, statistic: float) -> float:
        from scipy.special import stdtr

        if math.isinf(statistic) or not self.error:  # nothing varies: on the bound is not beyond it
            return self.least_p / 2 if statistic > 0 else 1.0
        return float(stdtr(self.freedom, -statistic))


def _inverse(count: int) -> float:
    return 1 / count if count < 10**300 else 0.0
