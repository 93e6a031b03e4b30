"""The noncentral t distribution: of the t statistic where there is an effect. Power and effect sizes rest on it.

SciPy's functions have two traps. ``nctdtrinc``, the inverse for the noncentrality, is right to nine digits only; and
``nctdtr`` is NaN in the far lower tail for some arguments, so that a search for a sample size that trusts it asked for
4,562 pairs in place of 34.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_FAR = 1e-15  # a probability below this is none
_MOST_STEPS = 200


def noncentral_t_cdf(t: float, freedom: float, noncentrality: float) -> float:
    """Return the probability that a noncentral t is at most `t`.

    Parameters
    ----------
    t : float
        The statistic.
    freedom : float
        Degrees of freedom, not necessarily an integer.
    noncentrality : float
        Mean of the normal variable in the numerator: the effect in units of the standard error.
    """
    from scipy.special import nctdtr, ndtr

    if noncentrality < 0:
        return 1 - noncentral_t_cdf(-t, freedom, -noncentrality)
    found = float(nctdtr(freedom, noncentrality, t))
    # A negative t takes a negative numerator, which is at most this likely.
    if math.isnan(found) and t <= 0 and ndtr(-noncentrality) < _FAR:
        return 0.0
    return found


def noncentrality_interval(t: float, freedom: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the noncentralities that do not contradict an observed `t`: its exact confidence interval.

    References
    ----------
    Steiger, J. H. and Fouladi, R. T. (1997), "Noncentrality interval estimation and the evaluation of statistical
    models", in: What If There Were No Significance Tests?, 221-257.
    """
    if not (math.isfinite(t) and freedom > 0):
        return math.nan, math.nan
    tail = (1 - confidence) / 2

    def end(probability: float) -> float:
        step = 1.0 + abs(t)
        low, high = t - step, t + step
        while noncentral_t_cdf(t, freedom, low) < probability:
            low -= step
        while noncentral_t_cdf(t, freedom, high) > probability:
            high += step
        return bisect(lambda nc: probability - noncentral_t_cdf(t, freedom, nc), low, high)

    return end(1 - tail), end(tail)


def bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where an increasing `function` passes zero between `low` and `high`, to the last digits of a float."""
    for _ in range(_MOST_STEPS):
        middle = low + (high - low) / 2
        if not low < middle < high:
            break
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return high
