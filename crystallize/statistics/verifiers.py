"""Built-in verifiers.

Each compares a treatment with the baseline on one number for each replicate (the mean, if a replicate
recorded several), and returns a dict:

``p_value``
    Probability, if the conditions do not differ, of a statistic at least as far from zero; two-sided.
``statistic``, ``degrees_of_freedom``
    The test's statistic, positive if the treatment's values are larger; the second where the test has it.
``difference``, ``interval``
    Mean of the treatment minus mean of the baseline, and both ends of its confidence interval at 1 - alpha. Wilcoxon's
    test, which is not of means, has no interval.
``standard_error``
    Of the difference; None for shares, of which Student's t says little.
``significant``
    Whether ``p_value <= alpha``, for this one test alone; None if the p-value is NaN.
``n``
    The number of values: of each condition, or of pairs.

:func:`equivalence_test` and :func:`non_inferiority_test` turn the question round: a small ``p_value`` says that there
is *no* difference of a margin, and ``claim`` says what that is called. :func:`dunnett_test` looks at all treatments at
once, and gives an ``adjusted_p_value`` too.

For several metrics in one group, the result is a dict of such dicts by metric. A p-value speaks for one
comparison; what a hypothesis says of several treatments, it says by :attr:`HypothesisResult.adjusted_p_values`.

A difference that is no more than the rounding of the values (:data:`~crystallize.statistics.samples.ROUNDING`) is zero.
Values that are not finite give NaN, which decides nothing.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from crystallize.errors import CrystallizeError, InvalidValueError, MissingMetricError
from crystallize.statistics.dunnett import dunnett_p_value, dunnett_quantile, pooled_sd, residual_sd
from crystallize.statistics.intervals import NO_INTERVAL, interval_of_changes
from crystallize.statistics.mcnemar import count_changes
from crystallize.statistics.samples import (
    ConditionSamples,
    Moments,
    as_numbers,
    difference_of_means,
    moments,
    paired_differences,
)
from crystallize.statistics.sign_flip import flip_signs
from crystallize.statistics.t_tests import MeanDifference
from crystallize.statistics.verdicts import EQUIVALENT, NOT_WORSE
from crystallize.statistics.verifier import verifier
from crystallize.statistics.wilcoxon import signed_ranks
from crystallize.utils.checks import check_bool, check_count, check_share, check_size
from crystallize.utils.suggest import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize.statistics.samples import FloatArray, NumberArray
    from crystallize.statistics.verdicts import Direction
    from crystallize.statistics.wilcoxon import Method

    Samples = Mapping[str, Any]
    Found = dict[str, Any]

T = TypeVar("T")


# -- settings ------------------------------------------------------------------------------------------------


def _check_alpha(alpha: Any) -> None:
    check_share("alpha", alpha)


def _check_resampling(alpha: Any, resamples: Any, seed: Any) -> None:
    _check_alpha(alpha)
    check_count("resamples", resamples)
    check_count("seed", seed, least=0)


def _check_ranks(alpha: Any, method: Any) -> None:
    _check_alpha(alpha)
    if method not in ("auto", "exact", "normal"):
        raise InvalidValueError(f"method is 'auto', 'exact' or 'normal', got {method!r}")


def _check_paired(alpha: Any, paired: Any) -> None:
    _check_alpha(alpha)
    check_bool("paired", paired)


def _check_margin(alpha: Any, paired: Any, margin: Any, direction: Any = "max") -> None:
    _check_paired(alpha, paired)
    check_size("margin", margin)
    if direction not in ("min", "max"):
        raise InvalidValueError(
            f"direction is 'min' or 'max', got {direction!r}",
            hint="Say 'min' if smaller values are better, 'max' if larger ones are",
        )


# -- differences of means ------------------------------------------------------------------------------------


@verifier(check=_check_alpha)
def welch_t_test(baseline_samples: Samples, treatment_samples: Samples, *, alpha: float = 0.05) -> Found:
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
        ``p_value`` 1, and different ones the share of ways to divide the values that is as extreme.

    References
    ----------
    Welch, B. L. (1947), "The generalization of 'Student's' problem when several different population
    variances are involved", Biometrika 34, 28-35.
    """

    def compare(metric: str) -> Found:
        found, n = _mean_difference(baseline_samples, treatment_samples, metric, paired=False)
        return _report(found, alpha) | {"n": n}

    return _for_each_metric(compare, baseline_samples, treatment_samples)


@verifier(check=_check_alpha)
def paired_t_test(baseline_samples: Samples, treatment_samples: Samples, *, alpha: float = 0.05) -> Found:
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
        ``n`` is NaN. If the differences do not vary, ``p_value`` is 1 if they are zero, and if not that of the
        sign-flip test, ``2 ** (1 - n)``.

    References
    ----------
    Student (1908), "The probable error of a mean", Biometrika 6, 1-25.
    """

    def compare(metric: str) -> Found:
        found, n = _mean_difference(baseline_samples, treatment_samples, metric, paired=True)
        return _report(found, alpha) | {"n": n}

    return _for_each_metric(compare, baseline_samples, treatment_samples)


def _sign_flips(
    samples: Sequence[tuple[Samples, Samples]], *, alpha: float, resamples: int, seed: int
) -> list[Found | Exception]:
    """Test several treatments with the same random exchanges, which take most of the time."""
    found: list[Found | Exception] = [{} for _ in samples]
    differences: list[FloatArray] = []
    places: list[tuple[int, str]] = []
    for place, (baseline, treatment) in enumerate(samples):
        try:
            given = _for_each(partial(_differences, baseline, treatment), baseline, treatment)
        except CrystallizeError as error:
            found[place] = error
            continue
        differences += given.values()
        places += [(place, metric) for metric in given]
    flips = flip_signs(differences, alpha, resamples, seed)
    for (place, metric), values, flip in zip(places, differences, flips, strict=True):
        results = found[place]
        assert isinstance(results, dict)
        mean = MeanDifference.of_pairs(moments(values))
        results[metric] = {
            "p_value": flip.p_value,
            "statistic": mean.difference,
            "standard_error": mean.error,
            "difference": mean.difference,
            "interval": flip.interval,
            "significant": _is_significant(flip.p_value, alpha),
            "n": len(values),
        }
    return [each if isinstance(each, Exception) else _without_one_metric(each) for each in found]


@verifier(check=_check_resampling, many=_sign_flips)
def sign_flip_test(
    baseline_samples: Samples,
    treatment_samples: Samples,
    *,
    alpha: float = 0.05,
    resamples: int = 9999,
    seed: int = 0,
) -> Found:
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
    (found,) = _sign_flips(
        [(baseline_samples, treatment_samples)], alpha=alpha, resamples=resamples, seed=seed
    )
    if isinstance(found, Exception):
        raise found
    return found


@verifier(check=_check_ranks)
def wilcoxon_test(
    baseline_samples: Samples,
    treatment_samples: Samples,
    *,
    alpha: float = 0.05,
    method: Method = "auto",
) -> Found:
    """Wilcoxon's signed-rank test of the differences within replicates.

    It asks whether the differences lie symmetrically around zero, and outliers count by their rank only.

    Parameters
    ----------
    baseline_samples, treatment_samples : mapping of str to sequence of float
        Values by metric; those at one position belong together.
    alpha : float
        Significance level.
    method : {"auto", "exact", "normal"}
        How the p-value is found: "auto" is exact up to 50 pairs, with ties too.

    Returns
    -------
    dict
        See the module. ``statistic`` is the sum of the ranks of positive differences minus that of negative ones,
        ``n`` the number of pairs, zeros among them. There is no interval.

    References
    ----------
    Wilcoxon, F. (1945), "Individual comparisons by ranking methods", Biometrics Bulletin 1, 80-83.
    """

    def compare(metric: str) -> Found:
        differences = _differences(baseline_samples, treatment_samples, metric)
        found = signed_ranks(differences, method)
        mean = MeanDifference.of_pairs(moments(differences))
        return {
            "p_value": found.p_value,
            "statistic": found.positive - found.negative,
            "standard_error": mean.error,
            "difference": mean.difference,
            "significant": _is_significant(found.p_value, alpha),
            "n": len(differences),
        }

    return _for_each_metric(compare, baseline_samples, treatment_samples)


@verifier(check=_check_alpha)
def mcnemar_test(baseline_samples: Samples, treatment_samples: Samples, *, alpha: float = 0.05) -> Found:
    """McNemar's exact test of a metric that is true or false.

    Parameters
    ----------
    baseline_samples, treatment_samples : mapping of str to sequence of bool
        Values by metric, True or False, 1 or 0; those at one position belong together.
    alpha : float
        Significance level; the interval is at 1 - alpha.

    Returns
    -------
    dict
        See the module. ``statistic`` is the number of replicates in which only the treatment was true, minus that in
        which only the baseline was; ``difference`` is between the shares of true ones, with the interval of Agresti
        and Min; ``lost`` and ``gained`` are the two numbers.

    References
    ----------
    McNemar, Q. (1947), Psychometrika 12, 153-157. Agresti, A. and Min, Y. (2005), Statistics in Medicine 24, 729-740.
    """

    def compare(metric: str) -> Found:
        left, right = _pairs(baseline_samples, treatment_samples, metric)
        found = count_changes(left, right, metric)
        p_value = found.p_value if found.n else math.nan
        return {
            "p_value": p_value,
            "statistic": float(found.gained - found.lost),
            "standard_error": None,
            "difference": found.difference if found.n else math.nan,
            "interval": interval_of_changes(found.lost, found.gained, found.n, 1 - alpha),
            "significant": _is_significant(p_value, alpha),
            "n": found.n,
            "lost": found.lost,
            "gained": found.gained,
        }

    return _for_each_metric(compare, baseline_samples, treatment_samples)


# -- against a margin ----------------------------------------------------------------------------------------


@verifier(check=_check_margin)
def equivalence_test(
    baseline_samples: Samples,
    treatment_samples: Samples,
    *,
    margin: float,
    alpha: float = 0.05,
    paired: bool = True,
) -> Found:
    """Two one-sided t-tests: whether the means are known to differ by less than a margin.

    A difference that is not significant says little; this test can say that there is none that matters.

    Parameters
    ----------
    baseline_samples, treatment_samples : mapping of str to sequence of float
        Values by metric.
    margin : float
        Differences below it, in the metric's unit, count as none. Choose it before you see the data.
    alpha : float
        Significance level; the interval is at 1 - 2 alpha, and lies within the margin if the test is significant.
    paired : bool
        Whether to compare within replicates, or independent samples as :func:`welch_t_test` does.

    Returns
    -------
    dict
        See the module. A small ``p_value`` is for equivalence, as ``claim`` says; ``statistic`` is that of the side
        which is nearer to its margin.

    References
    ----------
    Schuirmann, D. J. (1987), Journal of Pharmacokinetics and Biopharmaceutics 15, 657-680.
    """

    def compare(metric: str) -> Found:
        found, n = _mean_difference(baseline_samples, treatment_samples, metric, paired=paired)
        p_value = found.p_within(margin)
        return _report(found, 2 * alpha) | {
            "p_value": p_value,
            "statistic": found.at(margin if found.difference > 0 else -margin),
            "significant": _is_significant(p_value, alpha),
            "claim": EQUIVALENT,
            "n": n,
        }

    return _for_each_metric(compare, baseline_samples, treatment_samples)


@verifier(check=_check_margin)
def non_inferiority_test(
    baseline_samples: Samples,
    treatment_samples: Samples,
    *,
    margin: float,
    direction: Direction,
    alpha: float = 0.05,
    paired: bool = True,
) -> Found:
    """One-sided t-test: whether the treatment is known not to be worse by a margin.

    Parameters
    ----------
    baseline_samples, treatment_samples : mapping of str to sequence of float
        Values by metric.
    margin : float
        How much worse, in the metric's unit, is worse. Choose it before you see the data.
    direction : {"min", "max"}
        Whether smaller or larger values are better.
    alpha : float
        Significance level of the one side; the interval is at 1 - 2 alpha.
    paired : bool
        Whether to compare within replicates, or independent samples as :func:`welch_t_test` does.

    Returns
    -------
    dict
        See the module. A small ``p_value`` is for a treatment that is not worse, as ``claim`` says.

    References
    ----------
    Wellek, S. (2010), Testing Statistical Hypotheses of Equivalence and Noninferiority, 2nd ed., section 2.
    """

    def compare(metric: str) -> Found:
        found, n = _mean_difference(baseline_samples, treatment_samples, metric, paired=paired)
        p_value = found.p_above(-margin) if direction == "max" else found.p_below(margin)
        return _report(found, 2 * alpha) | {
            "p_value": p_value,
            "statistic": found.at(-margin if direction == "max" else margin),
            "significant": _is_significant(p_value, alpha),
            "claim": NOT_WORSE,
            "n": n,
        }

    return _for_each_metric(compare, baseline_samples, treatment_samples)


# -- all treatments at once ----------------------------------------------------------------------------------


def _dunnett(
    samples: Sequence[tuple[Samples, Samples]], *, alpha: float = 0.05, paired: bool = True
) -> list[Found]:
    found: list[Found] = [{} for _ in samples]
    metrics = {frozenset(side) for pair in samples for side in pair}
    if len(metrics) != 1 or not all(metrics):
        raise MissingMetricError("the baseline and the treatments have no metric, or not the same ones")
    for metric in samples[0][0]:
        groups = [tuple(_numbers(side, metric) for side in pair) for pair in samples]
        for each, result in zip(found, _dunnett_of_one(metric, groups, alpha, paired), strict=True):
            each[metric] = result
    return [_without_one_metric(each) for each in found]


def _dunnett_of_one(
    metric: str, groups: Sequence[tuple[NumberArray, ...]], alpha: float, paired: bool
) -> list[Found]:
    control = moments(max((left for left, _ in groups), key=len))  # of the treatment that lacks the fewest
    treatments = [moments(right) for _, right in groups]
    sizes = [each.n for each in treatments]
    if paired:
        counts = sorted({len(values) for pair in groups for values in pair})
        if len(counts) > 1:
            raise InvalidValueError(
                f"metric {metric!r} is compared in blocks, but its conditions have {counts} values",
                hint="Run what failed again, or compare with dunnett_test(paired=False)",
            )
        sd, freedom = residual_sd([groups[0][0], *(right for _, right in groups)])
    else:
        sd, freedom = pooled_sd([control, *treatments])
    loadings = [math.sqrt(n / (n + control.n)) for n in sizes] if control.n else []
    bound = dunnett_quantile(loadings, freedom, 1 - alpha) if math.isfinite(sd) else math.nan
    found = []
    for each in treatments:
        difference = difference_of_means(control, each)
        error = sd * math.sqrt(1 / (each.n or math.nan) + 1 / (control.n or math.nan))
        least_p = 0.0 if sd else 2.0 ** (1 - each.n) if paired else 2 / math.comb(each.n + control.n, each.n)
        mean = MeanDifference.of(difference, error, freedom, least_p)
        if sd:
            adjusted = dunnett_p_value(mean.statistic, loadings, freedom)
        else:  # nothing varies, and t says nothing
            adjusted = min(1.0, len(treatments) * mean.p_value)
        ends = (difference - bound * error, difference + bound * error) if error else (difference,) * 2
        found.append(
            _report(mean, alpha)
            | {
                "adjusted_p_value": adjusted,
                "interval": NO_INTERVAL if math.isnan(mean.error) else ends,
                "significant": _is_significant(adjusted, alpha),
                "n": control.n if paired else (control.n, each.n),
            }
        )
    return found


@verifier(check=_check_paired, many=_dunnett)
def dunnett_test(
    baseline_samples: Samples, treatment_samples: Samples, *, alpha: float = 0.05, paired: bool = True
) -> Found:
    """Dunnett's test of the means of all treatments against that of the baseline, with simultaneous intervals.

    A hypothesis hands it all treatments at once. Its correction for their number is its own, and sharper than Holm's
    for intervals: all of them together hold the differences with probability 1 - alpha. The variance is taken to be
    the same for all conditions; where treatments vary more than the baseline, take :func:`paired_t_test`.

    Parameters
    ----------
    baseline_samples, treatment_samples : mapping of str to sequence of float
        Values by metric.
    alpha : float
        Significance level of the whole family; the intervals are at 1 - alpha together.
    paired : bool
        Whether replicates are blocks, whose common part does not count as variance, or all values are independent.

    Returns
    -------
    dict
        See the module. ``p_value`` is of the treatment alone, ``adjusted_p_value`` and ``significant`` of it among all
        treatments.

    References
    ----------
    Dunnett, C. W. (1955), Journal of the American Statistical Association 50, 1096-1121.
    """
    return _dunnett([(baseline_samples, treatment_samples)], alpha=alpha, paired=paired)[0]


# -- parts ---------------------------------------------------------------------------------------------------


def _mean_difference(
    baseline: Samples, treatment: Samples, metric: str, *, paired: bool
) -> tuple[MeanDifference, int | tuple[int, int]]:
    """Return the difference of the means, and how many values it is of."""
    if paired:
        found = moments(_differences(baseline, treatment, metric))
        return MeanDifference.of_pairs(found), found.n
    a, b = _moments(baseline, metric), _moments(treatment, metric)
    return MeanDifference.of_samples(a, b), (a.n, b.n)


def _report(found: MeanDifference, alpha: float) -> Found:
    p_value = found.p_value
    return {
        "p_value": p_value,
        "statistic": found.statistic,
        "degrees_of_freedom": found.freedom,
        "standard_error": found.error,
        "difference": found.difference,
        "interval": found.interval(1 - alpha),
        "significant": _is_significant(p_value, alpha),
    }


def _is_significant(p_value: float, alpha: float) -> bool | None:
    return None if math.isnan(p_value) else p_value <= alpha


def _for_each_metric(compare: Callable[[str], Found], baseline: Samples, treatment: Samples) -> Found:
    return _without_one_metric(_for_each(compare, baseline, treatment))


def _for_each(compare: Callable[[str], T], baseline: Samples, treatment: Samples) -> dict[str, T]:
    if not baseline or set(baseline) != set(treatment):
        raise MissingMetricError(
            "the baseline and the treatment have no metric, or not the same ones",
            f"baseline: {listed(baseline)}; treatment: {listed(treatment)}",
        )
    return {metric: compare(metric) for metric in baseline}


def _without_one_metric(found: Found) -> Found:
    """Return results by metric, or the result itself if there is one metric."""
    return found if len(found) > 1 else next(iter(found.values()))


def _numbers(samples: Samples, metric: str) -> NumberArray:
    if isinstance(samples, ConditionSamples):
        return samples.per_replicate(metric)
    return as_numbers(samples[metric], metric)


def _moments(samples: Samples, metric: str) -> Moments:
    if isinstance(samples, ConditionSamples):
        return samples.moments(metric)
    return moments(as_numbers(samples[metric], metric))


def _differences(baseline: Samples, treatment: Samples, metric: str) -> FloatArray:
    return paired_differences(*_pairs(baseline, treatment, metric))


def _pairs(baseline: Samples, treatment: Samples, metric: str) -> tuple[NumberArray, NumberArray]:
    left, right = _numbers(baseline, metric), _numbers(treatment, metric)
    if len(left) != len(right):
        raise InvalidValueError(
            f"metric {metric!r} is compared in pairs, but has {len(left)} and {len(right)} values"
        )
    return left, right
