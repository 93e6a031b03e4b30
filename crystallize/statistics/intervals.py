"""Confidence intervals: of a mean, a share, a difference of shares, a ratio of means.

The default for a mean of paired differences is Student's. In simulations it covers what it promises, or nearly, where
percentile and BCa bootstraps miss by up to twelve points with five pairs. It falls short for very skewed differences
(ten exponential ones: 90.5 %), for which :func:`bootstrap_t_interval` is there.

An interval is a tuple of its two ends. Both are NaN where there are too few values for one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from crystallize.statistics.moments import as_floats, moments, paired_differences, scaled

if TYPE_CHECKING:
    from crystallize.statistics.moments import FloatArray, NumberArray

Interval = tuple[float, float]
NO_INTERVAL: Interval = (math.nan, math.nan)

_CHUNK = 2_000_000  # resampled values in memory at a time


def student_interval(n: int, mean: float, sd: float, confidence: float = 0.95) -> Interval:
    """Return Student's interval of a mean, from what :func:`~crystallize.statistics.moments.moments` returns first.

    Parameters
    ----------
    n : int
        How many values there are.
    mean, sd : float
        Their mean, and their standard deviation with ``n - 1``.
    confidence : float
        How often such intervals hold the mean, between 0 and 1.

    References
    ----------
    Student (1908), "The probable error of a mean", Biometrika 6, 1-25.
    """
    if n < 2 or not math.isfinite(mean) or math.isnan(sd):
        return NO_INTERVAL
    half_width = t_quantile(n - 1, confidence) * sd / math.sqrt(n)
    return mean - half_width, mean + half_width


@lru_cache(maxsize=1024)
def t_quantile(freedom: float, confidence: float) -> float:
    """Return the number that Student's t with this many degrees of freedom stays within, at this level."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + confidence) / 2))


def bootstrap_t_interval(
    values: FloatArray, confidence: float = 0.95, *, resamples: int = 9999, seed: int = 0
) -> Interval:
    """Return the interval of the mean of `values` (1-D) from resampled t statistics.

    Unlike Student's it follows the skew of the values. It is infinite on a side where too many resamples do not
    vary, as with three values.

    References
    ----------
    Efron, B. and Tibshirani, R. J. (1993), An Introduction to the Bootstrap, section 12.5.
    """
    import numpy as np

    n, mean, sd, *_ = moments(values)
    if n < 2 or not math.isfinite(mean) or math.isnan(sd):
        return NO_INTERVAL
    if sd == 0:
        return mean, mean
    rng = np.random.default_rng(seed)
    centred = (values - mean) / sd
    parts = []
    rows = max(1, _CHUNK // n)
    for start in range(0, resamples, rows):
        drawn = centred[rng.integers(0, n, size=(min(rows, resamples - start), n))]
        means = drawn.mean(axis=1)
        varies = drawn.min(axis=1) < drawn.max(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = means / (drawn.std(axis=1, ddof=1) / math.sqrt(n))
        parts.append(np.where(varies, found, np.copysign(np.inf, means)))
    statistics = np.sort(np.concatenate(parts))
    outside = max(1, math.floor((1 - confidence) / 2 * (resamples + 1) * (1 + 1e-12)))
    error = sd / math.sqrt(n)
    return mean - float(statistics[-outside]) * error, mean - float(statistics[outside - 1]) * error


class ClusteredMean(NamedTuple):
    """The mean of values that come in clusters, its standard error, how many clusters there are, and the freedom."""

    mean: float
    error: float
    clusters: int
    freedom: float

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return Student's interval of the mean."""
        if math.isnan(self.error):
            return NO_INTERVAL
        half_width = t_quantile(self.freedom, confidence) * self.error
        return self.mean - half_width, self.mean + half_width


def clustered_mean(
    values: FloatArray,
    clusters: Sequence[Hashable],
    replicates: Sequence[Hashable] | None = None,
    rounding: float = 0.0,
) -> ClusteredMean:
    """Return the mean of `values` (1-D) whose errors are alike within a cluster, and its standard error.

    The values of one cluster, such as one patient, are allowed to depend on each other in any way; clusters are taken
    to be independent. With one value in each cluster the result is the ordinary one, with as many degrees of freedom as
    there are clusters, less one. If a replicate has values of several clusters, these depend on each other too: then
    variance comes from both, and has Satterthwaite's degrees of freedom.

    Parameters
    ----------
    values : numpy.ndarray
        One of each cluster in each replicate, 1-D.
    clusters, replicates : sequence
        Whose each value is; by default each is of a replicate of its own.
    rounding : float
        If clusters differ by no more than this, that of what the values are made from, they do not differ.

    References
    ----------
    Liang, K.-Y. and Zeger, S. L. (1986), "Longitudinal data analysis using generalized linear models", Biometrika 73,
    13-22, with the factor G / (G - 1) for G clusters. Miller, E. (2024), "Adding error bars to evals",
    arXiv:2411.00640, section 2.2. Cameron, A. C., Gelbach, J. B. and Miller, D. L. (2011), "Robust inference with
    multiway clustering", Journal of Business and Economic Statistics 29, 238-249.
    """
    n, mean, *_ = moments(values)
    groups = len(set(clusters))
    if groups < 2 or not math.isfinite(mean):
        return ClusteredMean(mean, math.nan, groups, math.nan)
    each = range(n)
    (errors,), (exponent,) = scaled((values - mean)[None])  # squares of large or tiny ones are no floats
    variance, _ = _variance_of_mean(errors, clusters)
    freedom = groups - 1.0
    of_replicates, count = _variance_of_mean(errors, each if replicates is None else replicates)
    if 1 < count < n:
        of_cells, _ = _variance_of_mean(errors, each)
        more = max(of_replicates - of_cells, of_replicates - variance, 0.0)
        if more > 0:
            freedom = (variance + more) ** 2 / (variance**2 / (groups - 1) + more**2 / (count - 1))
        variance += more
    error = math.ldexp(math.sqrt(variance), int(exponent))
    if error <= rounding:
        mean, error = (0.0 if abs(mean) <= rounding else mean), 0.0
    return ClusteredMean(mean, error, groups, freedom)


def _variance_of_mean(errors: FloatArray, names: Sequence[Hashable]) -> tuple[float, int]:
    """Return the variance of a mean whose errors are alike where values have one name, and how many names there are."""
    import numpy as np

    places: dict[Hashable, int] = {}
    which = np.array([places.setdefault(name, len(places)) for name in names], dtype=np.intp)
    groups = len(places)
    if groups < 2:
        return math.nan, groups
    sums = np.bincount(which, weights=errors, minlength=groups) / len(errors)
    return groups / (groups - 1) * float(sums @ sums), groups


class Ratio(NamedTuple):
    """A ratio of two means, and its interval."""

    ratio: float
    interval: Interval


def ratio_of_means(baseline: NumberArray, treatment: NumberArray, confidence: float = 0.95) -> Ratio | None:
    """Return the treatment's mean divided by the baseline's, of pairs, with Fieller's interval.

    Returns
    -------
    Ratio or None
        None with less than two pairs, if the baseline's values do not all have one sign, and if its mean is so
        uncertain that it may be zero: a ratio to something that may be zero says nothing.

    References
    ----------
    Fieller, E. C. (1954), "Some problems in interval estimation", Journal of the Royal Statistical Society B 16,
    175-185.
    """
    import numpy as np

    n = len(baseline)
    differences = paired_differences(baseline, treatment)
    baseline, treatment = as_floats(baseline), as_floats(treatment)
    if n < 2 or not (np.isfinite(baseline).all() and np.isfinite(treatment).all()):
        return None
    if not ((baseline > 0).all() or (baseline < 0).all()):
        return None
    scale = float(np.abs(baseline).max())
    with np.errstate(over="ignore", invalid="ignore"):
        # Squares of large numbers are no floats. The ratio less one is that of the differences, which keeps its digits.
        below, above = baseline / scale, differences / scale
        (a, b), covariance = (float(below.mean()), float(above.mean())), np.cov(below, above)
    if not (math.isfinite(b * b) and np.isfinite(covariance).all()):
        return None  # the ratio itself is too large to say anything of
    t2 = t_quantile(n - 1, confidence) ** 2 / n
    # The ratios r for which mean(differences - r * baseline) is no further from zero than Student's t allows.
    square = a * a - t2 * float(covariance[0, 0])
    middle = a * b - t2 * float(covariance[0, 1])
    constant = b * b - t2 * float(covariance[1, 1])
    if square <= 0:
        return None
    root = math.sqrt(max(0.0, middle * middle - square * constant))
    return Ratio(1 + b / a, (1 + (middle - root) / square, 1 + (middle + root) / square))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share, `successes` of `n`.

    References
    ----------
    Wilson, E. B. (1927), "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22, 209-212. Newcombe, R. G. (1998), Statistics in Medicine 17, 857-872, method 3.
    """
    if n < 1:
        return NO_INTERVAL
    z = _normal_quantile(confidence)
    share = successes / n
    centre = share + z * z / (2 * n)
    half_width = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    whole = 1 + z * z / n
    # The ends of none and of all are exact, not what rounding leaves of them.
    low = 0.0 if successes == 0 else (centre - half_width) / whole
    high = 1.0 if successes == n else (centre + half_width) / whole
    return low, high


def interval_of_changes(lost: int, gained: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the interval of a difference of two shares of the same `n` pairs.

    Parameters
    ----------
    lost, gained : int
        In how many pairs the baseline alone was true, and in how many the treatment alone.
    n : int
        How many pairs there are.

    References
    ----------
    Agresti, A. and Min, Y. (2005), "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24, 729-740: Wald's interval with half a pair added to each of the four kinds.
    """
    if n < 1:
        return NO_INTERVAL
    total, change, either = n + 2, gained - lost, gained + lost + 1
    centre = change / total
    half_width = _normal_quantile(confidence) * math.sqrt(either - change * change / total) / total
    return max(-1.0, centre - half_width), min(1.0, centre + half_width)


def _normal_quantile(confidence: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + confidence) / 2))
