"""Dunnett's test: the standard deviation that all conditions share, and the largest of their t statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from crystallize.statistics.moments import paired_differences, rounding_of, scaled
from crystallize.statistics.noncentral_t import bisect, scale_nodes

if TYPE_CHECKING:
    from crystallize.statistics.moments import FloatArray, Moments, NumberArray

_NODES = 96


def pooled_sd(conditions: Sequence[Moments]) -> tuple[float, float]:
    """Return the standard deviation within independent conditions, and its degrees of freedom."""
    freedom = sum(each.n - 1 for each in conditions)
    if freedom <= 0:
        return math.nan, freedom
    parts = (each.sd * math.sqrt(each.n - 1) for each in conditions if each.n > 1)
    return math.hypot(*parts) / math.sqrt(freedom), freedom


def residual_sd(conditions: Sequence[NumberArray]) -> tuple[float, float]:
    """Return the standard deviation within replicates that conditions do not explain, and its degrees of freedom."""
    import numpy as np

    first, n = conditions[0], len(conditions[0])
    if n < 2:
        return math.nan, math.nan
    table = np.stack([paired_differences(first, values) for values in conditions])
    freedom = float((len(conditions) - 1) * (n - 1))
    if not np.isfinite(table).all():
        return math.nan, freedom
    whole, (exponent,) = scaled(table.reshape(1, -1))
    table = whole.reshape(table.shape)
    table -= table.mean(axis=1, keepdims=True)
    table -= table.mean(axis=0)
    sd = math.ldexp(math.sqrt(float((table**2).sum()) / freedom), int(exponent))
    return (sd if sd > rounding_of(*conditions) else 0.0), freedom


def dunnett_p_value(statistic: float, loadings: Sequence[float], freedom: float) -> float:
    """Return the chance that any of several t statistics is as far from zero, if no treatment differs.

    Parameters
    ----------
    statistic : float
        One treatment's t.
    loadings : sequence of float
        For each treatment ``sqrt(n / (n + n_control))``: the correlation of two of them is the product.
    freedom : float
        Degrees of freedom of the variance that all share.

    Notes
    -----
    The multivariate t integral is the mean, over the control's error and the shared standard deviation, of a product
    over treatments: a quadrature over two variables, the same in every call. It is good to ten digits for some dozens
    of treatments, and to five for a thousand.

    References
    ----------
    Dunnett, C. W. (1955), "A multiple comparison procedure for comparing several treatments with a control", Journal
    of the American Statistical Association 50, 1096-1121.
    """
    if math.isnan(statistic) or not freedom > 0:
        return math.nan
    return max(0.0, 1 - _within(abs(statistic), tuple(loadings), freedom))


def dunnett_quantile(loadings: Sequence[float], freedom: float, confidence: float = 0.95) -> float:
    """Return what all of the t statistics together stay within, at this level; see :func:`dunnett_p_value`."""
    if not freedom > 0:
        return math.nan
    known = tuple(loadings)
    high = 4.0
    while _within(high, known, freedom) < confidence:
        high *= 2
    return bisect(lambda bound: _within(bound, known, freedom) - confidence, 0.0, high)


def _within(bound: float, loadings: tuple[float, ...], freedom: float) -> float:
    import numpy as np
    from scipy.special import ndtr

    control, weights = _normal_nodes()
    scales, shares = scale_nodes(freedom)
    inside = np.ones((len(scales), len(control)))
    for loading in set(loadings):
        own = math.sqrt(1 - loading * loading)
        shift, reach = loading * control / own, bound * scales[:, None] / own
        inside *= (ndtr(shift + reach) - ndtr(shift - reach)) ** loadings.count(loading)
    return float(shares @ inside @ weights)


@cache
def _normal_nodes() -> tuple[FloatArray, FloatArray]:
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()
