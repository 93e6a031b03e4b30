"""Built-in verifiers.

Each compares a treatment with the baseline on one number for each replicate (the mean, if a replicate
recorded several), and returns a dict:

``p_value``
    Probability, if the conditions do not differ, of a statistic at least as far from zero; two-sided.
``statistic``, ``degrees_of_freedom``
    The test's statistic, positive if the treatment's values are larger; the second where the test has it.
``difference``, ``interval``
    Mean of the treatment minus mean of the baseline, and both ends of its confidence interval at 1 - alpha.
``significant``
    Whether ``p_value <= alpha``, for this one test alone; None if the p-value is NaN.
``n``
    The number of values: of each condition, or of pairs.

For several metrics in one group, the result is a dict of such dicts by metric. A p-value speaks for one
comparison; what a hypothesis says of several treatments, it says by :attr:`HypothesisResult.adjusted_p_values`.

A difference that is no more than the rounding of the values (:data:`~crystallize.statistics.samples.ROUNDING`) is zero.
Values that are not finite give NaN, which decides nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crystallize.errors import InvalidTypeError, InvalidValueError, MissingMetricError
from crystallize.statistics.samples import (
    ROUNDING,
    ConditionSamples,
    Moments,
    as_numbers,
    difference_of_means,
    moments,
    paired_differences,
    scaled,
)
from crystallize.statistics.verifier import verifier
from crystallize.utils.suggest import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crystallize.statistics.samples import FloatArray, NumberArray

_NAN = math.nan
_CHUNK = 2_000_000  # random signs in memory at a time


def check_share(name: str, value: Any) -> None:
    """Refuse a `value` that is no number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTypeError(f"{name} is a number between 0 and 1, got {value!r}")
    if not 0 < value < 1:
        raise InvalidValueError(f"{name} lies between 0 and 1, got {value!r}")


def _check_alpha(alpha: Any) -> None:
    check_share("alpha", alpha)


def _check_resampling(alpha: Any, resamples: Any, seed: Any) -> None:
    _check_alpha(alpha)
    for name, value, least in (("resamples", resamples, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidTypeError(f"{name} is an int, got {value!r}")
        if value < least:
            raise InvalidValueError(f"{name} is at least {least}, got {value!r}")


@verifier(check=_check_alpha)
def welch_t_test(
    baseline_samples: Mapping[str, Any], treatment_samples: Mapping[str, Any], *, alpha: float = 0.05
) -> dict[str, Any]:
    """Welch's t-test of the means of two independent samples, whose variances may differ.

    Baseline and treatment share random numbers within a replicate; where that makes them alike,
    :func:`paired_t_test` sees smaller differences.

    Parameters
    ----------
    baseline_samples, treatment_samples : mapping of str to sequence of float
        Values by metric.
    alpha : float
        Significance level; the interval is at 1 - alpha.

    Returns
    -------
    dict
        See the module. ``n`` is a tuple, the baseline's number first. With fewer than two values in a
        condition all but ``difference`` and ``n`` is NaN. If neither condition varies, equal means give
        ``p_value`` 1 and different ones 0.

    References
    ----------
    Welch, B. L. (1947), "The generalization of 'Student's' problem when several different population
    variances are involved", Biometrika 34, 28-35.
    """

    def compare(metric: str) -> dict[str, Any]:
        a, b = _moments(baseline_samples, metric), _moments(treatment_samples, metric)
        error_a, error_b = a.sd / math.sqrt(a.n or 1), b.sd / math.sqrt(b.n or 1)
        error = math.hypot(error_a, error_b)
        if error > 0:
            # Welch-Satterthwaite, on shares of the error: powers of large or tiny numbers are no floats.
            freedom = 1 / ((error_a / error) ** 4 / (a.n - 1) + (error_b / error) ** 4 / (b.n - 1))
        else:
            freedom = float(a.n + b.n - 2) if error == 0 else _NAN
        return _student(difference_of_means(a, b), error, freedom, alpha) | {"n": (a.n, b.n)}

    return _for_each_metric(compare, baseline_samples, treatment_samples)


@verifier(check=_check_alpha)
def paired_t_test(
    baseline_samples: Mapping[str, Any], treatment_samples: Mapping[str, Any], *, alpha: float = 0.05
) -> dict[str, Any]:
    """Student's t-test of the differences within replicates.

    Parameters
    ----------
    baseline_samples, treatment_samples : mapping of str to sequence of float
        Values by metric; those at one position belong together.
    alpha : float
        Significance level; the interval is at 1 - alpha.

    Returns
    -------
    dict
        See the module. ``n`` is the number of pairs. With fewer than two pairs all but ``difference`` and
        ``n`` is NaN. If the differences do not vary, ``p_value`` is 1 if they are zero and 0 if not.

    References
    ----------
    Student (1908), "The probable error of a mean", Biometrika 6, 1-25.
    """

    def compare(metric: str) -> dict[str, Any]:
        return mean_of_differences(_differences(baseline_samples, treatment_samples, metric), alpha)

    return _for_each_metric(compare, baseline_samples, treatment_samples)


@verifier(check=_check_resampling)
def sign_flip_test(
    baseline_samples: Mapping[str, Any],
    treatment_samples: Mapping[str, Any],
    *,
    alpha: float = 0.05,
    resamples: int = 9999,
    seed: int = 0,
) -> dict[str, Any]:
    """Randomisation test of the differences within replicates, which assumes no distribution.

    If the conditions do not differ, baseline and treatment could be exchanged within any replicate: each
    difference could as well have the other sign. The p-value is the share of such exchanges, the observed
    one among them, whose mean difference is at least as far from zero. All are tried if there are at most
    ``resamples + 1`` that matter; otherwise random ones are, and the test stays exact (Phipson and Smyth).
    The interval holds the shifts that the same test does not reject (Hartigan). It is infinite where there
    are too few pairs for any claim at level `alpha`.

    Parameters
    ----------
    baseline_samples, treatment_samples : mapping of str to sequence of float
        Values by metric; those at one position belong together.
    alpha : float
        Significance level; the interval is at 1 - alpha.
    resamples : int
        Number of random exchanges. The smallest possible p-value is ``1 / (resamples + 1)``.
    seed : int
        Seed of the random exchanges: the same data give the same result.

    Returns
    -------
    dict
        See the module. ``statistic`` is the mean difference, ``n`` the number of pairs.

    References
    ----------
    Fisher, R. A. (1935), The Design of Experiments, section 21. Hartigan, J. A. (1969), "Using subsample
    values as typical values", Journal of the American Statistical Association 64, 1303-1317. Phipson, B. and
    Smyth, G. K. (2010), "Permutation p-values should never be zero", Statistical Applications in Genetics
    and Molecular Biology 9, 39.
    """

    def compare(metric: str) -> dict[str, Any]:
        differences = _differences(baseline_samples, treatment_samples, metric)
        return _flip_signs(differences, alpha, resamples, seed)

    return _for_each_metric(compare, baseline_samples, treatment_samples)


def mean_of_differences(differences: FloatArray, alpha: float) -> dict[str, Any]:
    """Return Student's t-test of `differences` (1-D) against zero, in the form that the module describes."""
    n, mean, sd, *_ = moments(differences)
    return _student(mean, sd / math.sqrt(n or 1), float(n - 1) if n > 1 else _NAN, alpha) | {"n": n}


def _student(difference: float, error: float, freedom: float, alpha: float) -> dict[str, Any]:
    """Return the two-sided t-test of ``difference / error``, and the interval: NaN for an infinite difference."""
    if not math.isfinite(difference):
        error = _NAN
    if error > 0:
        from scipy.special import stdtr, stdtrit

        statistic = difference / error
        p_value = float(2 * stdtr(freedom, -abs(statistic)))
        half_width = float(stdtrit(freedom, 1 - alpha / 2)) * error
    elif error == 0:
        statistic = math.copysign(math.inf, difference) if difference else 0.0
        p_value = 0.0 if difference else 1.0
        half_width = 0.0
    else:
        statistic = p_value = half_width = freedom = _NAN
    return {
        "p_value": p_value,
        "statistic": statistic,
        "degrees_of_freedom": freedom,
        "difference": difference,
        "interval": (difference - half_width, difference + half_width),
        "significant": _is_significant(p_value, alpha),
    }


def _is_significant(p_value: float, alpha: float) -> bool | None:
    return None if math.isnan(p_value) else p_value <= alpha


def _flip_signs(differences: FloatArray, alpha: float, resamples: int, seed: int) -> dict[str, Any]:
    import numpy as np

    n = len(differences)
    mean = moments(differences).mean
    result: dict[str, Any] = {
        "p_value": _NAN,
        "statistic": mean,
        "difference": mean,
        "interval": (_NAN, _NAN),
    }
    if n and np.isfinite(differences).all():
        differences, exponent = scaled(differences)
        mean = moments(differences).mean
        sums, counts = _sums_of_subsets(differences, resamples, seed)
        total = float(differences.sum())
        # Flipping a subset takes twice its sum from the total. Sums that should be equal differ by rounding.
        rounding = ROUNDING * float(np.abs(differences).sum())
        as_far = int(np.count_nonzero(np.abs(total - 2 * sums) >= abs(total) - rounding))
        tried = len(sums)
        result["p_value"] = (as_far + 1) / (tried + 1)
        # The means of a subset of replicates and of its complement are where the test's answer changes. A
        # random subset may be empty: that exchange, like the observed one, counts at every shift.
        some = counts > 0
        sums, counts = sums[some], counts[some]
        typical = np.sort(
            np.concatenate([sums / counts, (total - sums) / (n - counts), [mean] * (tried - len(sums) + 1)])
        )
        outside = math.floor(alpha * (tried + 1) * (1 + 1e-12)) - (tried - len(sums))
        if outside > 0:
            low, high = np.ldexp(typical[[outside - 1, -outside]], exponent)
            result["interval"] = (float(low), float(high))
        else:
            result["interval"] = (-math.inf, math.inf)
    return result | {"significant": _is_significant(result["p_value"], alpha), "n": n}


def _sums_of_subsets(values: FloatArray, resamples: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Return sums and sizes of subsets of `values`, neither empty nor whole.

    A subset and its complement are one exchange with two signs, so only subsets without the last value are
    taken: all of them, or random ones.
    """
    import numpy as np

    free = len(values) - 1
    everything = free < 63 and 2**free - 1 <= resamples
    wanted = 2**free - 1 if everything else resamples
    columns = np.stack([values[:-1], np.ones(free)], axis=1)
    rng = np.random.default_rng(seed)
    parts = []
    step = max(1, _CHUNK // max(free, 1))
    for start in range(0, wanted, step):
        rows = min(step, wanted - start)
        if everything:
            numbers = np.arange(start + 1, start + rows + 1, dtype=np.int64)
            chosen = (numbers[:, None] >> np.arange(free)) & 1
        else:
            chosen = rng.integers(0, 2, size=(rows, free), dtype=np.int8)
        parts.append(chosen.astype(np.float64) @ columns)
    found = np.concatenate(parts) if parts else np.empty((0, 2))
    return found[:, 0], found[:, 1]


def _for_each_metric(
    compare: Callable[[str], dict[str, Any]], baseline: Mapping[str, Any], treatment: Mapping[str, Any]
) -> dict[str, Any]:
    if not baseline or set(baseline) != set(treatment):
        raise MissingMetricError(
            "the baseline and the treatment have no metric, or not the same ones",
            f"baseline: {listed(baseline)}; treatment: {listed(treatment)}",
        )
    found = {metric: compare(metric) for metric in baseline}
    return found if len(found) > 1 else next(iter(found.values()))


def _numbers(samples: Mapping[str, Any], metric: str) -> NumberArray:
    if isinstance(samples, ConditionSamples):
        return samples.per_replicate(metric)
    return as_numbers(samples[metric], metric)


def _moments(samples: Mapping[str, Any], metric: str) -> Moments:
    if isinstance(samples, ConditionSamples):
        return samples.moments(metric)
    return moments(as_numbers(samples[metric], metric))


def _differences(baseline: Mapping[str, Any], treatment: Mapping[str, Any], metric: str) -> FloatArray:
    left, right = _numbers(baseline, metric), _numbers(treatment, metric)
    if len(left) != len(right):
        raise InvalidValueError(
            f"metric {metric!r} is compared in pairs, but has {len(left)} and {len(right)} values"
        )
    return paired_differences(left, right)
