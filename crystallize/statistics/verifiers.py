"""Built-in verifiers.

Each compares a treatment with the baseline on one number for each replicate (the mean, if a replicate
recorded several), and returns a dict with the usual keys:

``p_value``
    Probability, if the conditions do not differ, of a statistic at least as far from zero; two-sided.
``statistic``, ``degrees_of_freedom``
    The test's statistic, positive if the treatment's values are larger; the second where the test has it.
``difference``, ``interval``
    Mean of the treatment minus mean of the baseline, and both ends of its confidence interval at 1 - alpha. Wilcoxon's
    test, which is not of means, has no interval.
``standard_error``
    Of the difference; None for shares, of which Student's t says little.
``least_p_value``
    Of tests that count exchanges: the smallest ``p_value`` of so many pairs. Five cannot give less than 0.0625.
``significant``
    Whether ``p_value <= alpha``, for this one test alone; None if the p-value is NaN.
``n``
    The number of values: of each condition, or of pairs.

:func:`equivalence_test` and :func:`non_inferiority_test` turn the question round: a small ``p_value`` says that there
is *no* difference of a margin, and ``claim`` says what that is called. :func:`dunnett_test` looks at all treatments at
once, and gives an ``adjusted_p_value`` too.

For several metrics in one group, the result is a dict of such dicts by metric. A p-value speaks for one
comparison; what a hypothesis says of several treatments, it says by :attr:`HypothesisResult.adjusted_p_values`.

Differences that are all no more than the rounding of the values (:data:`~crystallize.statistics.moments.ROUNDING`) are
zero.
Values that are not finite give NaN, which decides nothing.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from crystallize.errors import CrystallizeError, InvalidValueError, MissingMetricError
from crystallize.statistics.dunnett import dunnett_p_value, dunnett_quantile, pooled_sd, residual_sd
from crystallize.statistics.intervals import interval_of_changes
from crystallize.statistics.mcnemar import count_changes
from crystallize.statistics.moments import (
    alike,
    as_numbers,
    by_tables,
    difference_of_means,
    errors_of_differences,
    moments,
    moments_of_pairs,
    moments_of_sides,
    paired_differences,
)
from crystallize.statistics.p_values import Records
from crystallize.statistics.samples import AlignedSamples, ConditionSamples
from crystallize.statistics.sign_flip import SignFlips, flip_signs
from crystallize.statistics.t_tests import MeanDifference
from crystallize.statistics.verdicts import EQUIVALENT, NOT_WORSE, check_direction
from crystallize.statistics.verifier import verifier
from crystallize.statistics.wilcoxon import SignedRanks, is_exact, signed_ranks
from crystallize.utils.checks import check_bool, check_count, check_share, check_size
from crystallize.utils.wording import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize.statistics.moments import FloatArray, NumberArray, Rows
    from crystallize.statistics.verdicts import Direction
    from crystallize.statistics.wilcoxon import Method

    Samples = Mapping[str, Any]
    Pair = tuple[Samples, Samples]
    Found = dict[str, Any]


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
    check_direction(direction)


# -- differences of means ------------------------------------------------------------------------------------


def _t_test(samples: Sequence[Pair], *, alpha: float, paired: bool) -> Sequence[Found | Exception]:
    def compare(baseline: Rows, treatment: Rows) -> Records:
        found, n = _mean_difference(baseline, treatment, paired=paired)
        return _records(alpha, **_of_means(found, alpha, n))

    return _compare_all(samples, compare, paired=paired)


@verifier(check=_check_alpha, many=partial(_t_test, paired=False))
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
        The usual keys. ``n`` is a tuple, the baseline's number first. With fewer than two values in a
        condition all but ``difference`` and ``n`` is NaN. If neither condition varies, equal means give
        ``p_value`` 1, and different ones twice the share of ways to divide the values so.

    References
    ----------
    Welch, B. L. (1947), "The generalization of 'Student's' problem when several different population
    variances are involved", Biometrika 34, 28-35.
    """
    return _only(_t_test([(baseline_samples, treatment_samples)], alpha=alpha, paired=False))


@verifier(check=_check_alpha, many=partial(_t_test, paired=True))
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
        The usual keys. ``n`` is the number of pairs. With fewer than two pairs all but ``difference`` and
        ``n`` is NaN. If the differences do not vary, ``p_value`` is 1 if they are zero, and if not that of the
        sign-flip test, ``2 ** (1 - n)``.

    References
    ----------
    Student (1908), "The probable error of a mean", Biometrika 6, 1-25.
    """
    return _only(_t_test([(baseline_samples, treatment_samples)], alpha=alpha, paired=True))


def _sign_flips(
    samples: Sequence[Pair], *, alpha: float, resamples: int, seed: int
) -> Sequence[Found | Exception]:
    def compare(baseline: Rows, treatment: Rows) -> Records:
        def flip(*tables: NumberArray) -> SignFlips:
            errors = errors_of_differences(*tables)
            return flip_signs(paired_differences(*tables), errors, alpha, resamples, seed)

        pairs = moments_of_pairs(baseline, treatment)
        mean, n = MeanDifference.of_pairs(pairs), pairs.n
        p_value, low, high = by_tables(flip, baseline, treatment)
        return _records(
            alpha,
            p_value=p_value,
            statistic=mean.difference,
            standard_error=mean.error,
            difference=mean.difference,
            interval=_pairs_of(low, high),
            least_p_value=max(_share_of_one_exchange(n), 1 / (resamples + 1)),
            n=n,
        )

    return _compare_all(samples, compare, paired=True)


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
        The usual keys. ``statistic`` is the mean difference, ``n`` the number of pairs.

    References
    ----------
    Fisher, R. A. (1935), The Design of Experiments, section 21. Hartigan, J. A. (1969), "Using subsample
    values as typical values", Journal of the American Statistical Association 64, 1303-1317. Phipson, B. and
    Smyth, G. K. (2010), "Permutation p-values should never be zero", Statistical Applications in Genetics
    and Molecular Biology 9, 39.
    """
    samples = [(baseline_samples, treatment_samples)]
    return _only(_sign_flips(samples, alpha=alpha, resamples=resamples, seed=seed))


def _wilcoxon(samples: Sequence[Pair], *, alpha: float, method: Method) -> Sequence[Found | Exception]:
    def compare(baseline: Rows, treatment: Rows) -> Records:
        def rank(*tables: NumberArray) -> SignedRanks:
            return signed_ranks(paired_differences(*tables), method, errors_of_differences(*tables))

        pairs = moments_of_pairs(baseline, treatment)
        mean, n = MeanDifference.of_pairs(pairs), pairs.n
        _, positive, negative, p_value = by_tables(rank, baseline, treatment)
        return _records(
            alpha,
            p_value=p_value,
            statistic=positive - negative,
            standard_error=mean.error,
            difference=mean.difference,
            least_p_value=_share_of_one_exchange(n) if is_exact(n, method) else 0.0,
            n=n,
        )

    return _compare_all(samples, compare, paired=True)


@verifier(check=_check_ranks, many=_wilcoxon)
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
        The usual keys. ``statistic`` is the sum of the ranks of positive differences minus that of negative ones,
        ``n`` the number of pairs, zeros among them. There is no interval.

    References
    ----------
    Wilcoxon, F. (1945), "Individual comparisons by ranking methods", Biometrics Bulletin 1, 80-83.
    """
    return _only(_wilcoxon([(baseline_samples, treatment_samples)], alpha=alpha, method=method))


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
        The usual keys. ``statistic`` is the number of replicates in which only the treatment was true, minus that in
        which only the baseline was; ``difference`` is between the shares of true ones, with the interval of Agresti
        and Min; ``lost`` and ``gained`` are the two numbers.

    References
    ----------
    McNemar, Q. (1947), Psychometrika 12, 153-157. Agresti, A. and Min, Y. (2005), Statistics in Medicine 24, 729-740.
    """

    def compare(metric: str, baseline: NumberArray, treatment: NumberArray) -> Found:
        found = count_changes(baseline, treatment, metric)
        p_value = found.p_value if found.n else math.nan
        return {
            "p_value": p_value,
            "statistic": float(found.gained - found.lost),
            "standard_error": None,
            "difference": found.difference if found.n else math.nan,
            "interval": interval_of_changes(found.lost, found.gained, found.n, 1 - alpha),
            "significant": _is_significant(p_value, alpha),
            "least_p_value": _share_of_one_exchange(found.n),
            "n": found.n,
            "lost": found.lost,
            "gained": found.gained,
        }

    ours, theirs = _numbers_of(baseline_samples), _numbers_of(treatment_samples)
    _check_alike(ours, theirs, paired=True)
    return _without_one_metric({metric: compare(metric, ours[metric], theirs[metric]) for metric in ours})


# -- against a margin ----------------------------------------------------------------------------------------


def _equivalence(
    samples: Sequence[Pair], *, margin: float, alpha: float, paired: bool
) -> Sequence[Found | Exception]:
    def compare(baseline: Rows, treatment: Rows) -> Records:
        import numpy as np

        found, n = _mean_difference(baseline, treatment, paired=paired)
        nearer = np.where(found.difference > 0, margin, -margin)
        return _records(
            alpha,
            **_of_means(found, 2 * alpha, n)
            | {"p_value": found.p_within(margin), "statistic": found.at(nearer)},
            claim=EQUIVALENT,
        )

    return _compare_all(samples, compare, paired=paired)


@verifier(check=_check_margin, many=_equivalence)
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
        The usual keys. A small ``p_value`` is for equivalence, as ``claim`` says; ``statistic`` is that of the side
        which is nearer to its margin.

    References
    ----------
    Schuirmann, D. J. (1987), Journal of Pharmacokinetics and Biopharmaceutics 15, 657-680.
    """
    samples = [(baseline_samples, treatment_samples)]
    return _only(_equivalence(samples, margin=margin, alpha=alpha, paired=paired))


def _non_inferiority(
    samples: Sequence[Pair], *, margin: float, direction: Direction, alpha: float, paired: bool
) -> Sequence[Found | Exception]:
    def compare(baseline: Rows, treatment: Rows) -> Records:
        found, n = _mean_difference(baseline, treatment, paired=paired)
        is_max = direction == "max"
        p_values = found.p_above(-margin) if is_max else found.p_below(margin)
        return _records(
            alpha,
            **_of_means(found, 2 * alpha, n)
            | {"p_value": p_values, "statistic": found.at(-margin if is_max else margin)},
            claim=NOT_WORSE,
        )

    return _compare_all(samples, compare, paired=paired)


@verifier(check=_check_margin, many=_non_inferiority)
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
        The usual keys. A small ``p_value`` is for a treatment that is not worse, as ``claim`` says.

    References
    ----------
    Wellek, S. (2010), Testing Statistical Hypotheses of Equivalence and Noninferiority, 2nd ed., section 2.
    """
    samples = [(baseline_samples, treatment_samples)]
    return _only(_non_inferiority(samples, margin=margin, direction=direction, alpha=alpha, paired=paired))


# -- all treatments at once ----------------------------------------------------------------------------------


def _dunnett(samples: Sequence[Pair], *, alpha: float = 0.05, paired: bool = True) -> list[Found]:
    import numpy as np

    metrics = {frozenset(side) for pair in samples for side in pair}
    if len(metrics) != 1 or not all(metrics):
        raise MissingMetricError("the baseline and the treatments have no metric, or not the same ones")
    baselines, treatments = ([_numbers_of(side) for side in sides] for sides in zip(*samples, strict=True))
    for pair in zip(baselines, treatments, strict=True):
        _check_alike(*pair, paired=paired)
    found: list[Found] = [{} for _ in samples]
    for metric in samples[0][0]:
        control, *others = (each[metric] for each in baselines)
        if not all(np.array_equal(control, other, equal_nan=control.dtype.kind == "f") for other in others):
            raise InvalidValueError(
                f"the treatments have no baseline in common: its values of metric {metric!r} differ",
                hint="Compare all treatments on the replicates that no condition lacks",
            )
        of_each = _dunnett_of_one(control, [numbers[metric] for numbers in treatments], alpha, paired)
        for each, result in zip(found, of_each, strict=True):
            each[metric] = result
    return [_without_one_metric(each) for each in found]


def _dunnett_of_one(
    baseline: NumberArray, numbers: Sequence[NumberArray], alpha: float, paired: bool
) -> list[Found]:
    import numpy as np

    control, treatments = moments(baseline), [moments(each) for each in numbers]
    sizes = [each.n for each in treatments]
    if paired:
        sd, freedom = residual_sd([baseline, *numbers])
    else:
        sd, freedom = pooled_sd([control, *treatments])
    loadings = [math.sqrt(n / (n + control.n)) for n in sizes] if control.n else []
    bound = dunnett_quantile(loadings, freedom, 1 - alpha) if math.isfinite(sd) else math.nan
    differences = np.array([difference_of_means(control, each) for each in treatments])
    errors = np.array([sd * math.sqrt(1 / (n or math.nan) + 1 / (control.n or math.nan)) for n in sizes])
    least_p = [0.0 if sd else 2.0 ** (1 - n) if paired else 2 / math.comb(n + control.n, n) for n in sizes]
    mean = MeanDifference.of(differences, errors, freedom, np.array(least_p))
    bonferroni = np.minimum(1.0, len(treatments) * mean.p_value)
    if sd:
        found = [dunnett_p_value(each, loadings, freedom) for each in mean.statistic.tolist()]
        adjusted = np.maximum(found, mean.p_value)
        # The integral is good to some ten digits after the point, and Bonferroni's bound the closer the smaller p is.
        adjusted = np.where(mean.p_value < 1e-12, bonferroni, adjusted)
    else:  # nothing varies, and t says nothing
        adjusted = bonferroni
    half_widths = np.where(mean.error == 0, 0.0, bound * mean.error)
    return _records(
        alpha,
        **_of_means(mean, alpha, control.n if paired else [(control.n, n) for n in sizes])
        | {"interval": _pairs_of(differences - half_widths, differences + half_widths)},
        adjusted_p_value=adjusted,
    )


@verifier(check=_check_paired, many=_dunnett, corrects=True)
def dunnett_test(
    baseline_samples: Samples, treatment_samples: Samples, *, alpha: float = 0.05, paired: bool = True
) -> Found:
    """Dunnett's test of the means of all treatments against that of the baseline, with simultaneous intervals.

    A hypothesis hands it all treatments at once, with the replicates that all conditions have. Its correction for their
    number is its own, and sharper than Holm's for intervals: all of them together hold the differences with probability
    1 - alpha. The variance is taken to be the same for all conditions; where treatments vary more than the baseline,
    take :func:`paired_t_test`.

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
        The usual keys. ``p_value`` is of the treatment alone, ``adjusted_p_value`` and ``significant`` of it among all
        treatments.

    References
    ----------
    Dunnett, C. W. (1955), Journal of the American Statistical Association 50, 1096-1121.
    """
    return _only(_dunnett([(baseline_samples, treatment_samples)], alpha=alpha, paired=paired))


# -- parts ---------------------------------------------------------------------------------------------------


def _compare_all(
    samples: Sequence[Pair],
    compare: Callable[[Rows, Rows], Records],
    *,
    paired: bool,
) -> Sequence[Found | Exception]:
    """Return what a test finds of each treatment, or why it cannot be tested.

    Parameters
    ----------
    samples : sequence of tuple
        For each treatment the baseline's samples that belong to it, and its own.
    compare : callable
        Takes rows as :func:`alike` groups them, and returns a result for each.
    paired : bool
        Whether values of one replicate belong together.
    """
    if isinstance(samples, AlignedSamples) and samples.rows is not None:
        return compare(*samples.rows)
    found: list[Any] = []
    pairs: dict[str, dict[int, tuple[NumberArray, NumberArray]]] = {}
    for place, pair in enumerate(samples):
        try:
            ours, theirs = map(_numbers_of, pair)
            _check_alike(ours, theirs, paired=paired)
        except CrystallizeError as error:
            found.append(error)
            continue
        found.append({})
        for metric, numbers in ours.items():
            pairs.setdefault(metric, {})[place] = numbers, theirs[metric]
    for metric, given in pairs.items():
        for places, *rows in alike(given):
            for place, result in zip(places, compare(*rows), strict=True):
                found[place][metric] = result
    return [each if isinstance(each, Exception) else _without_one_metric(each) for each in found]


def _numbers_of(samples: Samples) -> dict[str, NumberArray]:
    """Return the numbers of each metric."""
    if isinstance(samples, ConditionSamples):
        return samples.numbers()
    return {metric: as_numbers(values, metric) for metric, values in samples.items()}


def _check_alike(
    baseline: Mapping[str, NumberArray], treatment: Mapping[str, NumberArray], *, paired: bool
) -> None:
    """Refuse to compare what has not the same metrics, or, in pairs, not as many values of each."""
    if not baseline or baseline.keys() != treatment.keys():
        raise MissingMetricError(
            "the baseline and the treatment have no metric, or not the same ones",
            f"baseline: {listed(baseline)}; treatment: {listed(treatment)}",
        )
    if paired:
        for metric, numbers in baseline.items():
            if len(numbers) != len(treatment[metric]):
                raise InvalidValueError(
                    f"metric {metric!r} is compared in pairs, but has "
                    f"{len(numbers)} and {len(treatment[metric])} values"
                )


def _mean_difference(
    baseline: Rows, treatment: Rows, *, paired: bool
) -> tuple[MeanDifference, int | tuple[int, int]]:
    """Return the differences of the means of rows, and how many values they are of."""
    if paired:
        found = moments_of_pairs(baseline, treatment)
        return MeanDifference.of_pairs(found), found.n
    a, b = moments_of_sides(baseline, treatment)
    return MeanDifference.of_samples(a, b), (a.n, b.n)


def _of_means(found: MeanDifference, alpha: float, n: Any) -> dict[str, Any]:
    """Return the columns of a test of means."""
    return {
        "p_value": found.p_value,
        "statistic": found.statistic,
        "degrees_of_freedom": found.freedom,
        "standard_error": found.error,
        "difference": found.difference,
        "interval": _pairs_of(*found.interval(1 - alpha)),
        "n": n,
    }


def _share_of_one_exchange(n: int) -> float:
    """Return the smallest p-value of a test that counts the exchanges within `n` pairs, each with its opposite."""
    return 2.0 ** -max(0, n - 1)


def _pairs_of(low: FloatArray, high: FloatArray) -> list[tuple[float, float]]:
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _records(alpha: float, **columns: Any) -> Records:
    """Return the results of the rows, from columns: arrays, lists, and what is the same for all rows."""
    rows = len(columns["p_value"])
    found = {
        name: column
        if isinstance(column, list)
        else column.tolist()
        if hasattr(column, "tolist")
        else [column] * rows
        for name, column in columns.items()
    }
    decisive = found.get("adjusted_p_value", found["p_value"])
    found["significant"] = [_is_significant(each, alpha) for each in decisive]
    found["n"] = found.pop("n")  # what a reader looks for first stands first
    return Records(found)


def _is_significant(p_value: float, alpha: float) -> bool | None:
    return None if math.isnan(p_value) else p_value <= alpha


def _only(found: Sequence[Found | Exception]) -> Found:
    """Return the result of the only treatment."""
    (result,) = found
    if isinstance(result, Exception):
        raise result
    return result


def _without_one_metric(found: Found) -> Found:
    """Return results by metric, or the result itself if there is one metric."""
    return found if len(found) > 1 else next(iter(found.values()))
