"""Tests of means with Student's t: of pairs, of two samples, and against a margin.

Each takes :class:`~crystallize.statistics.moments.Moments` and gives a :class:`MeanDifference`, which holds all that is
asked of it: p-values, intervals at any level, and whether it lies within a margin. Moments of a table give arrays of
all of these, with a number for each of its rows; one comparison is no other case than many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from crystallize.statistics.moments import Moments, difference_of_means, number_or_array
from crystallize.statistics.p_values import above_zero


@dataclass(frozen=True)
class MeanDifference:
    """A difference of means, and how well it is known; or many of them, in arrays of one length.

    Attributes
    ----------
    difference : float or numpy.ndarray
        Treatment minus baseline.
    error : float or numpy.ndarray
        Its standard error; NaN where there are too few values, and if one is not finite.
    freedom : float or numpy.ndarray
        The degrees of freedom of the error.
    least_p : float or numpy.ndarray
        The p-value if nothing varies, where t says nothing: how likely it is that all pairs, or all values of the
        conditions, fall so by exchanging the conditions. Two equal differences of counts are no proof.
    """

    difference: Any
    error: Any
    freedom: Any
    least_p: Any

    @classmethod
    def of_pairs(cls, differences: Moments) -> MeanDifference:
        """Return the mean of the differences within pairs (Student 1908)."""
        n, mean, sd, *_ = differences
        return cls.of(mean, sd / math.sqrt(n or 1), n - 1.0, 2.0 ** (1 - n))

    @classmethod
    def of_samples(cls, baseline: Moments, treatment: Moments) -> MeanDifference:
        """Return the difference of the means of two independent samples (Welch 1947)."""
        import numpy as np

        a, b = baseline, treatment
        with np.errstate(all="ignore"):
            error_a, error_b = a.sd / math.sqrt(a.n or 1), b.sd / math.sqrt(b.n or 1)
            error = np.hypot(error_a, error_b)
            # Welch-Satterthwaite, on shares of the error: powers of large or tiny numbers are no floats.
            share_a, share_b = np.square(error_a / error), np.square(error_b / error)
            freedom = 1 / (np.square(share_a) / (a.n - 1) + np.square(share_b) / (b.n - 1))
        constant = error == 0
        least_p: Any = 0.0
        if constant.any():
            freedom = np.where(constant, a.n + b.n - 2.0, freedom)
            least_p = np.where(constant, _inverse(math.comb(a.n + b.n, a.n)) * 2, 0.0)
        return cls.of(difference_of_means(a, b), error, freedom, least_p)

    @classmethod
    def of(cls, difference: Any, error: Any, freedom: Any, least_p: Any) -> MeanDifference:
        """Return the difference; nothing is known of one that is not finite."""
        import numpy as np

        known = np.isfinite(difference) & ~np.isnan(error)
        return cls(
            difference,
            number_or_array(np.where(known, error, math.nan)),
            number_or_array(np.where(known, freedom, math.nan)),
            number_or_array(np.asarray(least_p)),
        )

    @cached_property
    def statistic(self) -> Any:
        """The t statistic; infinite for a difference that is known without error."""
        return self.at(0.0)

    @property
    def p_value(self) -> Any:
        """Two-sided, of no difference."""
        import numpy as np
        from scipy.special import stdtr

        sizes = np.abs(self.statistic)
        found = np.where(np.isinf(sizes), self.least_p, 2 * stdtr(self.freedom, -sizes))
        return number_or_array(above_zero(found))

    def at(self, bound: Any) -> Any:
        """Return the t statistic of the difference minus `bound`."""
        import numpy as np

        gap = self.difference - bound
        with np.errstate(all="ignore"):
            found = np.divide(gap, self.error)
        return number_or_array(np.where((gap == 0) & (self.error == 0), 0.0, found))

    def p_above(self, bound: float) -> Any:
        """Return the p-value of a difference of at most `bound`: small if it is known to lie above."""
        return self._upper_tail(self.at(bound))

    def p_below(self, bound: float) -> Any:
        """Return the p-value of a difference of at least `bound`: small if it is known to lie below."""
        return self._upper_tail(-self.at(bound))

    def p_within(self, margin: float) -> Any:
        """Return the p-value of a difference of at least `margin` to one of the sides: two one-sided tests.

        References
        ----------
        Schuirmann, D. J. (1987), "A comparison of the two one-sided tests procedure and the power approach", Journal of
        Pharmacokinetics and Biopharmaceutics 15, 657-680.
        """
        import numpy as np

        return number_or_array(np.maximum(self.p_above(-margin), self.p_below(margin)))

    def interval(self, confidence: float = 0.95) -> tuple[Any, Any]:
        """Return both ends of the interval of the difference."""
        import numpy as np
        from scipy.special import stdtrit

        quantile = stdtrit(self.freedom, (1 + confidence) / 2)
        with np.errstate(over="ignore"):
            half_width = number_or_array(np.where(self.error == 0, 0.0, quantile * self.error))
            return self.difference - half_width, self.difference + half_width

    def _upper_tail(self, statistic: Any) -> Any:
        import numpy as np
        from scipy.special import stdtr

        # Where nothing varies, on the bound is not beyond it.
        constant = np.isinf(statistic) | (self.error == 0)
        of_constant = np.where(statistic > 0, self.least_p / 2, 1.0)
        found = np.where(constant, of_constant, stdtr(self.freedom, -statistic))
        return number_or_array(above_zero(found))


def _inverse(count: int) -> float:
    return 1 / count if count < 10**300 else 0.0
