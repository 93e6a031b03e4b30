"""Power of t tests, exactly: by the noncentral t distribution.

The formula with normal quantiles, which many calculators use, asks for too few pairs where they are few: for an effect
of one standard deviation it says 8, whose power is 68 % and not 80 %.

Effects are in standard deviations: of the differences within pairs, or, unpaired, of one condition. A number of
replicates need not be an integer, so that published tables can be compared.
"""

from __future__ import annotations

import math
from functools import lru_cache

from crystallize.statistics.intervals import t_quantile
from crystallize.statistics.noncentral_t import bisect, noncentral_t_cdf, scale_nodes
from crystallize.statistics.verdicts import EQUIVALENT, NOT_WORSE

MOST = 1e9
"""More replicates than this are as good as infinitely many."""


def t_test_power(
    effect: float,
    n: float,
    *,
    alpha: float = 0.05,
    paired: bool = True,
    freedom_each: float | None = None,
    claim: str = "",
) -> float:
    """Return the chance that a t test finds an effect, or that there is none.

    Parameters
    ----------
    effect : float
        The true mean difference, in standard deviations. Of a test against a margin it is the margin, and there is no
        difference.
    n : float
        How many pairs; unpaired, how many replicates of each condition.
    alpha : float
        The test's level.
    paired : bool
        Whether the test is of differences within pairs, or of two independent samples of one variance.
    freedom_each : float, optional
        How many degrees of freedom each replicate but one gives; by default 1 of pairs, and 2 of independent samples.
        A test that takes the variance from more conditions has more.
    claim : str
        What the test says: ``"equivalent"`` of two one-sided tests against a margin, ``"not worse"`` of one; of any
        other the test is two-sided, and of a difference.

    References
    ----------
    Cohen, J. (1988), Statistical Power Analysis for the Behavioral Sciences, 2nd ed., chapter 2. Phillips, K. F.
    (1990), "Power of the two one-sided tests procedure in bioequivalence", Journal of Pharmacokinetics and
    Biopharmaceutics 18, 137-144.
    """
    freedom = (n - 1) * ((1 if paired else 2) if freedom_each is None else freedom_each)
    if not freedom > 0:
        return math.nan
    noncentrality = abs(effect) * math.sqrt(n if paired else n / 2)
    if claim == EQUIVALENT:
        return _power_of_both_sides(t_quantile(freedom, 1 - 2 * alpha), freedom, noncentrality)
    if claim == NOT_WORSE:
        return 1 - noncentral_t_cdf(t_quantile(freedom, 1 - 2 * alpha), freedom, noncentrality)
    bound = t_quantile(freedom, 1 - alpha)
    above = 1 - noncentral_t_cdf(bound, freedom, noncentrality)
    return above + noncentral_t_cdf(-bound, freedom, noncentrality)


def _power_of_both_sides(bound: float, freedom: float, margin: float) -> float:
    """Return the chance that a mean of zero is more than `bound` standard errors from both ends of a margin.

    It is that of a normal variable, given the standard deviation, over which it is integrated. The margin is in true
    standard errors.
    """
    import numpy as np
    from scipy.special import ndtr

    sds, shares = scale_nodes(freedom)
    return float(shares @ np.maximum(0.0, 2 * ndtr(margin - bound * sds) - 1))


def whole_replicates_needed(
    effect: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    paired: bool = True,
    freedom_each: float | None = None,
    claim: str = "",
) -> int | None:
    """Return the fewest pairs, or replicates of each condition, with this power; None if nobody has so many."""

    def suffice(n: int) -> bool:
        found = t_test_power(effect, n, alpha=alpha, paired=paired, freedom_each=freedom_each, claim=claim)
        return found >= power

    enough = 2
    while effect and not suffice(enough) and enough < MOST:
        enough *= 2
    if not effect or enough >= MOST:
        return None
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if suffice(middle):
            enough = middle
        else:
            too_few = middle
    return enough


@lru_cache(maxsize=1024)
def smallest_effect(
    n: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    paired: bool = True,
    freedom_each: float | None = None,
    claim: str = "",
) -> float:
    """Return the smallest effect, in standard deviations, that `n` replicates find with this power."""
    if not n >= 2:
        return math.inf

    def lacking(effect: float) -> float:
        found = t_test_power(effect, n, alpha=alpha, paired=paired, freedom_each=freedom_each, claim=claim)
        return found - power

    high = 1.0
    while lacking(high) < 0:
        high *= 2
    return bisect(lacking, 0.0, high)


def largest_sd(sd: float, freedom: float, assurance: float) -> float:
    """Return the standard deviation that the true one does not exceed, in this share of pilots.

    Planning with a pilot's standard deviation as it is gives too few replicates in more than half of all cases.

    References
    ----------
    Browne, R. H. (1995), "On the use of a pilot sample for sample size determination", Statistics in Medicine 14,
    1933-1940.
    """
    from scipy.special import chdtri

    return sd * math.sqrt(freedom / float(chdtri(freedom, assurance)))
