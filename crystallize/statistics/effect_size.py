"""How large a difference is: in standard deviations, in pairs, and what it gained to compare pairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from crystallize.statistics.intervals import NO_INTERVAL, Interval
from crystallize.statistics.noncentral_t import noncentrality_interval
from crystallize.statistics.samples import moments, paired_differences

if TYPE_CHECKING:
    from crystallize.statistics.samples import FloatArray, NumberArray


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


def pairing(baseline: NumberArray, treatment: NumberArray) -> Pairing | None:
    """Return what pairing gained; None if there are less than two pairs, or a condition or the difference never varies.

    References
    ----------
    Law, A. M. (2015), Simulation Modeling and Analysis, 5th ed., section 11.2, on common random numbers.
    """
    a, b, difference = (
        moments(values).sd for values in (baseline, treatment, paired_differences(baseline, treatment))
    )
    if not (a > 0 and b > 0 and difference > 0):
        return None
    # On shares of the largest: squares of large or tiny numbers are no floats.
    unit = max(a, b, difference)
    a, b, difference = a / unit, b / unit, difference / unit
    if not (a * b > 0 and difference * difference > 0):
        return None
    correlation = (a * a + b * b - difference * difference) / (2 * a * b)
    return Pairing(max(-1.0, min(1.0, correlation)), (a * a + b * b) / difference**2)


def share_larger(differences: FloatArray) -> float:
    """Return the share of `differences` (1-D) above zero; NaN if there are none. A tie is not larger."""
    n = len(differences)
    return float((differences > 0).sum()) / n if n else math.nan
