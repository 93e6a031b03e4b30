"""What the tests of a hypothesis say: its p-values are corrected for their number, and each gets a verdict."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import InvalidTypeError
from crystallize.statistics.adjustment import CORRECTIONS
from crystallize.statistics.hypothesis_result import Comparison
from crystallize.statistics.moments import difference_of_means, moments, paired_differences
from crystallize.statistics.p_values import Records, find_tests, is_number
from crystallize.statistics.power import smallest_effect, whole_replicates_needed
from crystallize.statistics.samples import lost_halves
from crystallize.statistics.t_tests import MeanDifference
from crystallize.statistics.verdicts import UNDECIDED, Evidence, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.statistics.adjustment import Correction
    from crystallize.statistics.samples import Compared, Pair
    from crystallize.statistics.verdicts import Direction

    Mean = tuple[float, float, float, float]

_SEVERAL = (tuple, list)
_NO_OUTLOOK = (None, None)
_HOPELESS = (None, math.inf)
_NO_MEAN = (math.nan, math.nan, math.nan, math.nan)
_MOST_VALUES = 2**53  # what is beyond is no number of replicates
_MOST = 1 + 1e-9  # a sum of chances may round to more than 1
_is_int = int.__instancecheck__  # isinstance(..., int)


class Test(NamedTuple):
    """A test that a verifier made.

    Attributes
    ----------
    treatment, metric : str
        What was compared; several metrics that were tested together stand in one text.
    difference : float or None
        Treatment minus baseline; None if it is not known.
    p_value : float
        Of this test alone.
    adjusted : float or None
        What the verifier has made of it for the number of treatments, if it does that.
    claim : str
        What a small p-value says, if that is not a difference.
    is_paired : bool
        Whether the test was of differences within replicates.
    mean : tuple of float
        What Student's or Welch's t makes of the same values, as the attributes of a
        :class:`~crystallize.statistics.t_tests.MeanDifference`: margins and numbers of replicates are judged by it. NaN
        for several metrics that were tested together, and for what is no number.
    n : int
        Of how many replicates the mean is; 0 if the test does not tell the standard error of its difference, so that
        nobody knows what so many replicates find.
    least_p : float
        The smallest p-value that the test could have given of so many values, as far as it tells.
    names : sequence of str
        The metrics that were tested.
    sides : tuple
        The baseline and the treatment, with all that they have recorded, and what was compared.
    """

    treatment: str
    metric: str
    difference: float | None
    p_value: float
    adjusted: float | None
    claim: str
    is_paired: bool
    mean: Mean
    n: int
    least_p: float
    names: Sequence[str]
    sides: Compared


# There may be thousands, and Test(...) takes twice as long.
_as_test, _as_comparison = partial(tuple.__new__, Test), partial(tuple.__new__, Comparison)


class Standards(NamedTuple):
    """What verdicts are measured by; see :class:`~crystallize.statistics.hypothesis.Hypothesis`."""

    alpha: float
    direction: Direction | None
    smallest_effect: float | None
    equivalence_margin: float | None
    correction: Correction


def tests_in_each(
    found: Sequence[Any], compared: Mapping[str, Compared], place: int, samples: Sequence[Pair]
) -> tuple[list[Test], dict[str, BaseException | str]]:
    """Return the tests in what a verifier returned of each treatment, and what is wrong with that of some.

    Parameters
    ----------
    found : sequence
        What it returned of each treatment, or raised.
    compared : mapping of str to tuple
        The treatments by name, each with the baseline, and the groups of metrics that are compared.
    place : int
        Which of the groups it is of.
    samples : sequence of tuple of ConditionSamples
        What the verifier was given: the baseline's and the treatment's.
    """
    known = found.columns if isinstance(found, Records) else {}
    if "degrees_of_freedom" in known:
        return _tests_of_columns(known, compared, place, samples), {}
    tests: list[Test] = []
    wrong: dict[str, BaseException | str] = {}
    for of_one, (name, sides), pair in zip(found, compared.items(), samples, strict=True):
        try:
            own = _tests_in(of_one, name, sides, place, pair)
        except OverflowError as error:  # a verifier may tell an int that no float can hold
            own = error
        if isinstance(own, list):
            tests += own
        else:
            wrong[name] = own
    return tests, wrong


def _tests_of_columns(
    known: Mapping[str, list[Any]], compared: Mapping[str, Compared], place: int, samples: Sequence[Pair]
) -> list[Test]:
    """Return the tests that built-in tests of means have made, one of each treatment, without a look at each result."""
    _, _, groups = next(iter(compared.values()))
    (metric,) = metrics = groups[place]
    of_each = itertools.repeat
    difference, error, n = known["difference"], known["standard_error"], known["n"]
    is_paired = not isinstance(n[0], _SEVERAL)
    rows = zip(
        compared,
        of_each(metric),
        difference,
        known["p_value"],
        of_each(None),
        known.get("claim", of_each("")),
        of_each(is_paired),
        zip(difference, error, known["degrees_of_freedom"], of_each(0.0), strict=False),
        n if is_paired else map(min, n),
        of_each(0.0),
        of_each(metrics),
        compared.values(),
        strict=False,
    )
    tests = list(map(_as_test, rows))
    for row in [row for row, size in enumerate(error) if not size > 0]:  # the samples tell more
        mean, count = _mean_of(samples[row], metric, is_paired=is_paired)
        tests[row] = tests[row]._replace(mean=mean, n=count)
    return tests


def _tests_in(
    found: Any, treatment: str, sides: Compared, place: int, samples: Pair
) -> list[Test] | BaseException | str:
    """Return the tests in what a verifier returned of one treatment, or what is wrong with that."""
    if isinstance(found, BaseException):
        return found
    tests = []
    group = sides[2][place]
    for metric, result, p_value in find_tests(found, ", ".join(group)):
        difference, n = _number(result.get("difference")), result.get("n")
        adjusted = _number(result.get("adjusted_p_value"))
        for value in (p_value, adjusted):
            if value is not None and (value < 0 or value > _MOST):
                return f"gave {value!r} as a p-value, and those lie between 0 and 1"
        is_paired = not isinstance(n, _SEVERAL)
        mean, count = _own_mean(result, difference, n) or _mean_of(samples, metric, is_paired=is_paired)
        if "standard_error" not in result:
            count = 0
        test = (
            treatment,
            metric,
            _difference(samples, metric) if difference is None else difference,
            p_value,
            adjusted,
            str(result.get("claim", "")),
            is_paired,
            mean,
            count,
            _number(result.get("least_p_value")) or 0.0,
            (metric,) if metric in group else group,
            sides,
        )
        tests.append(_as_test(test))
    return tests


def _number(value: Any) -> float | None:
    return float(value) if value is not None and is_number(value) else None


def _own_mean(result: Mapping[str, Any], difference: float | None, n: Any) -> tuple[Mean, int] | None:
    """Return the mean difference that a test tells of itself, and of how many replicates it is, if it does."""
    error = result.get("standard_error", math.nan)
    if error is None:  # a test of what is not for Student's t
        return _NO_MEAN, 0
    several = isinstance(n, _SEVERAL)
    count = min(filter(_is_int, n), default=None) if several else n
    if not isinstance(count, int) or not 0 < count < _MOST_VALUES:
        return None
    if difference is not None and is_number(error) and error > 0:
        freedom = result.get("degrees_of_freedom", None if several else count - 1)
        if is_number(freedom):
            return (difference, error, freedom, 0.0), count
    return None


def _mean_of(samples: Pair, metric: str, *, is_paired: bool) -> tuple[Mean, int]:
    """Return what a t test makes of the samples, if they are numbers, and of how many replicates it is."""
    try:
        left, right = (side.per_replicate(metric) for side in samples)
        if is_paired:
            differences = moments(paired_differences(left, right))
            mean, count = MeanDifference.of_pairs(differences), differences.n
        else:
            a, b = moments(left), moments(right)
            mean, count = MeanDifference.of_samples(a, b), min(a.n, b.n)
    except (KeyError, InvalidTypeError):
        return _NO_MEAN, 0
    return (mean.difference, mean.error, mean.freedom, mean.least_p), count


def _difference(samples: Pair, metric: str) -> float | None:
    """Return the difference of the means of what a verifier compared without telling its sign, if they have one."""
    try:
        found: float = difference_of_means(*(moments(each.per_replicate(metric)) for each in samples))
    except (KeyError, InvalidTypeError):  # several metrics were tested together, or they are not numeric
        return None
    return found


def judge(tests: Sequence[Test], standards: Standards) -> tuple[tuple[Comparison, ...], str]:
    """Return the tests with their adjusted p-values and verdicts, and how they were adjusted."""
    if not tests:
        return (), standards.correction
    alpha, direction, *margins, correction = standards
    correct = CORRECTIONS[correction]
    names, metrics, differences, p_values, own, _, is_paired, *_ = zip(*tests, strict=True)
    is_own = None not in own
    adjusted = own if is_own else correct(p_values)
    small, equivalent = (
        [math.nan] * len(tests) if margin is None else correct(_p_within(tests, margin)) for margin in margins
    )
    verdicts = [UNDECIDED] * len(tests)
    p_of_each = list(zip(adjusted, equivalent, small, strict=True))
    claimed = [place for place, (a, b, c) in enumerate(p_of_each) if a <= alpha or b <= alpha or c <= alpha]
    for place in claimed:
        test = tests[place]
        p_value, p_equivalent, p_small = p_of_each[place]
        is_lopsided = _is_lopsided(test)
        evidence = Evidence(test.difference, p_value, test.claim, p_equivalent, p_small, is_lopsided)
        verdicts[place] = verdict(evidence, alpha, direction)
    known = len(tests) - sum(map(math.isnan, p_values))
    level = alpha if correction == "none" else alpha / max(1, known)
    # What would be said of the p-values if all were as small as they can be.
    at_best: Sequence[float] = [0.0] * len(tests)
    if any(test.least_p for test in tests):
        at_best = correct([math.nan if math.isnan(test.p_value) else test.least_p for test in tests])
    outlooks = [
        _NO_OUTLOOK
        if test.claim or concluded != UNDECIDED
        else _HOPELESS
        if least > alpha
        else _outlook(test, level, standards.smallest_effect)
        for test, concluded, least in zip(tests, verdicts, at_best, strict=True)
    ]
    more, visible = zip(*outlooks, strict=True)
    rows = zip(
        names, metrics, differences, p_values, adjusted, verdicts, is_paired, more, visible, strict=True
    )
    return tuple(map(_as_comparison, rows)), "own" if is_own else correction


def _p_within(tests: Sequence[Test], margin: float) -> list[float]:
    """Return the p-values whose level is that of a two-sided interval: within the margin at the same alpha."""
    import numpy as np

    means = MeanDifference(*np.array([test.mean for test in tests]).reshape(-1, 4).T)
    found: list[float] = np.minimum(1.0, 2 * means.p_within(margin)).tolist()
    return found


def _is_lopsided(test: Test) -> bool:
    """Tell whether more replicates were lost under one condition than under the other."""
    baseline, treatment, _ = test.sides
    for name in test.names:
        ours, theirs = baseline.columns[name], treatment.columns[name]
        if not ours.is_paired_with(theirs):
            lost, of_baseline = lost_halves(ours, theirs)
            if lost != of_baseline:
                return True
    return False


def _outlook(test: Test, alpha: float, smallest: float | None) -> tuple[int | None, float | None]:
    """Return how many replicates more would find the smallest effect, and what difference so many find."""
    _, error, freedom, _ = test.mean
    if not (error > 0 and test.n):
        return _NO_OUTLOOK
    # A test of all treatments together takes the variance from all conditions.
    each = None if test.adjusted is None or test.n < 2 else freedom / (test.n - 1)
    visible = error * _visible(test.n, alpha, test.is_paired, each)
    if smallest is None:
        return None, visible
    in_sds = smallest / (error * _errors_in_sd(test.n, test.is_paired))
    needed = whole_replicates_needed(in_sds, alpha=alpha, paired=test.is_paired, freedom_each=each)
    return None if needed is None or needed <= test.n else needed - test.n, visible


@lru_cache(maxsize=64)
def _visible(n: int, alpha: float, paired: bool, freedom_each: float | None) -> float:
    """Return the smallest effect that `n` replicates find, in standard errors; a cache is slow with named arguments."""
    found = smallest_effect(n, alpha=alpha, paired=paired, freedom_each=freedom_each)
    return found * _errors_in_sd(n, paired)


def _errors_in_sd(n: int, paired: bool) -> float:
    return math.sqrt(n if paired else n / 2)
