"""The noncentral t distribution: of the t statistic where there is an effect. Power and effect sizes rest on it.

SciPy's functions have three traps. ``nctdtrinc``, the inverse for the noncentrality, is right to nine digits only.
``nctdtr`` is NaN for some arguments with many degrees of freedom, so that a search for a sample size that trusts it
asked for 4,562 pairs in place of 34; and beyond a noncentrality of some thousands it loses digits, and then all of
them. There the distribution is integrated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crystallize.statistics.moments import FloatArray

_MOST_TRUSTED = 1000.0  # of noncentralities, by ``nctdtr``; measured: from 4000 on it loses digits
_FAR = 9.0  # standard deviations of a normal variable, beyond which there is nothing
_NEVER_BELOW_ZERO = 40.0  # is a normal variable with this mean
_NODES = 96  # of each integral: the probability is then right to eleven digits
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
    from scipy.special import nctdtr

    if noncentrality < 0:
        return 1 - noncentral_t_cdf(-t, freedom, -noncentrality)
    found = math.nan if noncentrality > _MOST_TRUSTED else float(nctdtr(freedom, noncentrality, t))
    return _integral(t, freedom, noncentrality) if math.isnan(found) else found


def _integral(t: float, freedom: float, noncentrality: float) -> float:
    """Integrate over the denominator, or else over the numerator: the one that `t` does not make a step of."""
    import numpy as np
    from scipy.special import chdtr, chdtrc, ndtr

    if t * t <= 2 * freedom:
        scales, shares = scale_nodes(freedom)
        return float(shares @ ndtr(t * scales - noncentrality))
    if t < 0 and noncentrality > _NEVER_BELOW_ZERO:
        return 0.0
    # A numerator below zero makes t negative, whatever the denominator is, and one above zero makes it positive.
    low, high = (max(-noncentrality, -_FAR), _FAR) if t > 0 else (-noncentrality - _FAR, -noncentrality)
    nodes, weights = _legendre_nodes()
    errors = low + (high - low) * nodes
    density = weights * (high - low) * np.exp(-errors * errors / 2) / math.sqrt(2 * math.pi)
    with np.errstate(over="ignore"):
        squares = freedom * ((errors + noncentrality) / t) ** 2
    if t > 0:
        return float(ndtr(-noncentrality) + density @ chdtrc(freedom, squares))
    return float(density @ chdtr(freedom, squares))


@lru_cache(maxsize=1)
def _legendre_nodes() -> tuple[FloatArray, FloatArray]:
    """Return nodes between 0 and 1, and the weights of the integral over them."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (nodes + 1) / 2, weights / 2


@lru_cache(maxsize=256)
def scale_nodes(freedom: float) -> tuple[FloatArray, FloatArray]:
    """Return values of a standard deviation with this many degrees of freedom, and the probability of each."""
    import numpy as np
    from scipy.special import chdtri

    nodes, weights = _legendre_nodes()
    low, high = (math.sqrt(float(chdtri(freedom, tail)) / freedom) - 1 for tail in (1 - 1e-16, 1e-16))
    beyond = low + (high - low) * nodes
    # Counted from 1, near which they lie: many degrees of freedom multiply what is lost.
    slopes = np.log1p(beyond)
    logarithms = freedom * (slopes - beyond - beyond * beyond / 2) - slopes
    density = np.exp(logarithms - logarithms.max()) * weights
    return 1 + beyond, density / density.sum()


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
