"""How large a difference is: in standard deviations, in pairs, and what it gained to compare pairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from crystallize.statistics.intervals import NO_INTERVAL, Interval
from crystallize.statistics.moments import moments
from crystallize.statistics.noncentral_t import noncentrality_interval

if TYPE_CHECKING:
    from crystallize.statistics.moments import FloatArray, Moments


_LEAST_SHARE = 1e-10  # of two standard deviations: from there on a correlation has five digits


class EffectSize(NamedTuple):
    """A mean difference in units of the standard deviation of the differences.

    Attributes
    ----------
    d : float
        Mean of the differences divided by their standard deviation: Cohen's d_z.
    g : float
        The same without its bias for few pairs: Hedges' g_z.
    interval : tuple of float
        Exact interval of `d`.
    """

    d: float
    g: float
    interval: Interval


def effect_size(differences: FloatArray, confidence: float = 0.95) -> EffectSize | None:
    """Return the standardised mean of paired `differences` (1-D); None if they are less than two or do not vary.

    References
    ----------
    Hedges, L. V. (1981), "Distribution theory for Glass's estimator of effect size and related estimators", Journal of
    Educational Statistics 6, 107-128. Lakens, D. (2013), Frontiers in Psychology 4, 863, for the paired form.
    """
    n, mean, sd, *_ = moments(differences)
    if n < 2 or not math.isfinite(mean) or not sd > 0:
        return None
    d = mean / sd
    ends = noncentrality_interval(d * math.sqrt(n), n - 1, confidence) if math.isfinite(d) else NO_INTERVAL
    return EffectSize(d, d * hedges_factor(n - 1), (ends[0] / math.sqrt(n), ends[1] / math.sqrt(n)))


def hedges_factor(freedom: float) -> float:
    """Return Hedges' exact factor J, which takes the bias from a standardised difference; NaN without freedom."""
    if not freedom > 1:
        return math.nan
    return math.exp(math.lgamma(freedom / 2) - 0.5 * math.log(freedom / 2) - math.lgamma((freedom - 1) / 2))


class Pairing(NamedTuple):
    """What it gained to compare within replicates.

    Attributes
    ----------
    correlation : float
        Of the two values of a pair. Below zero, pairing made the comparison worse.
    worth : float
        The variance of the difference of means without pairs, divided by that with pairs: so many times the replicates
        would have been needed without the random numbers in common.
    """

    correlation: float
    worth: float


def pairing(baseline: Moments, treatment: Moments, differences: Moments) -> Pairing | None:
    """Return what pairing gained, from the moments of both conditions and of the differences.

    Returns
    -------
    Pairing or None
        None if there are less than two pairs, if a condition or the difference never varies, or if one condition hardly
        varies beside the other.

    References
    ----------
    Law, A. M. (2015), Simulation Modeling and Analysis, 5th ed., section 11.2, on common random numbers.
    """
    spreads = (baseline.sd, treatment.sd, differences.sd)
    if not all(sd > 0 for sd in spreads):
        return None
    # On shares of the largest: squares of large or tiny numbers are no floats.
    a, b, difference = (sd / max(spreads) for sd in spreads)
    # The square of the smaller one is lost in that of the larger one, and the correlation with it.
    if not (min(a, b) > _LEAST_SHARE * max(a, b) and difference * difference > 0):
        return None
    correlation = (a * a + b * b - difference * difference) / (2 * a * b)
    return Pairing(max(-1.0, min(1.0, correlation)), (a * a + b * b) / difference**2)


def is_known_to_be_negative(correlation: float, n: int) -> bool:
    """Tell whether the correlation of `n` pairs is below zero at a level of 2.5 %.

    References
    ----------
    Fisher, R. A. (1921), "On the 'probable error' of a coefficient of correlation deduced from a small sample", Metron
    1, 3-32.
    """
    if n < 4 or correlation >= 0:
        return False
    return correlation <= -1 or math.atanh(correlation) + 1.96 / math.sqrt(n - 3) < 0


def share_larger(differences: FloatArray) -> float:
    """Return the share of `differences` (1-D) above zero; NaN if there are none. A tie is not larger."""
    n = len(differences)
    return float((differences > 0).sum()) / n if n else math.nan
